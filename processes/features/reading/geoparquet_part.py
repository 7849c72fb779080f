"""The groups of rows of a remote GeoParquet that may touch some boxes, as its statistics tell.

They are copied to the places that they have in the file, into a file that has nothing else but what describes them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.geoparquet import read_geoparquet
from processes.features.reading.limits import require_few_features
from processes.features.reading.parquet_geometry import GeometryColumns, describe_geometry, read_crs
from processes.features.reading.remote_layer import Boxes, BoxesIn, RemoteLayerFile, spread
from processes.settings import Limits

_MAGIC_BYTES = 4
_REQUEST_BYTES = 2**23
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_BROKEN = (pa.ArrowException, OSError, ValueError, OverflowError, KeyError, struct.error)


def tells_boxes(file: BinaryIO) -> bool:
    """Return whether a Parquet file tells in which boxes its groups of rows lie.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with pq.ParquetFile(file) as opened:
            geo = describe_geometry(opened, "")
            metadata = opened.metadata
            return metadata.num_row_groups > 1 and _box_of(metadata.row_group(0), geo) is not None
    except (LayerError, pa.ArrowException, ValueError, OverflowError, KeyError):
        return False


def read_geoparquet_part(remote: RemoteLayerFile, boxes_in: BoxesIn, name: str, limits: Limits, scratch: Path) -> Layer:
    """Read a layer; features of groups outside the boxes have neither geometry nor attributes.

    Arguments and errors are those of `read_flatgeobuf_part`.
    """
    subject, part = f"features {name!r}", scratch / f"{remote.digest}.parquet"
    try:
        with pq.ParquetFile(remote.file) as file:
            metadata = file.metadata
            require_few_features(metadata.num_rows, limits, subject)
            geo = describe_geometry(file, subject)
            boxes = np.array(boxes_in(read_crs(geo.primary, subject)))
            found = [_box_of(metadata.row_group(group), geo) for group in range(metadata.num_row_groups)]
        groups = [number for number, box in enumerate(found) if box is None or _touches(box, boxes)]
        _copy(remote, metadata, groups, part)
        layer = read_geoparquet(part, name, limits, groups)
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the Parquet file is broken") from err
    finally:
        part.unlink(missing_ok=True)
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = np.cumsum([0, *rows])
    positions = [np.arange(starts[group], starts[group + 1]) for group in groups]
    return spread(layer, np.concatenate([np.zeros(0, np.int64), *positions]), int(starts[-1]))


def _box_of(group: Any, geo: GeometryColumns) -> tuple[float, float, float, float] | None:
    """Return the box of a group of rows, by the columns of boxes, else by the statistics of the geometries; None = it
    is not told, or may have nothing to do with the order of the numbers, as over the antimeridian."""
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    box = _covered(columns, geo)
    geometry = columns.get(geo.primary_column)
    if box is None and geometry is not None and geometry.is_geo_stats_set:
        statistics = geometry.geo_statistics
        box = statistics.xmin, statistics.ymin, statistics.xmax, statistics.ymax
    if box is None or any(edge is None or not np.isfinite(edge) for edge in box) or box[0] > box[2]:
        return None
    return box


def _covered(columns: dict[str, Any], geo: GeometryColumns) -> tuple[float, float, float, float] | None:
    paths = (geo.primary.covering or {}).get("bbox") or {}
    edges = []
    for edge in _EDGES:
        column = columns.get(".".join(paths.get(edge) or ()))
        if column is None or not column.is_stats_set or not column.statistics.has_min_max:
            return None
        edges.append(float(column.statistics.min if edge.endswith("min") else column.statistics.max))
    return edges[0], edges[1], edges[2], edges[3]


def _touches(box: tuple[float, float, float, float], boxes: Boxes) -> bool:
    west, south, east, north = boxes.T
    return bool(((west <= box[2]) & (east >= box[0]) & (south <= box[3]) & (north >= box[1])).any())


def _copy(remote: RemoteLayerFile, metadata: Any, groups: list[int], path: Path) -> None:
    """Write a file with the footer of a Parquet file, and with the columns of some groups of rows."""
    remote.file.seek(remote.size_bytes - 8)
    (footer_bytes,) = struct.unpack("<I", remote.file.read(_MAGIC_BYTES))
    known = [(0, _MAGIC_BYTES), (remote.size_bytes - footer_bytes - 8, remote.size_bytes)]
    ranges: list[tuple[int, int]] = []
    for group in groups:
        columns = [metadata.row_group(group).column(index) for index in range(metadata.num_columns)]
        starts = [min(filter(None, (item.dictionary_page_offset, item.data_page_offset))) for item in columns]
        ends = [start + item.total_compressed_size for start, item in zip(starts, columns, strict=True)]
        ranges.append((min(starts), max(ends)))
    if any(not 0 <= start < end <= remote.size_bytes for start, end in (*known, *ranges)):
        raise ValueError("a part lies outside the file")
    with path.open("wb") as file:
        for start, end in known:  # they were read before, and are not asked for again
            remote.file.seek(start)
            file.seek(start)
            file.write(remote.file.read(end - start))
        for start, end in ranges:
            file.seek(start)
            for place in range(start, end, _REQUEST_BYTES):
                file.write(remote.read(place, min(place + _REQUEST_BYTES, end)))
        file.truncate(remote.size_bytes)
