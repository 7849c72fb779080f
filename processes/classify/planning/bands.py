"""The bands of an image that a model reads: which ones, in which order, and mapped to which range."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from processes.errors import Fault, ImageError, RequestError, ServiceError
from processes.imagery.image import Image
from processes.imagery.tiles import BandSelection
from processes.model.catalog import Model


def select_bands(images: Sequence[Image], pointers: Sequence[str], model: Model) -> list[BandSelection]:
    """Return the bands that the model reads of each image.

    Args:
        images: the images.
        pointers: where each stands in the request.
        model: the model.

    Raises:
        RequestError: images have too few bands, too many, no band of a name, or a band of unknown range; names all of
            them.
    """
    faults, selections = [], []
    for image, pointer in zip(images, pointers, strict=True):
        try:
            bands = _bands(image, model, images[0])
            selections.append(BandSelection(bands, _rescaling(image, bands, model)))
        except ServiceError as err:
            faults.append(Fault(pointer, err))
    if faults:
        raise RequestError(faults)
    return selections


def model_for(model: Model, images: Sequence[Image]) -> Model:
    """Return a model whose statistics are those of the bands that it takes, where only an image's names tell which.

    Raises:
        ImageError: an image lacks a band, or has another number of bands than the statistics.
    """
    statistics = model.definition.statistics
    if statistics is None or not images:  # images that cannot be opened are a fault of their own
        return model
    found = set()
    for image in images:
        if image.bands != statistics.bands:
            raise ImageError(
                f"image {image.name!r} has {image.bands} bands, the statistics of the model {model.id!r} "
                f"have {statistics.bands}: which of them its ExtractBands names is not known"
            )
        found.add(_bands(image, model, image))
    if len(found) != 1:
        raise ImageError(f"the images have the bands that the model {model.id!r} names in differing places")
    normalization = statistics.normalization(*found)
    return msgspec.structs.replace(
        model, definition=msgspec.structs.replace(model.definition, normalization=normalization, statistics=None)
    )


def _bands(image: Image, model: Model, first: Image) -> tuple[int, ...]:
    requested = model.definition.bands
    if requested is None:
        return _all_bands(image, model, first)
    bands = tuple(_index_of(image, band) if isinstance(band, str) else band for band in requested)
    if max(bands) >= image.bands:
        raise ImageError(f"image {image.name!r} has {image.bands} bands, the model {model.id!r} needs {max(bands) + 1}")
    return bands


def _all_bands(image: Image, model: Model, first: Image) -> tuple[int, ...]:
    normalization = model.definition.normalization_for(model.bands)
    model_bands = model.bands or (len(normalization.scale) if normalization else None)
    image_bands = len(image.data_bands)
    if model_bands not in (None, image_bands):
        beside = " beside alpha" if image.bands > image_bands else ""
        hint = (
            "; ExtractBands in its .emd can name the alpha band too" if image_bands < model_bands == image.bands else ""
        )
        raise ImageError(
            f"image {image.name!r} has {image_bands} bands{beside}, the model {model.id!r} takes {model_bands}{hint}"
        )
    if image_bands != len(first.data_bands):  # a model of any number of bands still reads the same number of all images
        raise ImageError(
            f"image {image.name!r} has {image_bands} bands, image {first.name!r} has {len(first.data_bands)}"
        )
    return image.data_bands


def _index_of(image: Image, band: str) -> int:
    names = [name.strip().lower() for name in image.band_names]
    if band.strip().lower() not in names:
        listed = ", ".join(map(repr, image.band_names))
        raise ImageError(f"image {image.name!r} has no band {band!r}; its bands are {listed}")
    return names.index(band.strip().lower())


def _rescaling(image: Image, bands: Sequence[int], model: Model) -> tuple[tuple[float, float], ...] | None:
    """Return factor and offset that map each band's own range to the definition's `DataRange`."""
    target = model.definition.data_range
    if target is None:
        return None
    pairs = []
    for band in bands:
        own = image.ranges[band]
        if own is None:
            raise ImageError(
                f"image {image.name!r}: band {band + 1} holds fractions and has no statistics, so its range, "
                f"which the model {model.id!r} maps to {target[0]:g} to {target[1]:g}, is not known; compute them"
            )
        factor = (target[1] - target[0]) / (own[1] - own[0])
        pairs.append((factor, target[0] - own[0] * factor))
    return tuple(pairs)
