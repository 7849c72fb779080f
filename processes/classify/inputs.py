"""A request to `classify-objects`, read: what the client asks for, and the files it points to, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyproj

from processes.classify.description import OUTPUT, PROCESS_ID, describe
from processes.classify.features import read_features, stamp_features
from processes.classify.images import open_images, stamp_images
from processes.classify.planning.extent import Extent, read_extent
from processes.classify.planning.fields import DEFAULT_FIELD
from processes.classify.planning.plan import checked
from processes.classify.planning.sources import Options, Sources
from processes.crs import CRS84, is_longitude_latitude, parse_crs
from processes.errors import Fault, InputError, NameTakenError, RequestError, collect_faults
from processes.features.layer import Layer
from processes.features.writing.format import Format
from processes.features.writing.formats import format_of_media_type
from processes.model.arguments import ModelArguments, read_arguments
from processes.model.catalog import Catalog, Model
from processes.model.processor import Processor, require_processor
from processes.ogc.process import Requirements
from processes.ogc.request import ExecuteRequest, LiteralValue, read_literals
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.stamps import FileStamp

_MAX_SLOTS, _MAX_INTERVAL = 9999, 10**9
"""More than that means no more."""

LITERALS = (
    "model",
    "modelArguments",
    "classLabelField",
    "processingMode",
    "resultName",
    "extent",
    "cellSize",
    "parallelProcessingFactor",
    "processorType",
    "recycleInterval",
    "retries",
    "outputCrs",
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A request's inputs, read; what they link to is not yet opened."""

    request: ExecuteRequest
    model: Model
    arguments: ModelArguments
    options: Options
    output_format: Format | None
    """None = as suits the result, and the client's `Accept`."""
    crs: pyproj.CRS | None
    """Of the output; None = as suits the result."""
    requirements: Requirements
    """Without pins and the stem of a name."""


def read_inputs(
    request: ExecuteRequest,
    faults: list[Fault],
    catalog: Catalog,
    runs_here: bool,
    require_free: Callable[[str], None] | None = None,
) -> Inputs | None:
    """Read what needs no file to be opened.

    Args:
        request: the request.
        faults: gets what is wrong; then there may be no Inputs.
        catalog: the installed models.
        runs_here: True = the model runs on this machine, so that a GPU must be here if one is asked for.
        require_free: as `Order` has it.
    """
    given = {name: found[0] for name, found in read_literals(request, describe([]), LITERALS, faults).items()}
    literals = {name: item.value for name, item in given.items()}
    media_type = request.outputs[OUTPUT].media_type if request.outputs and OUTPUT in request.outputs else None
    output_format = None if media_type is None else format_of_media_type(media_type)
    processor = cast("Processor | None", literals.get("processorType"))
    if runs_here and processor is not None:
        with collect_faults(faults, given["processorType"].pointer):
            require_processor(processor)
    if require_free is not None and "resultName" in given:
        try:
            require_free(literals["resultName"])
        except NameTakenError as err:
            faults.append(Fault(given["resultName"].pointer, err))
    crs = _output_crs(given.get("outputCrs"), output_format, faults)
    options = Options(
        label_field=literals.get("classLabelField", DEFAULT_FIELD),
        mode=literals.get("processingMode", "mosaic"),
        extent=_extent(given.get("extent"), faults),
        cell_size=literals.get("cellSize"),
        processor=processor,
    )
    if "model" not in given:
        return None
    with collect_faults(faults, given["model"].pointer):
        model = catalog.model(literals["model"])
        asked = given.get("modelArguments", LiteralValue("", {}))
        arguments, wrong = read_arguments(asked.value, model.definition, asked.pointer)
        faults.extend(wrong)
        if "classLabelField" in given or "classLabelField" not in request.inputs:  # else no fields can be told
            return Inputs(request, model, arguments, options, output_format, crs, _requirements(literals))
    return None


def open_sources(
    request: ExecuteRequest, inputs: Inputs | None, faults: list[Fault], settings: Settings, folder: Path
) -> Sources:
    """Open what a request points to.

    Args:
        request: the request.
        inputs: what `read_inputs` made of it.
        faults: what is wrong with it already.
        settings: what is allowed.
        folder: where inline and fetched files go.

    Raises:
        RequestError: everything that is wrong, each fault with its pointer.
    """
    images = open_images(request, settings, folder, faults)
    layer = _layer(request, settings, folder, faults)
    if inputs is None:
        raise RequestError(faults)
    sources = Sources(
        images=[image for image, _ in images],
        image_pointers=[pointer for _, pointer in images],
        layer=layer,
        model=inputs.model,
        arguments=inputs.arguments,
        options=inputs.options,
    )
    if faults:  # what else can be seen of images and features is told too
        checked(sources, faults, "features" in request.inputs)
    return sources


def stamp_links(request: ExecuteRequest, settings: Settings, faults: list[Fault]) -> tuple[tuple[FileStamp, ...], str]:
    """Return the files that a request links to as they are now, and the stem of a name for the result.

    Nothing is opened; what can be told to be wrong without that is added to `faults`.
    """
    file_stamps, image = stamp_images(request, settings, faults)
    for value in request.inputs.get("features", ()):
        with collect_faults(faults, value.pointer):
            file_stamps += stamp_features(value, settings)
    return tuple(file_stamps), name_stem(image)


def name_stem(image: str) -> str:
    """Return what the name of a result is made from: the process and an image's name."""
    safe = (letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in Path(image).stem)
    return f"{PROCESS_ID}-{''.join(safe)}"[:64]


def _requirements(literals: Mapping[str, Any]) -> Requirements:
    factor = literals.get("parallelProcessingFactor", "100%")
    return Requirements(
        result_name=literals.get("resultName"),
        parallel_factor=factor if isinstance(factor, str) else str(min(int(factor), _MAX_SLOTS)),
        recycle_interval=min(int(literals.get("recycleInterval", 0)), _MAX_INTERVAL),
        retries=int(literals.get("retries", 0)),
        needs_gpu=literals.get("processorType") == "GPU",
    )


def _output_crs(given: LiteralValue | None, output_format: Format | None, faults: list[Fault]) -> pyproj.CRS | None:
    if given is None:
        return None
    with collect_faults(faults, given.pointer):
        crs = parse_crs(given.value)
        if output_format is not None and output_format.is_crs84_only and not is_longitude_latitude(crs):
            raise InputError(
                f"outputCrs is {quoted(given.value)}, but {output_format.name} is always {CRS84}; "
                "ask for another format"
            )
        return crs
    return None


def _extent(given: LiteralValue | None, faults: list[Fault]) -> Extent | None:
    if given is None:
        return None
    with collect_faults(faults, given.pointer):
        return read_extent(given.value, given.pointer)
    return None


def _layer(request: ExecuteRequest, settings: Settings, folder: Path, faults: list[Fault]) -> Layer | None:
    if "features" not in request.inputs:
        return None
    (value,) = request.inputs["features"]
    with collect_faults(faults, value.pointer):
        return read_features(value, settings, folder)
    return None
