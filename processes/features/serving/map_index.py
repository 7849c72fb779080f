"""Where the objects of a result lie on a web map, and what they are shown and filtered by.

The file is Arrow's, one record batch with a row for each object that has a geometry. Rows are in Morton's order of the
objects' centres: objects that are near each other on the map are near each other in the file, so that a tile looks at
few blocks of rows. Coordinates are those of Web Mercator (EPSG:3857), the whole world from 0 to 1, y down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, CrsTransform, parse_crs
from processes.crs.longitudes import shifted
from processes.crs.web_mercator import WorldBox, to_world
from processes.features.layer import from_wkb
from processes.features.serving.object_filter import Matches, ObjectFilter
from processes.features.serving.stored_result import StoredResult

MAX_OBJECTS = 10_000_000
"""A result with more objects is not shown on a map."""
_BLOCK = 4096
"""Rows of a block."""
_BLOCKS = b"blocks"
"""Key of the metadata that has the box around each block."""
_MORTON_BITS = 21
_SPREADS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def on_map(stored: StoredResult, wkb: pa.Array) -> NDArray[np.object_]:
    """Return geometries of a result in units of the world, each in one piece with its centre in the world, `(n,)`.

    None = there is none, or it has no place on the map.
    """
    placed = shapely.transform(_on_globe(stored, wkb), to_world)
    turns = _turns(shapely.bounds(placed))
    return shifted(placed, -turns) if turns.any() else placed


def _boxes_on_map(stored: StoredResult, wkb: pa.Array) -> NDArray[np.float64]:
    """Return the boxes of geometries as `on_map` places them, west, north, east, south, `(n, 4)`; NaN = it has none."""
    west, south, east, north = shapely.bounds(_on_globe(stored, wkb)).T
    upper, lower = to_world(np.stack([west, north], axis=1)), to_world(np.stack([east, south], axis=1))
    boxes = np.concatenate([upper, lower], axis=1)
    boxes[:, ::2] -= _turns(boxes)[:, None]
    return boxes


def _on_globe(stored: StoredResult, wkb: pa.Array) -> NDArray[np.object_]:
    """Return geometries in longitude and latitude, each in one piece; None = there is none, or it has no place."""
    lonlat = parse_crs(CRS84)
    geometries = from_wkb(wkb.to_pylist(), 0)
    if shapely.has_z(geometries).any() or shapely.has_m(geometries).any():
        geometries = shapely.force_2d(geometries)
    geometries = CrsTransform(stored.crs or lonlat, lonlat).objects(geometries)
    xy, owners = shapely.get_coordinates(geometries, return_index=True)
    geometries[np.unique(owners[~np.isfinite(xy).all(axis=1)])] = None
    return geometries


def _turns(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many worlds to the east the centres of boxes lie, `(n,)`; 0 of NaN."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.floor((boxes[:, 0] + boxes[:, 2]) / 2))


def write_map_index(source: Path, path: Path) -> None:
    """Write the index of a stored result to a new file.

    Args:
        source: the stored result, with geometries.
        path: the file.
    """
    stored = StoredResult(source)
    bounds = np.full((stored.count, 4), np.nan)
    for number in range(stored.blocks):
        geometry = stored.block(number).geometry
        if geometry is not None:
            start = number * stored.block_rows
            bounds[start : start + len(geometry)] = _boxes_on_map(stored, geometry)
    rows = np.flatnonzero(~np.isnan(bounds[:, 0]))
    rows = rows[np.argsort(_morton(bounds[rows]), kind="stable")]
    table, names = stored.table(), stored.label_fields
    taken = pa.array(rows)
    confidence = pc.fill_null(table[names.confidence].cast(pa.float64()), math.nan).to_numpy()
    columns = {
        "row": taken,
        **{side: pa.array(bounds[rows, number]) for number, side in enumerate(WorldBox._fields)},
        "confidence": pa.array(confidence[rows]),
        "label": _coded(table[names.label]).take(taken),
        "status": _coded(table[names.status]).take(taken),
    }
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata({_BLOCKS: _around_blocks(bounds[rows])})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _around_blocks(bounds: NDArray[np.float64]) -> bytes:
    """Return the box around each block of rows, `(4, blocks)`, as bytes."""
    if not len(bounds):
        return b""
    starts = np.arange(0, len(bounds), _BLOCK)
    low, high = np.minimum.reduceat(bounds[:, :2], starts), np.maximum.reduceat(bounds[:, 2:], starts)
    return np.concatenate([low, high], axis=1).T.tobytes()


def _coded(texts: pa.ChunkedArray) -> pa.DictionaryArray:
    coded = texts.cast(pa.string()).combine_chunks()
    coded = coded if isinstance(coded, pa.Array) else pa.concat_arrays(coded.chunks)
    return coded.dictionary_encode(null_encoding="encode")


def _morton(bounds: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return where the centres of boxes come in Morton's order, `(n,)`."""
    if not len(bounds):
        return np.zeros(0, np.uint64)
    centres = (bounds[:, :2] + bounds[:, 2:]) / 2
    low = centres.min(axis=0)
    side = max(float((centres.max(axis=0) - low).max()), 1e-12)
    cells = np.minimum((centres - low) / side * 2**_MORTON_BITS, 2**_MORTON_BITS - 1).astype(np.uint64)
    return _spread(cells[:, 0]) | _spread(cells[:, 1]) << np.uint64(1)


