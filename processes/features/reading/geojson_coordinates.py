"""Coordinates of many GeoJSON geometries at once, as WKB: no Python object for each number, and none of GEOS.

What is left of an array of coordinates without its numbers is its shape, and few shapes occur: `[[[,],[,],[,],[,]]]` is
a polygon of one ring of four positions. The numbers of all go to Arrow's reader as one column of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

_Kind = Literal["Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"]


class _PlainGeometry(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: _Kind
    coordinates: msgspec.Raw


class _WkbPart(NamedTuple):
    """What stands in WKB before the parts or positions of something."""

    iso_type: int
    """0 = of a ring, which has no header."""
    is_counted: bool = True
    """False = of a point, which has one position."""
    least: int = 1
    """Positions or parts that it must have."""

    @property
    def size(self) -> int:
        """Return its bytes."""
        return (5 if self.iso_type else 0) + (4 if self.is_counted else 0)


_POINT, _LINE, _POLYGON, _RING = _WkbPart(1, is_counted=False), _WkbPart(2, least=2), _WkbPart(3), _WkbPart(0, least=4)
_PARTS: Mapping[_Kind, Sequence[_WkbPart]] = {
    "Point": (_POINT,),
    "LineString": (_LINE,),
    "Polygon": (_POLYGON, _RING),
    "MultiPoint": (_WkbPart(4), _POINT),
    "MultiLineString": (_WkbPart(5), _LINE),
    "MultiPolygon": (_WkbPart(6), _POLYGON, _RING),
}
"""By type of geometry, from the outside in."""
_Z = 0x80000000
"""Flag of types with heights in the extended WKB."""
_IN_NUMBERS = b"0123456789+-.eE \t\r\n"
_BETWEEN_NUMBERS = b"[] \t\r\n"
_ONE_A_LINE = bytes.maketrans(b",", b"\n")
_AS_THEY_ARE = pa.csv.ParseOptions(delimiter="\t", quote_char=False)
_OF_NUMBERS = pa.csv.ConvertOptions(column_types={"": pa.float64()}, null_values=[])

_MOST_BYTES = 2**30
"""Of numbers that are read at once: Arrow counts them in 31 bits."""
_KNOWN_BYTES = 2**12
"""Shapes of longer texts hardly occur twice, and would stay in memory by the gigabyte."""

_geometry = msgspec.json.Decoder(_PlainGeometry | None)


def read_plain(texts: Sequence[msgspec.Raw | msgspec.UnsetType]) -> PlainGeometries | None:
    """Read the shapes of geometries; None = one is odd, and all are to be read with care.

    Args:
        texts: of the members `geometry`; UNSET where a feature has none.
    """
    if msgspec.UNSET in texts:
        return None
    try:
        geometries = [_geometry.decode(text) for text in texts if not isinstance(text, msgspec.UnsetType)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    present = [geometry for geometry in geometries if geometry is not None]
    coordinates = [bytes(geometry.coordinates) for geometry in present]
    found = (
        _shape_of(geometry.type, text.translate(None, _IN_NUMBERS))
        for geometry, text in zip(present, coordinates, strict=True)
    )
    shapes = [shape for shape in found if shape is not None]
    if len(shapes) < len(present):
        return None
    is_present = np.array([geometry is not None for geometry in geometries], bool)
    return PlainGeometries(is_present, [geometry.type for geometry in present], coordinates, shapes)


@dataclass(frozen=True, slots=True)
class PlainGeometries:
    """Geometries of known shapes, whose numbers are still text."""

    is_present: NDArray[np.bool_]
    """False = null, `(n,)`."""
    kinds: Sequence[_Kind]
    """Types of those that are present, as are the other two, `(k,)`."""
    coordinates: Sequence[bytes]
    shapes: Sequence[_Shape]

    def wkb(self) -> pa.Array | None:
        """Return the geometries as WKB, null where one is null, `(n,)`; None = one is odd all the same.

        Most of it runs beside other threads of Python.
        """
        groups: dict[tuple[_Kind, int], list[int]] = {}
        for place, (kind, shape) in enumerate(zip(self.kinds, self.shapes, strict=True)):
            groups.setdefault((kind, shape.dimensions), []).append(place)
        found = []
        for (kind, dimensions), own in groups.items():
            texts, shapes = [self.coordinates[place] for place in own], [self.shapes[place] for place in own]
            wkb = _group_wkb(_PARTS[kind], dimensions, texts, shapes)
            if wkb is None:
                return None
            found.append(wkb)
        if len(found) == 1 and self.is_present.all():
            return found[0]
        order = np.empty(len(self.kinds), np.int64)
        order[list(chain.from_iterable(groups.values()))] = np.arange(len(self.kinds))
        places = np.zeros(len(self.is_present), np.int64)
        places[self.is_present] = order
        return pa.concat_arrays([*found, pa.nulls(0, pa.large_binary())]).take(pa.array(places, mask=~self.is_present))


class _Shape(NamedTuple):
    """How the coordinates of a geometry are nested."""

    dimensions: int
    """Numbers of a position."""
    counts: tuple[tuple[int, ...], ...]
    """From the outside in: how many parts or positions each part has."""


def _shape_of(kind: _Kind, skeleton: bytes) -> _Shape | None:
    """Return the shape of coordinates without their numbers; None = it is not one of the type, or is an empty one."""
    return (_known_shape if len(skeleton) <= _KNOWN_BYTES else _new_shape)(kind, skeleton)


def _new_shape(kind: _Kind, skeleton: bytes) -> _Shape | None:
    try:
        level: list[Any] = [msgspec.json.decode(skeleton.replace(b"[,,]", b"3").replace(b"[,]", b"2"))]
    except msgspec.DecodeError:
        return None
    counts = []
    for part in _PARTS[kind]:
        if part.is_counted:
            if not all(isinstance(item, list) and len(item) >= part.least for item in level):
                return None
            counts.append(tuple(map(len, level)))
            level = list(chain.from_iterable(level))
    return _Shape(level[0], tuple(counts)) if level[0] in (2, 3) and level.count(level[0]) == len(level) else None


_known_shape = lru_cache(maxsize=1024)(_new_shape)


def _group_wkb(
    parts: Sequence[_WkbPart], dimensions: int, texts: Sequence[bytes], shapes: Sequence[_Shape]
) -> pa.Array | None:
    """Return geometries of one type as WKB; None = a number is too large, numbers are too many, or a ring is open.

    Args:
        parts: of the type.
        dimensions: numbers of a position.
        texts: of the coordinates.
        shapes: of them.
    """
    numbers = _numbers(texts)
    levels = zip(*(shape.counts for shape in shapes), strict=True)
    counts = [np.fromiter(chain.from_iterable(level), np.int64) for level in levels]
    if not parts[-1].is_counted:
        counts.append(np.ones(len(texts) if len(parts) == 1 else int(counts[-1].sum()), np.int64))
    if numbers is None or len(numbers) != dimensions * counts[-1].sum():
        return None
    positions = numbers.reshape(-1, dimensions)
    if parts[-1] is _RING:
        ends = np.cumsum(counts[-1])
        if (positions[ends - counts[-1]] != positions[ends - 1]).any():
            return None
    return _encoded(parts, counts, positions)


def _numbers(texts: Sequence[bytes]) -> NDArray[np.float64] | None:
    """Return the numbers of arrays of coordinates, one after another; None = one is too large, or they are too many."""
    lines = b",".join(texts).translate(_ONE_A_LINE, _BETWEEN_NUMBERS)
    if len(lines) >= _MOST_BYTES:
        return None
    options = pa.csv.ReadOptions(column_names=[""], use_threads=False, block_size=len(lines) + 1)
    try:
        table = pa.csv.read_csv(pa.BufferReader(lines), options, _AS_THEY_ARE, _OF_NUMBERS)
    except pa.ArrowInvalid:
        return None
    numbers: NDArray[np.float64] = table.column(0).to_numpy()
    return numbers if np.isfinite(numbers).all() else None


def _encoded(
    parts: Sequence[_WkbPart], counts: Sequence[NDArray[np.int64]], positions: NDArray[np.float64]
) -> pa.Array:
    """Return WKB, `(n,)`.

    Args:
        parts: of the type, from the outside in.
        counts: of each of them: how many parts or positions each has.
        positions: x, y and maybe z, `(k, dimensions)`.
    """
    dimensions = positions.shape[1]
    sizes = [parts[-1].size + counts[-1] * 8 * dimensions]
    for part, count in zip(parts[-2::-1], counts[-2::-1], strict=True):
        sizes.insert(0, part.size + np.add.reduceat(sizes[0], np.cumsum(count) - count))
    offsets = np.concatenate([[0], np.cumsum(sizes[0])])
    data = np.empty(offsets[-1], np.uint8)
    starts = offsets[:-1]
    for depth, part in enumerate(parts):
        place = starts
        if part.iso_type:
            data[place] = 1  # little-endian
            _put(data, place + 1, np.full(len(place), part.iso_type | (_Z if dimensions == 3 else 0), "<u4"))
            place = place + 5
        if part.is_counted:
            _put(data, place, counts[depth].astype("<u4"))
        inner = sizes[depth + 1] if depth + 1 < len(parts) else np.full(len(positions), 8 * dimensions)
        before = np.cumsum(inner) - inner
        first = np.cumsum(counts[depth]) - counts[depth]
        starts = np.repeat(starts + part.size - before[first], counts[depth]) + before
    _put(data, starts, positions.astype("<f8", copy=False))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _put(data: NDArray[np.uint8], places: NDArray[np.int64], values: NDArray[Any]) -> None:
    """Put values into bytes, at places that need not be multiples of their size; each of `values` is one, `(n, …)`."""
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    whole = np.dtype((np.void, rows.shape[1]))
    at_each_byte = np.ndarray(data.size - rows.shape[1] + 1, whole, data, strides=(1,))
    at_each_byte[places] = rows.view(whole)[:, 0]
