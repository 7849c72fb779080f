"""Where the objects of a result lie: the box of each, and of every block of rows, so that few rows are looked at.

The file is Arrow's. It has a record batch for each one of the stored result, and at its end one with a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, CrsTransform, parse_crs
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.formats import FORMATS
from processes.features.writing.geometry import OutputTransform

Boxes = NDArray[np.float64]
"""`(n, 4)`: minx, miny, maxx, maxy; NaN = no geometry."""

_SIDES = ("minx", "miny", "maxx", "maxy")


def own_crs(stored: StoredResult) -> pyproj.CRS:
    """Return the CRS that a result has beside CRS84."""
    return stored.output_crs or stored.crs or parse_crs(CRS84)


def served_transform(stored: StoredResult, crs: pyproj.CRS) -> OutputTransform:
    """Return the transform of a result's geometries as they are shown in a CRS."""
    return OutputTransform(CrsTransform(stored.crs or crs, crs), only_finite=True)


def extent(stored: StoredResult) -> tuple[float, float, float, float] | None:
    """Return the box around all objects of a result in CRS84: minx, miny, maxx, maxy; None = none has a geometry."""
    transform, around = served_transform(stored, parse_crs(CRS84)), np.full(4, np.nan)
    for rows in stored.layer(FORMATS[0]).rows():
        bounds = shapely.total_bounds(transform.apply(rows.geometry, rows.attributes.num_rows))
        around[:2], around[2:] = np.fmin(around[:2], bounds[:2]), np.fmax(around[2:], bounds[2:])
    west, south, east, north = around.tolist()
    return None if np.isnan(west) else (west, south, east, north)


def write_index(source: Path, path: Path) -> None:
    """Write the index of a stored result to a new file.

    Args:
        source: the stored result.
        path: the file.
    """
    stored = StoredResult(source)
    transforms = [served_transform(stored, crs) for crs in (parse_crs(CRS84), own_crs(stored))]
    fields = [pa.field(f"{side}-{number}", pa.float64()) for number in range(len(transforms)) for side in _SIDES]
    schema = pa.schema(fields)
    blocks: list[NDArray[np.float64]] = []
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for rows in stored.layer(FORMATS[0]).rows():
            boxes = [shapely.bounds(item.apply(rows.geometry, rows.attributes.num_rows)) for item in transforms]
            blocks.append(np.concatenate([_around(part) for part in boxes]))
            writer.write_batch(_batch(np.concatenate(boxes, axis=1), schema))
        writer.write_batch(_batch(np.array(blocks).reshape(-1, len(fields)), schema))


def _batch(boxes: NDArray[np.float64], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(np.ascontiguousarray(side)) for side in boxes.T], schema=schema)


def _around(boxes: Boxes) -> NDArray[np.float64]:
    """Return the box around boxes, `(4,)`; it has no end where one of them is none, as that one is near everything."""
    if np.isnan(boxes[:, 0]).any():
        return np.array([-np.inf, -np.inf, np.inf, np.inf])
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


class FeatureIndex:
    """An index that `write_index` wrote, opened.

    Args:
        path: the file; it may be removed once this is made.
        is_own: True = boxes are in the result's own CRS, False = in CRS84.
    """

    def __init__(self, path: Path, is_own: bool) -> None:
        with path.open("rb") as file:
            self._source = pa.py_buffer(mmap(file.fileno(), 0, access=ACCESS_READ))
        self._first = 4 * is_own
        reader = pa.ipc.open_file(self._source)
        self._blocks: Boxes = np.stack(self._sides(reader, reader.num_record_batches - 1), axis=1)

    def near(self, boxes: Boxes) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield the rows whose boxes touch any of some boxes or that have none, block by block (Part 1, 7.15.3).

        Args:
            boxes: the boxes, `(k, 4)`.

        Yields:
            Number of the block, the rows within it, `(m,)`, and which of them lie within one of the boxes or have none,
            `(m,)`.
        """
        reader = pa.ipc.open_file(self._source)
        for number in np.flatnonzero(_touch(self._blocks.T, boxes)).tolist():
            sides = self._sides(reader, number)
            has_none = np.isnan(sides[0])
            rows = np.flatnonzero(_touch(sides, boxes) | has_none)
            yield number, rows, _lie_within([side[rows] for side in sides], boxes) | has_none[rows]

    def _sides(self, reader: Any, number: int) -> list[NDArray[np.float64]]:
        """Return minx, miny, maxx and maxy of a batch, `(n,)` each, as they lie in the file."""
        batch = reader.get_batch(number)
        return [batch.column(self._first + side).to_numpy() for side in range(4)]


def _touch(sides: Sequence[NDArray[np.float64]] | Boxes, boxes: Boxes) -> NDArray[np.bool_]:
    west, south, east, north = sides
    touching = np.zeros(len(west), bool)
    for minx, miny, maxx, maxy in boxes.tolist():
        touching |= (west <= maxx) & (east >= minx) & (south <= maxy) & (north >= miny)
    return touching


def _lie_within(sides: Sequence[NDArray[np.float64]], boxes: Boxes) -> NDArray[np.bool_]:
    west, south, east, north = sides
    within = np.zeros(len(west), bool)
    for minx, miny, maxx, maxy in boxes.tolist():
        within |= (west >= minx) & (east <= maxx) & (south >= miny) & (north <= maxy)
    return within
