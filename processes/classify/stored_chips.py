"""The chips of a finished result: where each lies is kept, and its cells are read again from the images.

The file is Arrow's: a row for each of the result, with the image and the window of its chip. What all chips have in
common is in the metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import pyarrow as pa

from processes.classify.batches import BatchReader, Pause
from processes.classify.planning.feature_rows import footprints_of
from processes.classify.sections import from_plain_value, to_plain_value
from processes.crs import crs_from_text
from processes.errors import ImageError, RequestError
from processes.features.layer import Layer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image
from processes.imagery.mosaic import Mosaic
from processes.imagery.remote_source import RemoteAccess, RemoteImageSource
from processes.imagery.separate import ObjectImagePairs
from processes.imagery.source import gdal_settings, require_unchanged
from processes.imagery.tiles import BandSelection
from processes.sources.seal import Seal
from processes.sources.stamps import FileStamp

_ABOUT = b"chips"
_QUICK_CELLS = 2**24
"""Cells of a window, of all bands, that are read in some tenths of a second."""


class ChipSources(msgspec.Struct, frozen=True):
    """What the chips of a result have in common."""

    images: list[Image]
    """Their sources as other machines find them."""
    selections: list[BandSelection]
    rule: ChipRule
    is_mosaic: bool
    blackens: bool
    layer_crs: str | None
    """Of the geometries to blacken around, as PROJJSON; None = that of the image."""
    file_stamps: tuple[FileStamp, ...]
    """The images as they were."""


class ChipGoneError(Exception):
    """The chip cannot be read any more; its argument says why."""


def store_chips(sources: ChipSources, placement: Placement, path: Path, seal: Seal) -> None:
    """Write where the chips of a result lie to a new file.

    Args:
        sources: what they have in common.
        placement: of each row.
        path: the file.
        seal: encrypts the links to images that are read from their hosts, which may be secrets.
    """
    about = msgspec.msgpack.encode(sources, enc_hook=to_plain_value)
    if any(isinstance(image.source, RemoteImageSource) for image in sources.images):
        about = seal.close(about)
    columns = {
        "image": pa.array(placement.image),
        "window": pa.FixedSizeListArray.from_arrays(pa.array(placement.windows.reshape(-1)), 4),
    }
    table = pa.table(columns, metadata={_ABOUT: about})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2**16)


def read_sources(file: pa.RecordBatchFileReader, seal: Seal) -> ChipSources:
    """Return what the chips in a file have in common.

    Args:
        file: that `store_chips` wrote.
        seal: that it had.

    Raises:
        FailureError: it was encrypted with another key.
    """
    about = seal.open(file.schema.metadata[_ABOUT])
    return msgspec.msgpack.decode(about, type=ChipSources, dec_hook=from_plain_value)


class StoredChip:
    """The chip of one row, not yet read.

    Args:
        path: the file that `store_chips` wrote.
        row: index of the row.
        geometry: WKB of the row's object in the CRS of its layer; None = it has none.
        seal: that `store_chips` had.
    """

    def __init__(self, path: Path, row: int, geometry: bytes | None, seal: Seal) -> None:
        with pa.memory_map(str(path)) as source:
            file = pa.ipc.open_file(source)
            self._sources = read_sources(file, seal)
            place = file.read_all().slice(row, 1)
            self._image: int = place.column("image")[0].as_py()
            window = place.column("window")[0].as_py()
        self._placement = Placement(np.array([self._image], np.int32), np.array([window], np.int32))
        self._geometry = geometry

    @property
    def has_image(self) -> bool:
        """Whether the chip touches an image."""
        return self._image >= 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the image that the chip lies in; a relative one is gone."""
        return self._sources.images[self._image].source.paths

    @property
    def is_quick(self) -> bool:
        """Whether it is read in some tenths of a second."""
        _, _, width, height = self._placement.windows[0].tolist()
        return bool(width * height * len(self._sources.selections[0].bands) <= _QUICK_CELLS)

    def png(self, access: RemoteAccess | None) -> bytes:
        """Return the chip as PNG, as the model saw it before normalisation.

        Args:
            access: how remote images are reached; None = they are not.

        Raises:
            ForbiddenError: the configuration does not allow the host of an image any more.
            ChipGoneError: its images are gone or have changed, or cannot be read any more.
        """
        sources = self._sources
        try:
            images = [located(image, index == self._image, access) for index, image in enumerate(sources.images)]
            used = images if sources.is_mosaic else [images[self._image]]
            require_unchanged((image.source for image in used), stamps_of(used, sources.file_stamps))
            return self._read(images)
        except RequestError as err:
            raise ChipGoneError("; ".join(fault.detail for fault in err.faults)) from err
        except (ImageError, FileNotFoundError) as err:
            name = sources.images[self._image].name
            raise ChipGoneError(f"the image {name!r} cannot be read any more") from err

    def _read(self, images: Sequence[Image]) -> bytes:
        sources = self._sources
        pairs = ObjectImagePairs(np.zeros(1, np.int64), self._placement)
        footprints = None
        if sources.blackens:
            crs = None if sources.layer_crs is None else crs_from_text(sources.layer_crs)
            wkb = pa.chunked_array([pa.array([self._geometry], pa.large_binary())])
            layer = Layer("", crs, wkb, "Unknown", pa.table({}), None)
            footprints = footprints_of(layer, images, pairs)
        mosaic = Mosaic(images) if sources.is_mosaic else None
        chips = ChipPlan(images, sources.selections, sources.rule, self._placement, mosaic, footprints)
        reader = BatchReader(chips, np.zeros(1, np.int64), 1, 1, Pause(), {}, lambda: None, has_masks=False)
        with gdal_settings(), reader:
            placed = reader.next()
        if placed is None:
            raise ImageError("nothing was read")
        image, selection = images[self._image], sources.selections[self._image]
        factors = selection.rescaling or [(1.0, 0.0)] * len(selection.bands)
        ranges = [_rescaled(image.ranges[band], *pair) for band, pair in zip(selection.bands, factors, strict=True)]
        from processes.imagery.pictures import chip_png  # slow to import, and needed when somebody looks at a chip

        return chip_png(placed.batch.chips[0], ranges, reader.dtype == np.uint8)


def located(image: Image, is_own: bool, access: RemoteAccess | None) -> Image:
    """Return an image as it was.

    Args:
        image: as it was kept.
        is_own: True = it is needed; False = it may be.
        access: how remote images are reached; None = they are not.

    Raises:
        ChipGoneError: it came with the request and is needed, or cannot be reached.
    """

    def fetch(_: str) -> NoReturn:
        raise ChipGoneError(f"the image {image.name!r} came with the request, or was downloaded for it; it is not kept")

    if isinstance(image.source, RemoteImageSource):
        if access is None:
            raise ChipGoneError(f"the image {image.name!r} is on another host, and its part is too large")
        return msgspec.structs.replace(image, source=image.source.locate(fetch, access))
    if is_own:
        image.source.locate(fetch, None)
    return image


def stamps_of(images: Iterable[Image], stamps: Iterable[FileStamp]) -> list[FileStamp]:
    used: set[Any] = {image.source.location for image in images}
    return [stamp for stamp in stamps if stamp.path in used]


def _rescaled(values: tuple[float, float] | None, factor: float, offset: float) -> tuple[float, float] | None:
    return None if values is None else (values[0] * factor + offset, values[1] * factor + offset)
