"""What a model takes of an image: which bands, in which order, and mapped to which range."""

from __future__ import annotations

from collections.abc import Sequence

from processes.errors import Fault, ImageError, RequestError, ServiceError
from processes.imagery.image import Image
from processes.imagery.tiles import BandSelection
from processes.model.catalog import Model


def select_bands(images: Sequence[Image], pointers: Sequence[str], model: Model) -> list[BandSelection]:
    """Return for each image what the model takes of it.

    Args:
        images: the images.
        pointers: where each stands in the request.
        model: the model.

    Raises:
        RequestError: images with too few bands, too many, no band of a name or none of a known range; all of them.
    """
    faults, taken = [], []
    for image, pointer in zip(images, pointers, strict=True):
        try:
            bands = _bands(image, model, images[0])
            taken.append(BandSelection(bands, _rescaling(image, bands, model)))
        except ServiceError as err:
            faults.append(Fault(pointer, err))
    if faults:
        raise RequestError(faults)
    return taken


def _bands(image: Image, model: Model, first: Image) -> tuple[int, ...]:
    wanted = model.definition.bands
    if wanted is None:
        return _all_bands(image, model, first)
    bands = tuple(_named(image, band) if isinstance(band, str) else band for band in wanted)
    if max(bands) >= image.bands:
        raise ImageError(f"image {image.name!r} has {image.bands} bands, the model {model.id!r} needs {max(bands) + 1}")
    return bands


def _all_bands(image: Image, model: Model, first: Image) -> tuple[int, ...]:
    normalization = model.definition.normalization_for(model.bands)
    taken, there = model.bands or (len(normalization.scale) if normalization else None), len(image.data_bands)
    if taken not in (None, there):
        raise ImageError(f"image {image.name!r} has {there} bands, the model {model.id!r} takes {taken}")
    if there != len(first.data_bands):  # a model that takes any number still takes the same of all images
        raise ImageError(f"image {image.name!r} has {there} bands, image {first.name!r} has {len(first.data_bands)}")
    return image.data_bands


def _named(image: Image, wanted: str) -> int:
    names = [name.strip().lower() for name in image.band_names]
    if wanted.strip().lower() not in names:
        listed = ", ".join(map(repr, image.band_names))
        raise ImageError(f"image {image.name!r} has no band {wanted!r}; its bands are {listed}")
    return names.index(wanted.strip().lower())


def _rescaling(image: Image, bands: Sequence[int], model: Model) -> tuple[tuple[float, float], ...] | None:
    """Return factor and offset that map each band's own range to the definition's `DataRange`."""
    wanted = model.definition.data_range
    if wanted is None:
        return None
    pairs = []
    for band in bands:
        own = image.ranges[band]
        if own is None:
            raise ImageError(
                f"image {image.name!r}: band {band + 1} holds fractions and has no statistics, so its range, "
                f"which the model {model.id!r} maps to {wanted[0]:g} to {wanted[1]:g}, is not known; compute them"
            )
        factor = (wanted[1] - wanted[0]) / (own[1] - own[0])
        pairs.append((factor, wanted[0] - own[0] * factor))
    return tuple(pairs)