def _spread(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers with two zeros behind each bit."""
    for shift, mask in _SPREADS:
        numbers = (numbers | numbers << np.uint64(shift)) & np.uint64(mask)
    return numbers


class FoundObjects(msgspec.Struct, frozen=True):
    """Objects whose boxes touch a part of the map, in the order of the index."""

    rows: NDArray[np.int64]
    """Their rows in the stored result, `(n,)`."""
    boxes: NDArray[np.float64]
    """West, north, east and south, in units of the world, `(n, 4)`."""
    labels: NDArray[np.int32]
    """Indices of their labels among those of the index, `(n,)`."""


class MapIndex:
    """An index that `write_map_index` wrote, opened. What is not looked at uses no memory.

    Args:
        path: the file; it may be removed once this is made.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            source = pa.py_buffer(mmap(file.fileno(), 0, access=ACCESS_READ))
        reader = pa.ipc.open_file(source)
        batch = reader.get_batch(0)
        self._blocks = np.frombuffer(reader.schema.metadata[_BLOCKS]).reshape(4, -1)
        self._rows = batch.column("row").to_numpy()
        self._sides = [batch.column(side).to_numpy() for side in WorldBox._fields]
        self._confidence = batch.column("confidence").to_numpy()
        self._label, self._status = batch.column("label"), batch.column("status")
        self.labels: pa.Array = self._label.dictionary
        """The labels that occur, texts; null = an object has none."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def extent(self) -> WorldBox | None:
        """The box around all objects; None = there is none."""
        if not len(self):
            return None
        west, north, east, south = self._blocks
        return WorldBox(float(west.min()), float(north.min()), float(east.max()), float(south.max()))

    def find(self, box: WorldBox, wanted: ObjectFilter) -> FoundObjects:
        """Return the objects that match and whose boxes touch a part of the map.

        Args:
            box: the part.
            wanted: which objects.
        """
        labels, statuses = wanted.labels(self.labels), wanted.statuses(self._status.dictionary)
        label_codes, status_codes = self._label.indices.to_numpy(), self._status.indices.to_numpy()
        found = []
        for part in self._runs(box):
            matches: Matches = _touch([side[part] for side in self._sides], box)
            if not labels.all():
                matches &= labels[label_codes[part]]
            if not statuses.all():
                matches &= statuses[status_codes[part]]
            if wanted.low > 0 or wanted.high < 1:
                matches &= wanted.confidences(self._confidence[part])
            found.append(part.start + np.flatnonzero(matches))
        places = np.concatenate([np.zeros(0, np.int64), *found])
        boxes = np.stack([side[places] for side in self._sides], axis=1)
        return FoundObjects(self._rows[places], boxes, label_codes[places])

    def _runs(self, box: WorldBox) -> Iterator[slice]:
        """Yield the ranges of rows that may touch a box."""
        if not len(self):
            return
        blocks = np.flatnonzero(_touch(list(self._blocks), box))
        for run in np.split(blocks, np.flatnonzero(np.diff(blocks) > 1) + 1):
            if len(run):
                yield slice(int(run[0]) * _BLOCK, min(len(self), (int(run[-1]) + 1) * _BLOCK))


def _touch(sides: list[NDArray[np.float64]], box: WorldBox) -> Matches:
    west, north, east, south = sides
    return np.asarray((west <= box.east) & (east >= box.west) & (north <= box.south) & (south >= box.north))
