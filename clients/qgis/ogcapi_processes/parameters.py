"""What QGIS asks a person for: a parameter for each input, and a destination for each output."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterGeometry,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from . import enums, formats
from .description import InputKind, OutputKind, ProcessDescription, ProcessInput, ProcessOutput, Scalar

AS_JOB: Final = "job"
IN_REQUEST: Final = "request"


def parameter_of(given: ProcessInput) -> QgsProcessingParameterDefinition:
    """Return the parameter that asks for an input."""
    parameter = _maker(given)(given)
    parameter.setHelp(html.escape(given.help, quote=False))
    if given.advanced:
        parameter.setFlags(parameter.flags() | enums.ADVANCED)
    return parameter


def destination_of(output: ProcessOutput, name: str, required: bool) -> QgsProcessingParameterDefinition:
    """Return the parameter that asks where an output goes.

    Args:
        output: the output.
        name: name of the parameter; the output's id may be that of an input too.
        required: whether a person must take it; else it can be skipped.
    """
    makers = {
        OutputKind.VECTOR: QgsProcessingParameterVectorDestination,
        OutputKind.RASTER: QgsProcessingParameterRasterDestination,
    }
    if output.kind in makers:
        parameter = makers[output.kind](name, output.title, optional=not required)
    else:
        kinds = [f"{formats.bare(kind)} (*{formats.ending(kind)})" for kind in output.media_types]
        parameter = QgsProcessingParameterFileDestination(name, output.title, ";;".join(kinds), optional=not required)
    parameter.setHelp(html.escape(output.help, quote=False))
    return parameter


def way_parameter(name: str) -> QgsProcessingParameterDefinition:
    """Return the parameter that asks whether a process runs as a job or in the request; `name` is its name."""
    parameter = QgsProcessingParameterEnum(
        name, "Run as", options=[AS_JOB, IN_REQUEST], defaultValue=AS_JOB, usesStaticStrings=True
    )
    parameter.setHelp("A job can be watched and cancelled. A request is answered at once, and may take a minute.")
    parameter.setFlags(parameter.flags() | enums.ADVANCED)
    return parameter


def output_names(process: ProcessDescription) -> dict[str, str]:
    """Return the names of the destinations by the ids of the outputs; no name is that of an input."""
    taken = {given.id for given in process.inputs}
    return {output.id: free_name(output.id, taken) for output in process.outputs}


def free_name(name: str, taken: set[str]) -> str:
    """Return a name, with `_output` behind it as long as it is among those taken."""
    while name in taken:
        name += "_output"
    return name


def label(choice: Scalar) -> str:
    """Return how a choice is shown: a text as it is, others as JSON."""
    return choice if isinstance(choice, str) else json.dumps(choice)


def _as_text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _raster(given: ProcessInput) -> Any:
    return QgsProcessingParameterRasterLayer(given.id, given.title, optional=not given.required)


def _rasters(given: ProcessInput) -> Any:
    return QgsProcessingParameterMultipleLayers(given.id, given.title, enums.RASTER, optional=not given.required)


def _vector(given: ProcessInput) -> Any:
    return QgsProcessingParameterFeatureSource(given.id, given.title, [enums.ANY_VECTOR], optional=not given.required)


def _vectors(given: ProcessInput) -> Any:
    return QgsProcessingParameterMultipleLayers(given.id, given.title, enums.ANY_VECTOR, optional=not given.required)


def _extent(given: ProcessInput) -> Any:
    return QgsProcessingParameterExtent(given.id, given.title, optional=not given.required)


def _crs(given: ProcessInput) -> Any:
    return QgsProcessingParameterCrs(given.id, given.title, given.default, optional=not given.required)


def _geometry(given: ProcessInput) -> Any:
    return QgsProcessingParameterGeometry(given.id, given.title, optional=not given.required)


def _number(given: ProcessInput) -> Any:
    kind = enums.WHOLE if given.kind is InputKind.INTEGER else enums.REAL
    bounds = {"minValue": given.minimum, "maxValue": given.maximum}
    known = {name: value for name, value in bounds.items() if value is not None}
    return QgsProcessingParameterNumber(
        given.id, given.title, kind, given.default, optional=not given.required, **known
    )


def _boolean(given: ProcessInput) -> Any:
    return QgsProcessingParameterBoolean(given.id, given.title, given.default, optional=not given.required)


def _choice(given: ProcessInput) -> Any:
    default = given.choices[0] if given.required and len(given.choices) == 1 else given.default
    if default is not None:
        default = [label(item) for item in default] if isinstance(default, list) else label(default)
    return QgsProcessingParameterEnum(
        given.id,
        given.title,
        options=[label(choice) for choice in given.choices],
        allowMultiple=given.multiple,
        defaultValue=default,
        optional=not given.required,
        usesStaticStrings=True,
    )


def _date_time(given: ProcessInput) -> Any:
    return QgsProcessingParameterDateTime(
        given.id, given.title, enums.DATE_TIME, given.default, optional=not given.required
    )


def _file(given: ProcessInput) -> Any:
    return QgsProcessingParameterFile(given.id, given.title, optional=not given.required)


def _files(given: ProcessInput) -> Any:
    return QgsProcessingParameterMultipleLayers(given.id, given.title, enums.FILES, optional=not given.required)


def _text(given: ProcessInput) -> Any:
    return _text_field(given, given.title, given.kind is InputKind.JSON, _as_text(given.default))


def _lines(given: ProcessInput) -> Any:
    """Return a field with a value on each line; numbers stand beside each other."""
    are_numbers = given.kind in (InputKind.NUMBER, InputKind.INTEGER)
    what = {InputKind.GEOMETRY: "WKT, one on each line"}.get(given.kind, "one on each line")
    default = given.default
    if isinstance(default, Sequence) and not isinstance(default, str):
        default = (", " if are_numbers else "\n").join(_as_text(item) for item in default)
    title = f"{given.title} ({'with commas between' if are_numbers else what})"
    return _text_field(given, title, not are_numbers, _as_text(default))


def _text_field(given: ProcessInput, title: str, multi_line: bool, default: Any) -> Any:
    return QgsProcessingParameterString(given.id, title, default, multi_line, optional=not given.required)


_Maker = Callable[[ProcessInput], Any]

_MAKERS: Final[dict[InputKind, _Maker]] = {
    InputKind.RASTER: _raster,
    InputKind.VECTOR: _vector,
    InputKind.EXTENT: _extent,
    InputKind.CRS: _crs,
    InputKind.GEOMETRY: _geometry,
    InputKind.NUMBER: _number,
    InputKind.INTEGER: _number,
    InputKind.BOOLEAN: _boolean,
    InputKind.CHOICE: _choice,
    InputKind.DATE_TIME: _date_time,
    InputKind.FILE: _file,
}

_MAKERS_OF_SEVERAL: Final[dict[InputKind, _Maker]] = {
    InputKind.RASTER: _rasters,
    InputKind.VECTOR: _vectors,
    InputKind.CHOICE: _choice,
    InputKind.FILE: _files,
}


def _maker(given: ProcessInput) -> _Maker:
    if given.multiple:
        return _MAKERS_OF_SEVERAL.get(given.kind, _lines)
    return _MAKERS.get(given.kind, _text)
