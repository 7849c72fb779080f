"""Files of random layers, byte by byte: FlatGeobuf from header.fbs and feature.fbs, Shapefile from Esri's description.

Each function takes the path, the layer, and by name what a format leaves to its writers.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import pyarrow as pa

from other_writers import stored, zip_files
from random_layers import Column, RandomLayer, Shape

# FlatGeobuf


_FGB_TYPES: Mapping[pa.DataType, tuple[int, str]] = {
    pa.int8(): (0, "b"),
    pa.uint8(): (1, "B"),
    pa.bool_(): (2, "?"),
    pa.int16(): (3, "h"),
    pa.uint16(): (4, "H"),
    pa.int32(): (5, "i"),
    pa.uint32(): (6, "I"),
    pa.int64(): (7, "q"),
    pa.uint64(): (8, "Q"),
    pa.float32(): (9, "f"),
    pa.float64(): (10, "d"),
    pa.string(): (11, ""),
    pa.date32(): (13, ""),
    pa.timestamp("ms"): (13, ""),
    pa.timestamp("ms", "UTC"): (13, ""),
    pa.timestamp("ms", "+05:30"): (13, ""),
    pa.binary(): (14, ""),
}
"""Number of a column's type in header.fbs, and how struct packs its values."""


def _fgb_properties(columns: Sequence[Column], index: int) -> bytes:
    found = b""
    for number, column in enumerate(columns):
        value = column.values[index]
        if value is None:
            continue
        _, form = _FGB_TYPES[column.kind.arrow]
        if form:
            data = struct.pack(f"<{form}", value)
        else:
            data = value if isinstance(value, bytes) else str(stored(value)).encode()
            data = struct.pack("<I", len(data)) + data
        found += struct.pack("<H", number) + data
    return found


def _fgb_vector(builder: Any, width: int, form: str, values: Sequence[Any]) -> int:
    builder.StartVector(width, len(values), 8 if width == 8 else width)
    for value in reversed(values):
        {
            "d": builder.PrependFloat64,
            "I": builder.PrependUint32,
            "B": builder.PrependByte,
            "o": builder.PrependUOffsetTRelative,
        }[form](value)
    return int(builder.EndVector())


def _fgb_geometry(builder: Any, shape: Shape) -> int:
    parts = ends = None
    if shape.type == 6:
        inner = [_fgb_geometry(builder, Shape(3, shape.dimensions, polygon)) for polygon in shape.coordinates]
        parts = _fgb_vector(builder, 4, "o", inner)
        runs: list[Any] = []
    else:
        runs = list(shape.coordinates) if shape.type in (3, 5) else [shape.places]
        if shape.type in (3, 5):
            edges, total = [], 0
            for run in runs:
                total += len(run)
                edges.append(total)
            ends = _fgb_vector(builder, 4, "I", edges) if len(edges) > 1 else None
    places = [place for run in runs for place in run]
    slots: list[tuple[int, int]] = []
    if ends is not None:
        slots.append((0, ends))
    if shape.type != 6:
        slots.append((1, _fgb_vector(builder, 8, "d", [x for place in places for x in place[:2]])))
        for slot, letter in ((2, "Z"), (3, "M")):
            if letter in shape.dimensions:
                slots.append(
                    (slot, _fgb_vector(builder, 8, "d", [place[shape.dimensions.index(letter)] for place in places]))
                )
    else:
        assert parts is not None
        slots.append((7, parts))
    builder.StartObject(8)
    for slot, offset in slots:
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    builder.PrependUint8Slot(6, shape.type, 0)
    return int(builder.EndObject())


