"""The inputs of `classify-objects`: read from a request, and the files behind them opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pyproj

from processes.classify.description import OUTPUT, PROCESS_ID, describe
from processes.classify.features import read_features, stamp_features
from processes.classify.images import open_images, stamp_images
from processes.classify.near_objects import NearObjects
from processes.classify.planning.bands import model_for
from processes.classify.planning.extent import Extent, everywhere, read_extent
from processes.classify.planning.options import Options
from processes.classify.planning.plan import checked
from processes.classify.planning.sources import Sources
from processes.classify.publish import require_crs84
from processes.crs import parse_crs
from processes.errors import Fault, NameTakenError, RequestError, collect_faults
from processes.features.layer import Layer
from processes.features.reading.remote_layer import BoxesIn
from processes.features.writing.format import Format
from processes.features.writing.formats import format_of_media_type
from processes.features.writing.label_fields import DEFAULT_FIELD
from processes.imagery.grid import ChipRule
from processes.imagery.remote_source import RemoteAccess
from processes.model.arguments import ModelArguments, read_arguments
from processes.model.catalog import Catalog, Model
from processes.model.runtime.runtime import Processor
from processes.model.runtime.runtimes import require_processor
from processes.ogc.literals import LiteralValue, read_literals
from processes.ogc.process import RequireFreeName, RequireGpu, Requirements
from processes.ogc.request import ExecuteRequest
from processes.ogc.schema import quoted
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from processes.sources.stamps import FileStamp

_MAX_SLOTS, _MAX_INTERVAL = 9999, 10**9
"""Larger numbers mean no more than these."""
_MAX_LITERAL_BYTES = 2**20

_LITERALS = (
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
"""Inputs that are neither images nor features."""


class Inputs(msgspec.Struct, frozen=True):
    """The inputs of a request, read. The files behind links are not yet opened."""

    model: Model
    arguments: ModelArguments
    options: Options
    output_format: Format | None
    """None = as suits the result and the client's `Accept`."""
    crs: pyproj.CRS | None
    """Of the output; None = as suits the result."""
    requirements: Requirements
    """Without file stamps and the stem of a name."""


def read_inputs(
    request: ExecuteRequest,
    faults: list[Fault],
    catalog: Catalog,
    require_gpu: RequireGpu | None = None,
    require_free_name: RequireFreeName = lambda _: None,
    sha256: str | None = None,
) -> Inputs | None:
    """Read what needs no file to be opened.

    Args:
        request: the request.
        faults: gets what is wrong. Then None may be returned.
        catalog: the installed models.
        require_gpu: raises where no machine that works on jobs has a GPU; None = this one works on them.
        require_free_name: raises NameTakenError where another job has the result name.
        sha256: digest of the model when the request was accepted; None = nobody looked.
    """
    found = read_literals(request, describe([]), _LITERALS, faults, _MAX_LITERAL_BYTES)
    literals = {name: values[0] for name, values in found.items()}
    values = {name: item.value for name, item in literals.items()}
    output = (request.outputs or {}).get(OUTPUT)
    media_type = None if output is None else output.media_type
    output_format = None if media_type is None else format_of_media_type(media_type)
    processor = cast("Processor | None", values.get("processorType"))
    if processor is not None:
        with collect_faults(faults, literals["processorType"].pointer):
            require_processor(processor) if require_gpu is None or processor == "CPU" else require_gpu()
    if "resultName" in literals:
        try:
            require_free_name(values["resultName"])
        except NameTakenError as err:
            faults.append(Fault(literals["resultName"].pointer, err))
    crs = _output_crs(literals.get("outputCrs"), output_format, faults)
    options = Options(
        label_field=values.get("classLabelField", DEFAULT_FIELD),
        mode=values.get("processingMode", "mosaic"),
        extent=_extent(literals.get("extent"), faults),
        cell_size=values.get("cellSize"),
        processor=processor,
    )
    if "model" not in literals:
        return None
    with collect_faults(faults, literals["model"].pointer):
        model = catalog.model(values["model"], sha256)
        given_arguments = literals.get("modelArguments", LiteralValue("", {}))
        arguments, argument_faults = read_arguments(
            given_arguments.value, model.definition, given_arguments.pointer, model.size, model.own_function
        )
        faults.extend(argument_faults)
        if "classLabelField" in literals or "classLabelField" not in request.inputs:  # else the fields are not known
            return Inputs(model, arguments, options, output_format, crs, _requirements(values))
    return None


