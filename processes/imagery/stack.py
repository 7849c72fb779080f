"""Bands of several files as one image: each file's bands in turn, on the grid of the first file.

A cell of a finer file, or of one of the same size, is the one that holds the centre of the grid's cell. A coarser file
is interpolated bilinearly between its cells that are valid.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from processes.errors import ImageError
from processes.imagery.cell_reader import CellReader
from processes.imagery.grid import Mask
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.source import FileSource
from processes.sources.stamps import FileStamp

_TOLERANCE_PX = 1e-6
"""How far the way between two CRS may be approximated, in cells; rasterio fails with 0."""
_COARSER = 1 + 1e-6
"""Cells that are larger by this factor are coarser; rounding is less."""


class StackSource(msgspec.Struct, frozen=True, tag="stack"):
    """Files whose bands are one image."""

    sources: tuple[FileSource, ...]
    """Their order is that of the bands; the first one has the grid."""
    bands: tuple[str, ...]
    """What the client calls each file: the name of its band, if it has one only."""
    name: str

    @property
    def location(self) -> str:
        return "\n".join(source.location for source in self.sources)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(source.path for source in self.sources)

    def open(self) -> StackReader:
        with ExitStack() as opened:
            datasets = [opened.enter_context(source.open()) for source in self.sources]
            reader = StackReader(datasets, self.bands, self.name)
            opened.pop_all()
            return reader

    def open_bytes(self) -> BinaryIO:
        raise io.UnsupportedOperation("several files have no bytes of one image")

    def crs_beside(self) -> CRS | None:
        return self.sources[0].crs_beside()

    def approximation_beside(self) -> str | None:
        return self.sources[0].approximation_beside()

    def stamp(self, pointer: str) -> FileStamp | None:
        """Return one stamp of all the files; None = one of them is not there."""
        stamps = [stamp for source in self.sources if (stamp := source.stamp(pointer)) is not None]
        if len(stamps) < len(self.sources):
            return None
        size_bytes, mtime_ns = sum(item.size_bytes for item in stamps), max(item.mtime_ns for item in stamps)
        return FileStamp(pointer, self.location, self.name, size_bytes, mtime_ns)

    def named(self, name: str) -> Self:
        return msgspec.structs.replace(self, name=name)

    def save(self, folder: Path, keep: Callable[[str, Path], None]) -> Self:
        return msgspec.structs.replace(self, sources=tuple(source.save(folder, keep) for source in self.sources))

    def locate(self, fetch: Callable[[str], Path], access: RemoteAccess | None) -> Self:
        return msgspec.structs.replace(self, sources=tuple(source.locate(fetch, access) for source in self.sources))


class StackReader(CellReader):
    """Reads the bands of several files as those of one image.

    Args:
        datasets: the files, opened; they are closed with this.
        bands: what the client calls each of them.
        name: what the client calls the image.

    Raises:
        ImageError: a file cannot be one of several bands.
    """

    driver = "stack"

    def __init__(self, datasets: Sequence[DatasetReader], bands: Sequence[str], name: str) -> None:
        first = datasets[0]
        self._layers = [
            _Layer(item, first, f"image {name!r}: {band!r}") for item, band in zip(datasets, bands, strict=True)
        ]
        self._places = places = [(layer, index) for layer in self._layers for index in layer.indexes]
        dtypes = [layer.dataset.dtypes[index - 1] for layer, index in places]
        super().__init__((first.transform, first.crs, first.height, first.width), dtypes, first.block_shapes[0])
        for opened in {*datasets, *(layer.reader for layer in self._layers)}:
            self._opened.push(opened)
        self.descriptions = tuple(
            band if len(layer.indexes) == 1 else layer.dataset.descriptions[index - 1]
            for layer, band in zip(self._layers, bands, strict=True)
            for index in layer.indexes
        )
        self.scales = tuple(layer.dataset.scales[index - 1] for layer, index in places)
        self.offsets = tuple(layer.dataset.offsets[index - 1] for layer, index in places)
        if all(layer.is_all_valid for layer in self._layers):
            self.mask_flag_enums = [[MaskFlags.all_valid]] * self.count

    def tags(self, index: int | None = None, ns: str | None = None) -> dict[str, str]:
        if index is None:
            return {}
        layer, own = self._places[index - 1]
        return dict(layer.dataset.tags(own, ns=ns))

    def overviews(self, index: int) -> list[int]:
        """Return the overviews of the first file, where each file has some; a band that is read has its own."""
        found = [list(layer.reader.overviews(layer.indexes[0])) for layer in self._layers]
        return found[0] if all(found) else []

    def _band(self, index: int, window: Window, shape: tuple[int, int]) -> NDArray[Any]:
        layer, own = self._places[index - 1]
        cells: NDArray[Any] = layer.reader.read(own, window=window, out_shape=shape)
        return cells

    def _mask(self, window: Window, shape: tuple[int, int]) -> Mask:
        """Return which cells are valid in a file at least."""
        return np.asarray(np.logical_or.reduce([layer.mask(window, shape) for layer in self._layers]))


class _Layer:
    """A file on the grid of the first one."""

    def __init__(self, dataset: DatasetReader, first: DatasetReader, shown: str) -> None:
        self.dataset = dataset
        colors = dataset.colorinterp
        if ColorInterp.palette in colors:
            raise ImageError(f"{shown} holds colours of a palette, which are no values of a band")
        self.indexes = [index for index in dataset.indexes if colors[index - 1] != ColorInterp.alpha]
        if not self.indexes:
            raise ImageError(f"{shown} has no band but alpha")
        self._has_alpha = len(self.indexes) < dataset.count
        self._is_own_grid = (dataset.transform, dataset.shape, dataset.crs) == (first.transform, first.shape, first.crs)
        if not self._is_own_grid and (dataset.crs is None or first.crs is None):
            raise ImageError(f"{shown} has another grid than the first of the bands, and no CRS tells how they lie")
        self.reader = dataset if self._is_own_grid else _on_grid(dataset, first)

    @property
    def is_all_valid(self) -> bool:
        """Whether no cell of it is without a value."""
        has_mask = any(MaskFlags.all_valid not in self.dataset.mask_flag_enums[index - 1] for index in self.indexes)
        return self._is_own_grid and not has_mask

    def mask(self, window: Window, shape: tuple[int, int]) -> Mask:
        """Return which cells of a window are valid in one of its bands, `shape`."""
        if not self._is_own_grid:  # the alpha of what is warped tells of nodata, masks, alpha and the edge
            alpha = self.reader.colorinterp.index(ColorInterp.alpha) + 1
            return np.asarray(self.reader.read(alpha, window=window, out_shape=shape) != 0)
        masks = self.dataset.read_masks(self.indexes, window=window, out_shape=(len(self.indexes), *shape))
        return np.asarray(np.logical_or.reduce(masks))


def _on_grid(dataset: DatasetReader, first: DatasetReader) -> WarpedVRT:
    """Return a file's cells on the grid of the first one, with an alpha band behind them."""
    return WarpedVRT(
        dataset,
        crs=first.crs,
        transform=first.transform,
        width=first.width,
        height=first.height,
        resampling=Resampling.bilinear if _is_coarser(dataset, first) else Resampling.nearest,
        add_alpha=ColorInterp.alpha not in dataset.colorinterp,
        tolerance=_TOLERANCE_PX,
        warp_mem_limit=16,
    )


def _is_coarser(dataset: DatasetReader, first: DatasetReader) -> bool:
    """Return whether a file's cells are larger on the ground than those of the first one, measured along its rows."""
    if dataset.crs == first.crs:
        return bool(abs(dataset.transform.determinant) > abs(first.transform.determinant) * _COARSER**2)
    with WarpedVRT(dataset, crs=first.crs) as warped:
        return bool(abs(warped.transform.determinant) > abs(first.transform.determinant) * _COARSER**2)
