"""Normalisation: what is done to each cell before the network, from Esri's statistics or the key `Normalization`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from processes.errors import PackageError
from processes.model.keys import get, read_names, read_number, read_numbers, require, show, stated, wrong_value

Bands = tuple[int | str, ...]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_STATISTICS = ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")
_FLOAT32_LEAST, _FLOAT32_MOST = 1.1754944e-38, 3.4028234e38


class Normalization(msgspec.Struct, frozen=True):
    """`value * scale + offset`, one pair per band, within what float32 holds."""

    scale: tuple[float, ...]
    """Factor of each band."""
    offset: tuple[float, ...]
    """What is added to each band after that."""
    is_assumed: bool = False
    """True: the package states none; ImageNet's statistics apply if the network takes three bands."""


class BandStatistics(msgspec.Struct, frozen=True):
    """arcgis.learn's `NormalizationStats`: arrays per band of the training raster, as long as each other or not."""

    arrays: Mapping[str, tuple[Any, ...]]
    """By key; what is not a number may stand where no band is taken."""

    @property
    def bands(self) -> int:
        """Number of bands of the training raster."""
        return min(map(len, self.arrays.values()))

    def normalization(self, indices: Sequence[int]) -> Normalization:
        """Return the normalisation of some bands: scale to the training raster's range, then standardise.

        Minimum = maximum divides by 1, a deviation of 0 counts as 0.01.

        Args:
            indices: of the bands, from 0, in the order in which the network takes them.

        Raises:
            PackageError: a value is no number, or the normalisation is not one that float32 holds.
        """
        low, high, mean, std = (
            read_numbers(name, [array[index] for index in indices]) for name, array in self.arrays.items()
        )
        width = tuple((h - v) or 1.0 for v, h in zip(low, high, strict=True))
        shifted = tuple(v / w + m for v, w, m in zip(low, width, mean, strict=True))
        return _affine(tuple(1 / w for w in width), shifted, tuple(s or 0.01 for s in std))


def read_normalization(
    keys: Mapping[str, Any], is_of_arcgis_learn: bool, bands: Bands | None
) -> tuple[Normalization | None, BandStatistics | None]:
    """Return the normalisation that the keys of an .emd ask for, or statistics of bands that an image's names tell.

    Args:
        keys: of the .emd, without nulls.
        is_of_arcgis_learn: True = ImageNet's statistics apply where none are stated.
        bands: `ExtractBands`; None = absent.

    Raises:
        PackageError: a key has the wrong type, or other bands than `ExtractBands`.
    """
    if "Normalization" in keys:
        normalization = _own(keys["Normalization"])
    elif "NormalizationStats" in keys:
        statistics = _statistics(keys["NormalizationStats"])
        indices = _band_indices(bands, statistics, get(keys, "Bands", read_names, ()))
        if indices is None:
            return None, statistics
        normalization = statistics.normalization(indices)
    elif is_of_arcgis_learn and (bands is None or len(bands) == 3):
        normalization = msgspec.structs.replace(_affine((1 / 255,) * 3, _IMAGENET_MEAN, _IMAGENET_STD), is_assumed=True)
    else:
        return None, None
    if normalization is not None and bands is not None and len(normalization.scale) != len(bands):
        raise PackageError(
            f"the normalisation is for {len(normalization.scale)} bands, ExtractBands takes {len(bands)}"
        )
    return normalization, None


def _affine(scale: tuple[float, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization:
    """Fold `(value * scale - mean) / std` into one factor and one offset per band."""
    factors = tuple(s / d for s, d in zip(scale, std, strict=True))
    offsets = tuple(-m / d for m, d in zip(mean, std, strict=True))
    if not all(_FLOAT32_LEAST <= abs(f) <= _FLOAT32_MOST for f in factors) or not all(
        abs(o) <= _FLOAT32_MOST for o in offsets
    ):
        raise PackageError("the normalisation makes numbers that float32 does not hold, or the same one of every value")
    return Normalization(factors, offsets)


def _own(value: Any) -> Normalization | None:
    if value == "none":
        return None
    if isinstance(value, dict):
        value = stated(value)
    if not isinstance(value, dict) or not {"mean", "std"} <= value.keys():
        raise wrong_value("Normalization", value, '"none" or an object with scale, mean and std')
    mean = read_numbers("Normalization.mean", value["mean"])
    std = read_numbers("Normalization.std", value["std"])
    scale = read_number("Normalization.scale", value.get("scale", 1))
    if len(mean) != len(std):
        raise PackageError(f"Normalization has {len(mean)} means and {len(std)} deviations")
    if 0 in std:
        raise wrong_value("Normalization.std", value["std"], "without zeros")
    return _affine((scale,) * len(mean), mean, std)


def _statistics(value: Any) -> BandStatistics:
    if not isinstance(value, dict):
        raise wrong_value("NormalizationStats", value, "an object of per-band arrays")
    value = {f"NormalizationStats.{key}": item for key, item in stated(value).items()}
    names = [f"NormalizationStats.{key}" for key in _STATISTICS]
    return BandStatistics({name: require(value, name, _read_list) for name in names})


def _read_list(name: str, value: Any) -> tuple[Any, ...]:
    """Read a list; its items are read where they are taken, as bands without data have NaN."""
    if not isinstance(value, list) or not value:
        raise wrong_value(name, value, "a list of numbers")
    return tuple(value)


def _band_indices(bands: Bands | None, statistics: BandStatistics, names: Sequence[str]) -> list[int] | None:
    """Return which bands of the training raster the network takes; None = names say it that only an image has."""
    if bands is None:
        indices = list(range(len(next(iter(statistics.arrays.values())))))
    else:
        places = {name: place for place, name in enumerate(names)}
        found = [places.get(band.strip().lower()) if isinstance(band, str) else band for band in bands]
        indices = [index for index in found if index is not None]
        if len(indices) < len(found):
            return None
    for name, array in statistics.arrays.items():
        if (bands is None and len(array) != len(indices)) or max(indices) >= len(array):
            extracted = f"{len(indices)} bands" if bands is None else show(bands)
            raise PackageError(f"{name} has {len(array)} values, taken are {extracted}")
    return indices