def open_sources(
    request: ExecuteRequest, inputs: Inputs | None, faults: list[Fault], access: RemoteAccess, folder: Path
) -> Sources:
    """Open what a request points to.

    Args:
        request: the request.
        inputs: what `read_inputs` returned.
        faults: what is wrong with the request already.
        access: how remote images are reached, with what is allowed.
        folder: for inline and fetched files.

    Raises:
        RequestError: everything that is wrong, each fault with its pointer.
    """
    settings = access.settings
    budget = DownloadBudget.of(settings)
    extent = None if inputs is None else inputs.options.extent
    boxes_in = everywhere if extent is None else extent.boxes_in
    of_layer: list[Fault] = []
    layer = _layer(request, settings, folder, budget, boxes_in if "extent" in request.inputs else None, of_layer)
    near = None if inputs is None or layer is None else _near_objects(inputs, layer)
    images = open_images(request, access, folder, budget, faults, near)
    faults += of_layer
    if inputs is None:
        raise RequestError(faults)
    model = inputs.model
    with collect_faults(faults, "/inputs/image"):
        model = model_for(model, [image for image, _ in images])
    sources = Sources(
        images=[image for image, _ in images],
        image_pointers=[pointer for _, pointer in images],
        layer=layer,
        model=model,
        arguments=inputs.arguments,
        options=inputs.options,
    )
    if faults:  # faults that show in the images and features are reported too
        checked(sources, faults, "features" in request.inputs)
    return sources


def stamp_links(request: ExecuteRequest, settings: Settings, faults: list[Fault]) -> tuple[tuple[FileStamp, ...], str]:
    """Return stamps of the files that a request links to, and the stem of a name for the result.

    Args:
        request: the request.
        settings: what is allowed.
        faults: gets what is wrong as far as no file needs to be opened.
    """
    stamps, image = stamp_images(request, settings, faults)
    for value in request.inputs.get("features", ()):
        with collect_faults(faults, value.pointer):
            stamps += stamp_features(value, settings)
    return tuple(stamps), name_stem(image)


def name_stem(image: str) -> str:
    """Return what the name of a result is made from: the process and an image's name."""
    safe = (letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in Path(image).stem)
    return f"{PROCESS_ID}-{''.join(safe)}"[:64]


def _requirements(values: Mapping[str, Any]) -> Requirements:
    factor = values.get("parallelProcessingFactor", "100%")
    return Requirements(
        result_name=values.get("resultName"),
        parallel_factor=factor if isinstance(factor, str) else str(min(int(factor), _MAX_SLOTS)),
        recycle_interval=min(int(values.get("recycleInterval", 0)), _MAX_INTERVAL),
        retries=int(values.get("retries", 0)),
        needs_gpu=values.get("processorType") == "GPU",
    )


def _output_crs(literal: LiteralValue | None, output_format: Format | None, faults: list[Fault]) -> pyproj.CRS | None:
    if literal is None:
        return None
    with collect_faults(faults, literal.pointer):
        crs = parse_crs(literal.value)
        if output_format is not None:
            require_crs84(output_format, crs, quoted(literal.value))
        return crs
    return None


def _extent(literal: LiteralValue | None, faults: list[Fault]) -> Extent | None:
    if literal is None:
        return None
    with collect_faults(faults, literal.pointer):
        return read_extent(literal.value, literal.pointer)
    return None


def _near_objects(inputs: Inputs, layer: Layer) -> NearObjects:
    definition, options = inputs.model.definition, inputs.options
    size = definition.chip_width, definition.chip_height
    return NearObjects(layer, options.extent, ChipRule(*size, definition.fixed_size, options.cell_size))


def _layer(
    request: ExecuteRequest,
    settings: Settings,
    folder: Path,
    budget: DownloadBudget,
    boxes_in: BoxesIn | None,
    faults: list[Fault],
) -> Layer | None:
    if "features" not in request.inputs:
        return None
    (value,) = request.inputs["features"]
    with collect_faults(faults, value.pointer):
        return read_features(value, settings, folder, budget, boxes_in)
    return None