def write_flatbuffers(path: Path, layer: RandomLayer, has_count: bool, has_wkt: bool) -> None:
    """Write a FlatGeobuf without an index with flatbuffers, from header.fbs and feature.fbs.

    Args:
        path: the file.
        layer: what it holds.
        has_count: whether the header has the number of features; else it is 0, as of a writer that streams.
        has_wkt: whether the CRS is given as WKT even where it has a code.
    """
    builder = flatbuffers.Builder(1024)
    offsets = []
    for column in layer.columns:
        name = builder.CreateString(column.name)
        builder.StartObject(11)
        builder.PrependUOffsetTRelativeSlot(0, name, 0)
        builder.PrependUint8Slot(1, _FGB_TYPES[column.kind.arrow][0], 0)
        offsets.append(builder.EndObject())
    columns = _fgb_vector(builder, 4, "o", offsets)
    authority = layer.crs.to_authority(min_confidence=100)
    organization = code = text = None
    if authority and authority[0] != "OGC":
        organization, code = builder.CreateString(authority[0]), int(authority[1])
    if code is None or has_wkt:
        text = builder.CreateString(layer.crs.to_wkt())
    builder.StartObject(6)
    if organization is not None and code is not None:
        builder.PrependUOffsetTRelativeSlot(0, organization, 0)
        builder.PrependInt32Slot(1, code, 0)
    if text is not None:
        builder.PrependUOffsetTRelativeSlot(4, text, 0)
    crs = builder.EndObject()
    name = builder.CreateString("layer")
    kinds = {shape.dimensions for shape in layer.shapes if shape is not None}
    builder.StartObject(14)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint8Slot(2, layer.declared % 1000, 0)
    builder.PrependBoolSlot(3, any("Z" in kind for kind in kinds), False)
    builder.PrependBoolSlot(4, any("M" in kind for kind in kinds), False)
    builder.PrependUOffsetTRelativeSlot(7, columns, 0)
    builder.PrependUint64Slot(8, len(layer.shapes) if has_count else 0, 0)
    builder.PrependUint16Slot(9, 0, 16)
    builder.PrependUOffsetTRelativeSlot(10, crs, 0)
    builder.FinishSizePrefixed(builder.EndObject())
    path.write_bytes(b"fgb\x03fgb\x01" + bytes(builder.Output()) + b"".join(_fgb_features(layer)))


def _fgb_features(layer: RandomLayer) -> Iterator[bytes]:
    for index, shape in enumerate(layer.shapes):
        builder = flatbuffers.Builder(1024)
        geometry = None if shape is None else _fgb_geometry(builder, shape)
        properties = _fgb_vector(builder, 1, "B", _fgb_properties(layer.columns, index))
        builder.StartObject(3)
        if geometry is not None:
            builder.PrependUOffsetTRelativeSlot(0, geometry, 0)
        builder.PrependUOffsetTRelativeSlot(1, properties, 0)
        builder.FinishSizePrefixed(builder.EndObject())
        yield bytes(builder.Output())


# Shapefile


_DBF: Mapping[pa.DataType, tuple[str, int, int]] = {
    pa.bool_(): ("L", 1, 0),
    pa.int16(): ("N", 6, 0),
    pa.int32(): ("N", 11, 0),
    pa.int64(): ("N", 18, 0),
    pa.float64(): ("F", 24, 15),
    pa.string(): ("C", 254, 0),
    pa.date32(): ("D", 8, 0),
}
"""Type, length and decimals of a field."""
_NO_MEASURE = -1e39


def _dbf_text(value: Any, kind: str, length: int) -> str:
    if value is None:
        return ("?" if kind == "L" else "").ljust(length)
    match value:
        case bool():
            return "FT"[value]
        case dt.date():
            return f"{value.year:04}{value.month:02}{value.day:02}"
        case int() | float():
            return repr(value).rjust(length)
        case _:
            return str(value)


def dbf(layer: RandomLayer, encoding: str, language: int) -> bytes:
    """Return the attributes as a dBASE III table."""
    fields = [(column.name, *_DBF[column.kind.arrow], column.values) for column in layer.columns]
    count = len(layer.shapes)
    size = 1 + sum(length for _, _, length, _, _ in fields)
    data = struct.pack("<4BIHH17xB2x", 3, 124, 2, 29, count, 33 + 32 * len(fields), size, language)
    for name, kind, length, decimals, _ in fields:
        data += struct.pack("<11sc4xBB14x", name.encode(encoding), kind.encode(), length, decimals)
    data += b"\r"
    for index in range(count):
        texts = [
            _dbf_text(values[index], kind, length).encode(encoding).ljust(length)
            for _, kind, length, _, values in fields
        ]
        data += b" " + b"".join(texts)
    return data + b"\x1a"


