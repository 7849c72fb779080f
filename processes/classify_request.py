"""A request to `classify-objects`, read: what the client asks for, and the files it points to, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyproj

from processes.classify_description import OUTPUT, PROCESS_ID, describe
from processes.classify_features import pin_features, read_features
from processes.classify_images import open_images, pin_images
from processes.crs import CRS84, is_longitude_latitude, parse_crs
from processes.description import Given, Request, check_literals
from processes.errors import Fault, InputError, NameTakenError, RequestError, collected
from processes.features.layer import Layer
from processes.features.result import CRS84_ONLY, MediaType
from processes.model.arguments import Arguments, read_arguments
from processes.model.catalog import Catalog, Model
from processes.model.processor import Processor, require_processor
from processes.pins import Pin
from processes.planning.extent import Extent, read_extent
from processes.planning.fields import DEFAULT_FIELD
from processes.planning.material import Material, Options
from processes.planning.plan import checked
from processes.process import Terms
from processes.schema import quoted
from processes.settings import Settings

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

    request: Request
    model: Model
    arguments: Arguments
    options: Options
    media_type: MediaType | None
    """None = as suits the result, and the client's `Accept`."""
    crs: pyproj.CRS | None
    """Of the output; None = as suits the result."""
    terms: Terms
    """Without pins and the stem of a name."""


def read_inputs(
    request: Request,
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
    given = {name: found[0] for name, found in check_literals(request, describe([]), LITERALS, faults).items()}
    literals = {name: item.value for name, item in given.items()}
    media_type = (
        cast("MediaType | None", request.outputs[OUTPUT].media_type)
        if request.outputs and OUTPUT in request.outputs
        else None
    )
    processor = cast("Processor | None", literals.get("processorType"))
    if runs_here and processor is not None:
        with collected(faults, given["processorType"].pointer):
            require_processor(processor)
    if require_free is not None and "resultName" in given:
        try:
            require_free(literals["resultName"])
        except NameTakenError as err:
            faults.append(Fault(given["resultName"].pointer, err))
    crs = _output_crs(given.get("outputCrs"), media_type, faults)
    options = Options(
        label_field=literals.get("classLabelField", DEFAULT_FIELD),
        mode=literals.get("processingMode", "mosaic"),
        extent=_extent(given.get("extent"), faults),
        cell_size=literals.get("cellSize"),
        processor=processor,
    )
    if "model" not in given:
        return None
    with collected(faults, given["model"].pointer):
        model = catalog.model(literals["model"])
        asked = given.get("modelArguments", Given("", {}))
        arguments, wrong = read_arguments(asked.value, model.definition, asked.pointer)
        faults.extend(wrong)
        if "classLabelField" in given or "classLabelField" not in request.inputs:  # else no fields can be told
            return Inputs(request, model, arguments, options, media_type, crs, _terms(literals))
    return None


def open_material(
    request: Request, inputs: Inputs | None, faults: list[Fault], settings: Settings, folder: Path
) -> Material:
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
    material = Material(
        images=[image for image, _ in images],
        image_pointers=[pointer for _, pointer in images],
        layer=layer,
        model=inputs.model,
        arguments=inputs.arguments,
        options=inputs.options,
    )
    if faults:  # what else can be seen of images and features is told too
        checked(material, faults, "features" in request.inputs)
    return material


def pin_links(request: Request, settings: Settings, faults: list[Fault]) -> tuple[tuple[Pin, ...], str]:
    """Return the files that a request links to as they are now, and the stem of a name for the result.

    Nothing is opened; what can be told to be wrong without that is added to `faults`.
    """
    pins, image = pin_images(request, settings, faults)
    for value in request.inputs.get("features", ()):
        with collected(faults, value.pointer):
            pins += pin_features(value, settings)
    return tuple(pins), name_stem(image)


def name_stem(image: str) -> str:
    """Return what the name of a result is made from: the process and an image's name."""
    safe = (letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in Path(image).stem)
    return f"{PROCESS_ID}-{''.join(safe)}"[:64]


def _terms(literals: Mapping[str, Any]) -> Terms:
    factor = literals.get("parallelProcessingFactor", "100%")
    return Terms(
        result_name=literals.get("resultName"),
        parallel_factor=factor if isinstance(factor, str) else str(min(int(factor), _MAX_SLOTS)),
        recycle_interval=min(int(literals.get("recycleInterval", 0)), _MAX_INTERVAL),
        retries=int(literals.get("retries", 0)),
        needs_gpu=literals.get("processorType") == "GPU",
    )


def _output_crs(given: Given | None, media_type: MediaType | None, faults: list[Fault]) -> pyproj.CRS | None:
    if given is None:
        return None
    with collected(faults, given.pointer):
        crs = parse_crs(given.value)
        if media_type in CRS84_ONLY and not is_longitude_latitude(crs):
            raise InputError(
                f"outputCrs is {quoted(given.value)}, but GeoJSON is always {CRS84}; ask for another format"
            )
        return crs
    return None


def _extent(given: Given | None, faults: list[Fault]) -> Extent | None:
    if given is None:
        return None
    with collected(faults, given.pointer):
        return read_extent(given.value, given.pointer)
    return None


def _layer(request: Request, settings: Settings, folder: Path, faults: list[Fault]) -> Layer | None:
    if "features" not in request.inputs:
        return None
    (value,) = request.inputs["features"]
    with collected(faults, value.pointer):
        return read_features(value, settings, folder)
    return None
