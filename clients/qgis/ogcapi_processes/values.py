"""The values that a person has given, in the server's form; layers and files have a module of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsGeometry,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
)
from qgis.PyQt.QtCore import Qt

from .description import InputKind, ProcessInput
from .parameters import label

CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
OF_FILES: Final = (InputKind.RASTER, InputKind.VECTOR, InputKind.FILE)
"""Kinds whose values lie in files or layers."""


def wgs84() -> QgsCoordinateReferenceSystem:
    """Return the CRS that GeoJSON is in, as QGIS names it."""
    return QgsCoordinateReferenceSystem("EPSG:4326")


class ValueReader:
    """Reads the values of an algorithm's parameters."""

    def __init__(
        self, algorithm: QgsProcessingAlgorithm, parameters: Mapping[str, Any], context: QgsProcessingContext
    ) -> None:
        self._algorithm = algorithm
        self._parameters = dict(parameters)
        self._context = context

    def read(self, given: ProcessInput) -> Any:
        """Return the value of an input that is no file, as the request has it; None = not given.

        Raises:
            QgsProcessingException: it cannot be read.
        """
        if self._parameters.get(given.id) in (None, ""):
            return None
        if given.kind is InputKind.CHOICE:
            return self._choice(given)
        value = self._several(given) if given.multiple else self._one(given)
        return None if value in (None, "", []) else value

    def _one(self, given: ProcessInput) -> Any:
        arguments = (self._parameters, given.id, self._context)
        algorithm = self._algorithm
        if given.kind is InputKind.EXTENT:
            return self._extent(given)
        if given.kind is InputKind.CRS:
            return _crs_text(algorithm.parameterAsCrs(*arguments))
        if given.kind is InputKind.GEOMETRY:
            return json.loads(algorithm.parameterAsGeometry(*arguments, wgs84()).asJson())
        if given.kind is InputKind.NUMBER:
            return algorithm.parameterAsDouble(*arguments)
        if given.kind is InputKind.INTEGER:
            return algorithm.parameterAsInt(*arguments)
        if given.kind is InputKind.BOOLEAN:
            return algorithm.parameterAsBoolean(*arguments)
        if given.kind is InputKind.DATE_TIME:
            return algorithm.parameterAsDateTime(*arguments).toString(Qt.DateFormat.ISODate)
        return read_text(given, algorithm.parameterAsString(*arguments))

    def _several(self, given: ProcessInput) -> list[Any]:
        """Return all values of an input; a script may give a list, a person writes lines."""
        raw = self._parameters[given.id]
        if not isinstance(raw, (list, tuple)):
            raw = self._algorithm.parameterAsString(self._parameters, given.id, self._context)
            are_numbers = given.kind in (InputKind.NUMBER, InputKind.INTEGER)
            raw = re.split(r"[\s,;]+" if are_numbers else r"\n", raw)
        return [read_text(given, item) if isinstance(item, str) else item for item in raw if item != ""]

    def _choice(self, given: ProcessInput) -> Any:
        chosen = self._algorithm.parameterAsEnumStrings(self._parameters, given.id, self._context)
        by_label = {label(choice): choice for choice in given.choices}
        values = [by_label.get(item, item) for item in chosen if item != ""]
        return (values or None) if given.multiple else next(iter(values), None)

    def _extent(self, given: ProcessInput) -> Any:
        """Return a box in its own CRS where that has a name, else in CRS84."""
        algorithm, arguments = self._algorithm, (self._parameters, given.id, self._context)
        crs = algorithm.parameterAsExtentCrs(*arguments)
        name = None if given.plain_box else _crs_uri(crs)
        box = algorithm.parameterAsExtent(*arguments, *([] if name else [wgs84()]))
        if box.isNull():
            return None
        corners = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]
        if name and name != CRS84 and crs.hasAxisInverted():
            corners = [corners[index] for index in (1, 0, 3, 2)]  # as the authority orders them
        return corners if given.plain_box else {"bbox": corners, "crs": name or CRS84}


def read_text(given: ProcessInput, text: str) -> Any:
    """Return a value that is given as text, as the request has it.

    Args:
        given: the input.
        text: what a person wrote.

    Raises:
        QgsProcessingException: it is no such value.
    """
    if given.kind in (InputKind.TEXT, InputKind.CRS, InputKind.DATE_TIME):
        return text
    if given.kind is InputKind.GEOMETRY:
        geometry = QgsGeometry.fromWkt(text)
        if geometry.isNull():
            raise QgsProcessingException(f"{given.title}: {text!r} is no WKT")
        return json.loads(geometry.asJson())
    try:
        return json.loads(text) if text.strip() else None
    except ValueError as error:
        is_json = given.kind in (InputKind.JSON, InputKind.EXTENT)
        reason = f"JSON: {error}" if is_json else given.kind.value
        raise QgsProcessingException(f"{given.title}: {text!r} is no {reason}") from error


def _crs_text(crs: QgsCoordinateReferenceSystem) -> str | None:
    return (crs.authid() or crs.toWkt()) if crs.isValid() else None


def _crs_uri(crs: QgsCoordinateReferenceSystem) -> str | None:
    """Return the URI of a CRS; None = it has none."""
    authority, _, code = crs.authid().partition(":")
    if crs.authid() in ("EPSG:4326", "OGC:CRS84"):
        return CRS84
    return f"http://www.opengis.net/def/crs/EPSG/0/{code}" if authority == "EPSG" and code else None