def _runs(shape: Shape) -> list[Any]:
    """Return the lines or the rings of all parts."""
    match shape.type:
        case 2:
            return [shape.coordinates]
        case 6:
            return [ring for part in shape.coordinates for ring in part]
        case _:
            return list(shape.coordinates)


def _shp_record(shape: Shape | None) -> bytes:
    if shape is None or not shape.coordinates:
        return struct.pack("<i", 0)
    places = shape.places
    z = [place[2] for place in places] if "Z" in shape.dimensions else None
    m = [place[-1] for place in places] if "M" in shape.dimensions else None
    code = {1: 1, 2: 3, 3: 5, 4: 8, 5: 3, 6: 5}[shape.type] + (10 if z else 20 if m else 0)
    data = struct.pack("<i", code)
    if shape.type == 1:
        x, y = places[0][:2]
        more = [*(z or []), *(m or ([_NO_MEASURE] if z else []))]
        return data + struct.pack(f"<{2 + len(more)}d", x, y, *more)
    data += struct.pack("<4d", *(pick(place[axis] for place in places) for pick in (min, max) for axis in (0, 1)))
    if shape.type != 4:
        runs = _runs(shape)
        starts = [sum(map(len, runs[:number])) for number in range(len(runs))]
        data += struct.pack(f"<ii{len(runs)}i", len(runs), len(places), *starts)
    else:
        data += struct.pack("<i", len(places))
    data += b"".join(struct.pack("<2d", *place[:2]) for place in places)
    for values in (z, m):
        if values is not None:
            data += struct.pack(f"<{2 + len(values)}d", min(values), max(values), *values)
    return data


def write_struct_shapefile(
    path: Path, layer: RandomLayer, encoding: tuple[str, str | None, int], has_index: bool, in_folder: bool
) -> None:
    """Write a zipped Shapefile with struct, from Esri's technical description.

    Args:
        path: the file.
        layer: what it holds; outer rings must be clockwise.
        encoding: of the texts, as Python names it; text of the .cpg, None = there is none; language driver id of the .dbf.
        has_index: whether there is a .shx.
        in_folder: whether the files lie in a folder of the zip.
    """
    records = [_shp_record(shape) for shape in layer.shapes]
    base = {1: 1, 2: 3, 3: 5, 4: 8, 5: 3, 6: 5}[layer.declared % 1000]
    code = base + {0: 0, 1: 10, 2: 20, 3: 10}[layer.declared // 1000]
    places = [place for shape in layer.shapes if shape is not None for place in shape.places]
    box = [pick(place[axis] for place in places) if places else 0.0 for pick in (min, max) for axis in (0, 1)]

    def header(size: int) -> bytes:
        return struct.pack(">7i", 9994, 0, 0, 0, 0, 0, size // 2) + struct.pack("<2i8d", 1000, code, *box, 0, 0, 0, 0)

    shp, shx = b"", b""
    for number, record in enumerate(records, 1):
        shx += struct.pack(">2i", (100 + len(shp)) // 2, len(record) // 2)
        shp += struct.pack(">2i", number, len(record) // 2) + record
    name, cpg, language = encoding
    files = {
        ".shp": header(100 + len(shp)) + shp,
        ".dbf": dbf(layer, name, language),
        ".prj": layer.crs.to_wkt("WKT1_ESRI").encode(),
    }
    if has_index:
        files[".shx"] = header(100 + len(shx)) + shx
    if cpg is not None:
        files[".cpg"] = cpg.encode()
    zip_files(path, {("data/" if in_folder else "") + "layer" + ending: data for ending, data in files.items()})
