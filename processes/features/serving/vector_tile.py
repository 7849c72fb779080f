"""Vector tiles (Mapbox Vector Tile 2.1), encoded for all features of a layer at once.

A tile is a protocol buffer. Libraries encode it feature by feature, in Python, and want an older protobuf
than the rest of this service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

EXTENT = 4096
"""Units along a side of a tile. They begin at its upper left corner, y goes down."""

_POINT, _LINE, _POLYGON = 1, 2, 3
"""Types of geometry of the specification, 4.3.4."""
_MOVE_TO, _LINE_TO, _CLOSE_PATH = 1, 2, 7
_KINDS = {0: _POINT, 4: _POINT, 1: _LINE, 5: _LINE, 3: _POLYGON, 6: _POLYGON}
"""The types of geometry of shapely's, by its ids; others are left out."""
_FEWEST = {_POINT: 1, _LINE: 2, _POLYGON: 3}
"""Vertices that a part has at least, a ring without its last one, which is its first one."""
_MOST_BYTES = 10
_VARINT, _BYTES = 0, 2
"""Wire types of protocol buffers."""

Numbers = NDArray[np.uint64]


class TileLayer(msgspec.Struct, frozen=True):
    """A layer of a tile."""

    name: str
    geometries: NDArray[np.object_]
    """In units of the tile, `(n,)`; polygons of any orientation."""
    ids: NDArray[np.int64]
    """Of the features, from 0, `(n,)`."""
    attributes: Mapping[str, tuple[Sequence[str] | Sequence[int], NDArray[np.int64]]]
    """By name: the values, and the index of each feature's value among them, `(n,)`; -1 = it has none."""


def encode_tile(layers: Iterable[TileLayer]) -> bytes:
    """Return a tile; features whose geometry is too small for a vertex grid of 1 unit are left out."""
    return b"".join(_field(3, _layer(layer)) for layer in layers)


def _layer(layer: TileLayer) -> bytes:
    values = [value for known, _ in layer.attributes.values() for value in known]
    columns, first = [], 0
    for number, (known, indices) in enumerate(layer.attributes.values()):
        columns.append((number, np.where(indices < 0, -1, indices + first)))
        first += len(known)
    features = [
        _field(2, _number(1, int(layer.ids[row])) + _tags(columns, row) + _number(3, kind) + _field(4, commands))
        for row, kind, commands in _commands(layer.geometries)
    ]
    keys = [_field(3, name.encode()) for name in layer.attributes]
    parts = [_number(15, 2), _field(1, layer.name.encode()), *features, *keys]
    return b"".join([*parts, *(_field(4, _value(value)) for value in values), _number(5, EXTENT)])


def _tags(columns: Sequence[tuple[int, NDArray[np.int64]]], row: int) -> bytes:
    tags = [part for key, places in columns if places[row] >= 0 for part in (key, int(places[row]))]
    return _field(2, b"".join(map(_varint, tags)))


def _value(value: str | int) -> bytes:
    return _field(1, value.encode()) if isinstance(value, str) else _number(5, value)


def _commands(geometries: NDArray[np.object_]) -> Iterable[tuple[int, int, bytes]]:
    """Yield the index of each geometry that is not too small, its type and its commands as a packed field."""
    kinds = np.array([_KINDS.get(number, 0) for number in shapely.get_type_id(geometries).tolist()])
    for kind in (_POINT, _LINE, _POLYGON):
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            yield from ((int(rows[place]), kind, text) for place, text in _commands_of(geometries[rows], kind))


