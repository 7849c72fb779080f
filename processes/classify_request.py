"""A request to `classify-objects`, read: what the client asks for, and the files it points to, opened."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

import pyproj

from processes.classify_description import INLINE_IMAGES, OUTPUT, describe
from processes.classify_features import read_features
from processes.crs import CRS84, is_longitude_latitude, parse_crs
from processes.description import Given, Request, Value, check_literals
from processes.errors import Fault, ImageError, InputError, LimitError, RequestError, ServiceError, collected
from processes.features.layer import Layer
from processes.features.result import CRS84_ONLY, MediaType
from processes.imagery.image import ENDINGS, Image, open_image, unique_names
from processes.links import list_folder, resolve
from processes.model.arguments import Arguments, read_arguments
from processes.model.catalog import Catalog, Model
from processes.model.session import Processor
from processes.planning.extent import Extent, read_extent
from processes.planning.fields import DEFAULT_FIELD
from processes.planning.material import Material, Options
from processes.run import require_processor
from processes.schema import quoted
from processes.settings import Settings

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


@dataclass(frozen=True, slots=True)
class Source:
    """A file to open, and where it stands in the request."""

    path: Path
    name: str
    pointer: str
    fragment: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A request's inputs, read; what they link to is not yet opened."""

    request: Request
    model: Model
    arguments: Arguments
    options: Options
    result_name: str | None
    """None = made from the image's name."""
    media_type: MediaType | None
    """None = as suits the result, and the client's `Accept`."""
    crs: pyproj.CRS | None
    """Of the output; None = as suits the result."""


def read_inputs(request: Request, faults: list[Fault], catalog: Catalog) -> Inputs | None:
    """Read what needs no file to be opened; what is wrong is added to `faults`, and then there may be no Inputs."""
    given = {name: found[0] for name, found in check_literals(request, describe([]), _LITERALS, faults).items()}
    literals = {name: item.value for name, item in given.items()}
    media_type = (
        cast("MediaType | None", request.outputs[OUTPUT].media_type)
        if request.outputs and OUTPUT in request.outputs
        else None
    )
    processor = cast("Processor | None", literals.get("processorType"))
    with collected(faults, given["processorType"].pointer if processor else ""):
        require_processor(processor)
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
        return Inputs(request, model, arguments, options, literals.get("resultName"), media_type, crs)
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
    images = list(_images(request, settings, folder, faults))
    layer = _layer(request, settings, folder, faults)
    if faults or inputs is None:
        raise RequestError(faults)
    return Material(
        images=[image for image, _ in images],
        image_pointers=[pointer for _, pointer in images],
        layer=layer,
        model=inputs.model,
        arguments=inputs.arguments,
        options=inputs.options,
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


def _images(request: Request, settings: Settings, folder: Path, faults: list[Fault]) -> Iterator[tuple[Image, str]]:
    """Yield the images of a request with their pointers."""
    sources: list[Source] = []
    values = request.inputs.get("image", ())
    limit, inline = settings.limits.max_images, count(1)
    for value in values if len(values) <= limit else ():
        with collected(faults, value.pointer):
            sources.extend(_image_sources(value, inline, settings, folder))
        if len(sources) > limit:
            break
    found = max(len(values), len(sources))
    if found > limit:
        faults.append(Fault("/inputs/image", LimitError("max_images", limit, f"{found} images in one request")))
        return
    for source, name in zip(sources, unique_names([source.name for source in sources]), strict=True):
        with collected(faults, source.pointer):
            yield open_image(source.path, name, settings.limits.max_image_pixels), source.pointer


def _image_sources(value: Value, inline: Iterator[int], settings: Settings, folder: Path) -> list[Source]:
    content = value.read()
    match content:
        case {"href": str() as href}:
            pointer = f"{value.pointer}/href"
            try:
                if href.split("#")[0].split("?")[0].endswith("/"):
                    return [Source(file.path, file.name, pointer) for file in list_folder(href, settings, ENDINGS)]
                file = resolve(href, settings, folder)
            except ServiceError as err:
                raise RequestError.at(pointer, err) from err
            return [Source(file.path, file.name, pointer)]
        case {"value": str() as text, "encoding": "base64", "mediaType": str() as kind} if kind in INLINE_IMAGES:
            return [_inline_image(text, INLINE_IMAGES[kind], next(inline), value.pointer, folder)]
        case {"value": _}:
            raise ImageError(
                f"an image in the request has value, encoding base64 and a mediaType, one of {', '.join(INLINE_IMAGES)}"
            )
        case _:
            raise ImageError(f"{quoted(content)} is no image: give a link with href, or value, encoding and mediaType")


def _inline_image(text: str, ending: str, number: int, pointer: str, folder: Path) -> Source:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as err:
        raise RequestError.at(f"{pointer}/value", ImageError("the image's value is not base64")) from err
    path = folder / f"inline-{number}{ending}"
    path.write_bytes(data)
    return Source(path, f"image-{number}", f"{pointer}/value")


def _layer(request: Request, settings: Settings, folder: Path, faults: list[Fault]) -> Layer | None:
    if "features" not in request.inputs:
        return None
    (value,) = request.inputs["features"]
    with collected(faults, value.pointer):
        return read_features(value, settings, folder)
    return None
