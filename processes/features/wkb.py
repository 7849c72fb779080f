"""Types of the geometries in a column of WKB, from the headers alone: no geometry is parsed."""

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
_CURVES = (8, 9, 10, 11, 12)
"""Types that have arcs, or can have them."""
_HEADER_BYTES = 5
_SHALLOW_BYTES = 4096
"""A shorter value cannot be nested so deep that GEOS, which descends level by level, runs out of stack."""
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000
"""Flags of the extended WKB, where ISO adds 1000 for Z, 2000 for M and 3000 for both."""


def read_iso_types(geometry: pa.ChunkedArray | None) -> frozenset[int]:
    """Return the ISO types that occur in a column: 1 = point … 6 = multi-polygon, + 1000 with Z, + 2000 with M."""
    codes = [np.unique(_headers(chunk, 0)[1]) for chunk in ([] if geometry is None else geometry.chunks)]
    return frozenset(_iso(code) for part in codes for code in part.tolist())


def common_geometry_type(iso_types: frozenset[int]) -> str:
    """Return GDAL's name of the one type of all geometries, with Z or M where one has it; `Unknown` for several."""
    flat_types = {iso_type % 1000 for iso_type in iso_types}
    if len(flat_types) != 1:
        return "Unknown"
    has_z, has_m = (any(iso_type // 1000 & bit for iso_type in iso_types) for bit in (1, 2))
    return f"{_SIMPLE[flat_types.pop()]} {'Z' * has_z}{'M' * has_m}".rstrip()


def type_name(code: int) -> str:
    """Return the name of a WKB type, whatever its dimensions."""
    flat_type = _iso(code) % 1000
    return _SIMPLE.get(flat_type) or _OTHERS.get(flat_type) or str(code)


def has_curves(iso_types: frozenset[int]) -> bool:
    """Return whether geometries of such types can have arcs."""
    return any(iso_type % 1000 in _CURVES for iso_type in iso_types)


def find_curves(geometry: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the geometries that can have arcs, and their ISO types, each `(n,)`."""
    found, iso_types, first = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for chunk in geometry.chunks:
        indices, codes, _ = _headers(chunk, first)
        is_curve = np.isin((codes & ~np.uint32(_Z | _M | _SRID)) % 1000, _CURVES)
        found.append(first + indices[is_curve])
        iso_types.append(np.array([_iso(code) for code in codes[is_curve].tolist()], np.int64))
        first += len(chunk)
    return np.concatenate(found), np.concatenate(iso_types)


def refuse_unread(geometry: pa.ChunkedArray, first: int = 0) -> None:
    """Raise LayerError where a geometry is no point, line or polygon, naming the feature's position from 1.

    Args:
        geometry: WKB, null where there is none.
        first: index of the column's first feature in the layer.
    """
    for chunk in geometry.chunks:
        indices, codes, _ = _headers(chunk, first)
        flat = codes & ~np.uint32(_Z | _M | _SRID)
        flat_type = flat % 1000
        wrong = np.flatnonzero((flat_type < 1) | (flat_type > 6) | (flat > 3999))
        if wrong.size:
            _refuse(first + int(indices[wrong[0]]), int(flat_type[wrong[0]]))
        for index in indices[flat_type > 3].tolist():
            _require_flat(chunk[index], first + index)
        first += len(chunk)


def is_plain(geometry: pa.Array) -> bool:
    """Return whether all of a column is little-endian WKB without the extensions of EWKB."""
    _, codes, orders = _headers(geometry, 0)
    return bool((orders == 1).all() and not (codes & np.uint32(_Z | _M | _SRID)).any())


def _refuse(index: int, flat_type: int) -> None:
    if flat_type not in _OTHERS:
        raise LayerError(f"feature {index + 1} has a geometry that cannot be read: its type is unknown")
    raise LayerError(f"feature {index + 1} is a {_OTHERS[flat_type]}; only points, lines and polygons are read")


def _require_flat(value: pa.Scalar, index: int) -> None:
    """Raise LayerError where a multi-part geometry has parts that have parts themselves."""
    data = value.as_buffer()
    if data is None or data.size < _SHALLOW_BYTES:
        return
    try:
        _, _, order = _header_at(data, 0)
        (parts,) = struct.unpack_from(f"{order}I", data, _HEADER_BYTES)
        position = _HEADER_BYTES + 4
        for _ in range(parts):
            flat_type, width, order = _header_at(data, position)
            if flat_type > 3:
                raise LayerError(f"feature {index + 1} has a geometry that cannot be read: its parts have parts")
            position += _HEADER_BYTES
            rings = 1
            if flat_type == 3:
                (rings,) = struct.unpack_from(f"{order}I", data, position)
                position += 4
            for _ in range(rings):
                (points,) = struct.unpack_from(f"{order}I", data, position) if flat_type > 1 else (1,)
                position += (4 if flat_type > 1 else 0) + points * width * 8
    except struct.error:
        return  # it ends before its parts do; the reader reports that


def _header_at(data: pa.Buffer, position: int) -> tuple[int, int, str]:
    """Return the type without dimensions, the number of dimensions, and byte order as `struct` writes it."""
    order = "<" if struct.unpack_from("B", data, position)[0] == 1 else ">"
    (code,) = struct.unpack_from(f"{order}I", data, position + 1)
    iso_type = _iso(code)
    return iso_type % 1000, (2, 3, 3, 4)[iso_type // 1000 & 3], order


def _iso(code: int) -> int:
    """Return the ISO type of a type code that may have the flags of the extended WKB."""
    flat = code & ~(_Z | _M | _SRID)
    dimensions = flat // 1000 | bool(code & _Z) | 2 * bool(code & _M)
    return flat % 1000 + 1000 * dimensions


def _headers(chunk: pa.Array, first: int) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint8]]:
    """Return the index in the chunk, the type code and the byte order of what is not null, each `(n,)`."""
    offset_type: Any = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
    indices = np.arange(len(chunk))
    if chunk.null_count:
        indices = indices[chunk.is_valid().to_numpy(zero_copy_only=False)]
    if not indices.size:
        return indices, np.empty(0, np.uint32), np.empty(0, np.uint8)
    _, offset_buffer, data_buffer = chunk.buffers()
    offsets = np.frombuffer(offset_buffer, offset_type)[chunk.offset : chunk.offset + len(chunk) + 1]
    starts, lengths = offsets[:-1][indices], np.diff(offsets)[indices]
    short = np.flatnonzero(lengths < _HEADER_BYTES)
    if short.size:
        raise LayerError(f"feature {first + int(indices[short[0]]) + 1} has a geometry that cannot be read: no WKB")
    data = np.frombuffer(data_buffer, np.uint8)
    orders = data[starts]
    strange = np.flatnonzero(orders > 1)
    if strange.size:
        raise LayerError(f"feature {first + int(indices[strange[0]]) + 1} has a geometry that cannot be read: no WKB")
    at_each_byte = np.ndarray(data.size - _HEADER_BYTES + 1, "<u4", data, offset=1, strides=(1,))
    codes = at_each_byte[starts].astype(np.uint32, copy=False)
    is_big = orders == 0
    codes[is_big] = codes[is_big].byteswap()
    return indices, codes, orders