def _commands_of(geometries: NDArray[np.object_], kind: int) -> Iterable[tuple[int, bytes]]:
    """Yield the index of each geometry and its commands; all are of one type."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    if kind == _POLYGON:  # outer rings have a positive area where y goes down (4.3.4.4)
        rings, polygons = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
        parts, owners = rings, owners[polygons]
    if kind == _POINT:  # one command for all points of a feature
        xy, part = shapely.get_coordinates(geometries, return_index=True)
        owners = np.arange(len(geometries))
    else:
        xy, part = shapely.get_coordinates(parts, return_index=True)
    places = np.rint(xy).astype(np.int64)
    places, part = _without_doubles(places, part, kind)
    counts = np.bincount(part, minlength=len(owners))
    kept = counts >= _FEWEST[kind]
    is_kept = kept[part]
    places, counts, owners = places[is_kept], counts[kept], owners[kept]
    if not len(counts):
        return
    numbers, sizes = _numbers(places, counts, owners, kind)
    texts, ends = _packed(numbers)
    of_features = np.add.reduceat(sizes, np.flatnonzero(np.diff(owners, prepend=-1)))
    stops = ends[np.cumsum(of_features) - 1]
    starts = np.concatenate([[0], stops[:-1]])
    for owner, start, stop in zip(np.unique(owners).tolist(), starts.tolist(), stops.tolist(), strict=True):
        yield owner, texts[start:stop]


def _without_doubles(
    places: NDArray[np.int64], part: NDArray[np.int64], kind: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return vertices without those that are where the one before is, and rings without their last vertex."""
    if kind == _POINT:
        return places, part
    is_first = np.diff(part, prepend=-1) != 0
    moves = is_first | (np.diff(places, axis=0, prepend=places[:1]) != 0).any(axis=1)
    places, part = places[moves], part[moves]
    if kind == _POLYGON:
        is_last = np.diff(part, append=-1) != 0
        starts = np.flatnonzero(np.diff(part, prepend=-1))
        is_closing = is_last & (places == places[starts[np.cumsum(np.diff(part, prepend=-1) != 0) - 1]]).all(axis=1)
        places, part = places[~is_closing], part[~is_closing]
    return places, part


def _numbers(
    places: NDArray[np.int64], counts: NDArray[np.int64], owners: NDArray[np.int64], kind: int
) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the commands of all parts, one after the other, and how many numbers each part has.

    Args:
        places: the vertices, `(v, 2)`.
        counts: vertices of each part, `(p,)`.
        owners: the feature of each part, `(p,)`; it ascends.
        kind: type of the geometries.
    """
    is_new = np.diff(owners, prepend=-1) != 0
    starts = np.cumsum(counts) - counts
    moves = np.diff(places, axis=0, prepend=np.zeros((1, 2), np.int64))
    moves[starts[is_new]] = places[starts[is_new]]  # each feature begins at the tile's corner
    words = ((moves << 1) ^ (moves >> 63)).astype(np.uint64)
    if kind == _POINT:
        sizes = 2 * counts + 1
        numbers = np.zeros(sizes.sum(), np.uint64)
        heads = np.cumsum(sizes) - sizes
        numbers[heads] = counts << 3 | _MOVE_TO
        free = np.ones(len(numbers), bool)
        free[heads] = False
    else:
        sizes = 2 * counts + 2 + (kind == _POLYGON)
        numbers = np.zeros(sizes.sum(), np.uint64)
        heads = np.cumsum(sizes) - sizes
        numbers[heads] = 1 << 3 | _MOVE_TO
        numbers[heads + 3] = (counts - 1) << 3 | _LINE_TO
        free = np.ones(len(numbers), bool)
        free[heads] = free[heads + 3] = False
        if kind == _POLYGON:
            numbers[heads + sizes - 1] = 1 << 3 | _CLOSE_PATH
            free[heads + sizes - 1] = False
    numbers[free] = words.reshape(-1)
    return numbers, sizes


def _packed(numbers: Numbers) -> tuple[bytes, NDArray[np.int64]]:
    """Return numbers as varints, one after the other, and where each ends."""
    sizes = np.ones(len(numbers), np.int64)
    for count in range(1, _MOST_BYTES):
        more = numbers >> np.uint64(7 * count) != 0
        if not more.any():
            break
        sizes += more
    ends = np.cumsum(sizes)
    content = np.zeros(int(ends[-1]), np.uint8)
    starts = ends - sizes
    for count in range(int(sizes.max())):
        has = sizes > count
        low = (numbers[has] >> np.uint64(7 * count)) & np.uint64(0x7F)
        content[starts[has] + count] = low | np.where(sizes[has] > count + 1, 0x80, 0).astype(np.uint64)
    return content.tobytes(), ends


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(number)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content
