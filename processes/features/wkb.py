"""What a column of WKB holds, told from the headers alone: no geometry is made for it."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.errors import LayerError

_SIMPLE = {1: "Point", 2: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon"}
_OTHERS = {
    7: "GeometryCollection",
    8: "CircularString",
    9: "CompoundCurve",
    10: "CurvePolygon",
    11: "MultiCurve",
    12: "MultiSurface",
    13: "Curve",
    14: "Surface",
    15: "PolyhedralSurface",
    16: "TIN",
    17: "Triangle",
}
_HEADER_BYTES = 5
_SHALLOW_BYTES = 4096
"""So short a value cannot be nested so deep that GEOS, which goes down level by level, runs out of stack."""
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000
"""Flags of the extended WKB, where ISO adds 1000 for Z, 2000 for M and 3000 for both."""


def read_iso_types(geometry: pa.ChunkedArray | None) -> frozenset[int]:
    """Return the ISO types that occur in a column: 1 = point … 6 = multi-polygon, + 1000 with Z, + 2000 with M."""
    codes = [np.unique(_headers(chunk, 0)[1]) for chunk in ([] if geometry is None else geometry.chunks)]
    return frozenset(_iso(code) for part in codes for code in part.tolist())


def common_geometry_type(kinds: frozenset[int]) -> str:
    """Return GDAL's name of the one type of geometry that there is, with Z or M where one has it, else `Unknown`."""
    types = {kind % 1000 for kind in kinds}
    if len(types) != 1:
        return "Unknown"
    has_z, has_m = (any(kind // 1000 & bit for kind in kinds) for bit in (1, 2))
    return f"{_SIMPLE[types.pop()]} {'Z' * has_z}{'M' * has_m}".rstrip()


def refuse_unread(geometry: pa.ChunkedArray, first: int = 0) -> None:
    """Raise LayerError where a geometry is no point, line or polygon, naming the feature's position from 1.

    Args:
        geometry: WKB, null where there is none.
        first: place of the column's first feature in its layer.
    """
    for chunk in geometry.chunks:
        places, codes, _ = _headers(chunk, first)
        flat = codes & ~np.uint32(_Z | _M | _SRID)
        kind = flat % 1000
        wrong = np.flatnonzero((kind < 1) | (kind > 6) | (flat > 3999))
        if wrong.size:
            _refuse(first + int(places[wrong[0]]), int(kind[wrong[0]]))
        for index in np.flatnonzero(kind > 3).tolist():
            _require_flat(chunk[int(places[index])], first + int(places[index]))
        first += len(chunk)


def is_plain(geometry: pa.Array) -> bool:
    """Say whether all of a column is little-endian WKB without the extensions of EWKB."""
    _, codes, orders = _headers(geometry, 0)
    return bool((orders == 1).all() and not (codes & np.uint32(_Z | _M | _SRID)).any())


def _refuse(place: int, kind: int) -> None:
    if kind not in _OTHERS:
        raise LayerError(f"feature {place + 1} has a geometry that cannot be read: its type is unknown")
    raise LayerError(f"feature {place + 1} is a {_OTHERS[kind]}; only points, lines and polygons are read")


def _require_flat(value: pa.Scalar, place: int) -> None:
    """Raise LayerError where a multi-part geometry has parts that have parts themselves."""
    data = value.as_buffer()
    if data is None or data.size < _SHALLOW_BYTES:
        return
    try:
        _, _, order = _header_at(data, 0)
        (parts,) = struct.unpack_from(f"{order}I", data, _HEADER_BYTES)
        position = _HEADER_BYTES + 4
        for _ in range(parts):
            kind, width, order = _header_at(data, position)
            if kind > 3:
                raise LayerError(f"feature {place + 1} has a geometry that cannot be read: its parts have parts")
            position += _HEADER_BYTES
            rings = 1
            if kind == 3:
                (rings,) = struct.unpack_from(f"{order}I", data, position)
                position += 4
            for _ in range(rings):
                (points,) = struct.unpack_from(f"{order}I", data, position) if kind > 1 else (1,)
                position += (4 if kind > 1 else 0) + points * width * 8
    except struct.error:
        return  # it ends before its parts do; whoever reads it says so


def _header_at(data: pa.Buffer, position: int) -> tuple[int, int, str]:
    """Return type, number of dimensions, and byte order as `struct` writes it."""
    order = "<" if struct.unpack_from("B", data, position)[0] == 1 else ">"
    (code,) = struct.unpack_from(f"{order}I", data, position + 1)
    kind = _iso(code)
    return kind % 1000, (2, 3, 3, 4)[kind // 1000 & 3], order


def _iso(code: int) -> int:
    """Return the ISO type of a type code that may have the flags of the extended WKB."""
    flat = code & ~(_Z | _M | _SRID)
    dimensions = flat // 1000 | bool(code & _Z) | 2 * bool(code & _M)
    return flat % 1000 + 1000 * dimensions


def _headers(chunk: pa.Array, first: int) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint8]]:
    """Return, for what is not null, place in the chunk, type code and byte order."""
    offset_type: Any = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
    places = np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    if not places.size:
        return places, np.empty(0, np.uint32), np.empty(0, np.uint8)
    _, offset_buffer, data_buffer = chunk.buffers()
    offsets = np.frombuffer(offset_buffer, offset_type)[chunk.offset : chunk.offset + len(chunk) + 1]
    starts, lengths = offsets[places], offsets[places + 1] - offsets[places]
    short = np.flatnonzero(lengths < _HEADER_BYTES)
    if short.size:
        raise LayerError(f"feature {first + int(places[short[0]]) + 1} has a geometry that cannot be read: no WKB")
    data = np.frombuffer(data_buffer, np.uint8)
    orders = data[starts]
    strange = np.flatnonzero(orders > 1)
    if strange.size:
        raise LayerError(f"feature {first + int(places[strange[0]]) + 1} has a geometry that cannot be read: no WKB")
    quads = np.stack([data[starts + place] for place in range(1, _HEADER_BYTES)], axis=1)
    codes = np.where(orders == 1, quads.view("<u4")[:, 0], quads.view(">u4")[:, 0]).astype(np.uint32)
    return places, codes, orders
