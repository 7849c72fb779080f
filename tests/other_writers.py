"""Files of random layers as other programs write them: GDAL, and json, sqlite3 and pyarrow from the words of the standards.

Nothing here is the product's. Each function takes the path, the layer, and by name what a format leaves to its writers.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio

from random_layers import TYPE_NAMES, RandomLayer, Shape

GEOMETRY = "the shape"
"""Name of the column of geometries that GDAL is given."""
ABSENT = ...
"""In the place of a value: the feature does not have the attribute."""


def free(name: str, layer: RandomLayer, *others: str) -> str:
    """Return a name that no attribute has, this one if it can be."""
    taken = {column.name.lower() for column in layer.columns} | {other.lower() for other in others}
    while name.lower() in taken:
        name += "_"
    return name


# GeoJSON, text sequences and CSV


def json_features(layer: RandomLayer) -> list[dict[str, Any]]:
    """Return the features as GeoJSON has them."""
    found = []
    for index, shape in enumerate(layer.shapes):
        geometry = None if shape is None else {"type": TYPE_NAMES[shape.type], "coordinates": shape.coordinates}
        values = {column.name: column.values[index] for column in layer.columns}
        properties = {name: value for name, value in values.items() if value is not ABSENT}
        feature: dict[str, Any] = {"type": "Feature", "geometry": geometry, "properties": properties or None}
        if layer.ids is not None and layer.ids[index] is not None:
            feature["id"] = layer.ids[index]
        found.append(feature)
    return found


def write_json(path: Path, layer: RandomLayer, member: bool, is_ascii: bool, indent: int | None, has_bom: bool) -> None:
    """Write a FeatureCollection with json; `member`: CRS84 is named, too, by the `crs` of 2008."""
    collection: dict[str, Any] = {"type": "FeatureCollection", "features": json_features(layer)}
    name, code = layer.crs.to_authority() or ("", "")
    urn = "urn:ogc:def:crs:OGC:1.3:CRS84" if name == "OGC" else f"urn:ogc:def:crs:{name}::{code}"
    if member or name != "OGC":
        collection["crs"] = {"type": "name", "properties": {"name": urn}}
    text = json.dumps(collection, ensure_ascii=is_ascii, indent=indent, allow_nan=False)
    path.write_bytes(b"\xef\xbb\xbf" * has_bom + text.encode())


def write_json_sequence(path: Path, layer: RandomLayer, is_ascii: bool, separator: str) -> None:
    """Write a text sequence: RFC 8142 where the separator is RS, else a feature a line."""
    lines = [json.dumps(feature, ensure_ascii=is_ascii, allow_nan=False) for feature in json_features(layer)]
    path.write_bytes("".join(f"{separator}{line}\n" for line in lines).encode())


def wkt(shape: Shape) -> str:
    """Return a geometry as ISO WKT."""
    words = [TYPE_NAMES[shape.type].upper(), *([shape.dimensions[2:]] if len(shape.dimensions) > 2 else [])]
    if not shape.coordinates:
        return " ".join([*words, "EMPTY"])

    def level(parts: Any, depth: int) -> str:
        return " ".join(map(repr, parts)) if depth < 0 else f"({', '.join(level(part, depth - 1) for part in parts)})"

    depth = (0, 0, 0, 1, 0, 1, 2)[shape.type]
    return f"{' '.join(words)} {level([shape.coordinates] if shape.type == 1 else shape.coordinates, depth)}"


def write_csv(path: Path, layer: RandomLayer, delimiter: str, line_end: str, is_first: bool, has_bom: bool) -> None:
    """Write a CSV with the csv module, all values quoted but nulls.

    Args:
        path: the file.
        layer: what it holds.
        delimiter: between values.
        line_end: of each line.
        is_first: whether the column of WKT comes first.
        has_bom: whether the file begins with U+FEFF.
    """
    columns = [(column.name, column.values) for column in layer.columns]
    columns.insert(0 if is_first else len(columns), ("WKT", [shape and wkt(shape) for shape in layer.shapes]))
    with path.open("w", encoding="utf-8-sig" if has_bom else "utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_NOTNULL)
        writer.writerow([name for name, _ in columns])
        writer.writerows(zip(*(values for _, values in columns), strict=True))


# GDAL


_PYOGRIO_TYPES = ("{}", "{} Z", "Measured {}", "Measured 3D {}")


def write_gdal(path: Path, layer: RandomLayer, driver: str, fid: str | None = None, **options: Any) -> None:
    """Write a layer with GDAL, through Arrow; `fid` names the column of the ids."""
    others = {GEOMETRY: pa.array([None if shape is None else shape.wkb() for shape in layer.shapes], pa.binary())}
    if layer.ids is not None:
        assert fid is not None
        fid = free(fid, layer)
        others[fid] = pa.array(layer.ids, pa.int64())
        options["FID"] = fid
    flat_type, dimensions = TYPE_NAMES[layer.declared % 1000] or "Unknown", layer.declared // 1000
    form = "PointM" if (flat_type, dimensions) == ("Point", 2) else _PYOGRIO_TYPES[dimensions]
    if driver == "GPKG":
        options["GEOMETRY_NAME"] = free("geom", layer)
    pyogrio.write_arrow(
        layer.arrow(**others),
        path,
        layer="layer",
        driver=driver,
        geometry_name=GEOMETRY,
        geometry_type=form.format(flat_type),
        crs=layer.crs.to_wkt(),
        **options,
    )


def write_gdal_shapefile(path: Path, layer: RandomLayer) -> None:
    """Write a Shapefile with GDAL, and zip it."""
    with tempfile.TemporaryDirectory() as folder:
        write_gdal(Path(folder) / "layer.shp", layer, "ESRI Shapefile", ENCODING="UTF-8")
        zip_files(path, {file.name: file.read_bytes() for file in Path(folder).iterdir()})


def zip_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


# GeoPackage


SQLITE_TYPES: Mapping[pa.DataType, Sequence[str]] = {
    pa.bool_(): ("BOOLEAN", "boolean"),
    pa.int16(): ("SMALLINT",),
    pa.int32(): ("MEDIUMINT",),
    pa.int64(): ("INTEGER", "INT", "integer"),
    pa.float32(): ("FLOAT",),
    pa.float64(): ("DOUBLE", "REAL", "real"),
    pa.string(): ("TEXT", "TEXT(200)", "text"),
    pa.binary(): ("BLOB", "BLOB(99)"),
    pa.date32(): ("DATE", "date"),
    pa.timestamp("ms"): ("DATETIME",),
    pa.timestamp("ms", "UTC"): ("DATETIME", "datetime"),
    pa.timestamp("ms", "+05:30"): ("DATETIME",),
    pa.timestamp("us", "UTC"): ("DATETIME",),
}


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def stored(value: Any) -> Any:
    """Return a value as the GeoPackage standard stores it: dates and times as texts."""
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(
            timespec="milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        )
        return text + ("" if value.tzinfo is None else "Z" if value.tzinfo is dt.UTC else "+05:30")
    return value.isoformat() if isinstance(value, dt.date) else value


def geopackage_blob(shape: Shape, srs_id: int, envelope: int, order: str) -> bytes:
    """Return a geometry as the GeoPackage standard has it; `envelope`: 0 = none, 1 = xy, 2 = xyz, 3 = xym, 4 = xyzm."""
    places = shape.places
    if not places:
        envelope = 0
    axes = {0: "", 1: "XY", 2: "XYZ", 3: "XYM", 4: "XYZM"}[envelope]
    if not set(axes) <= set(shape.dimensions):
        axes, envelope = "XY", 1
    box = []
    for axis in axes:
        values = [place[shape.dimensions.index(axis)] for place in places]
        box += [min(values), max(values)]
    flags = (0x10 if not places else 0) | envelope << 1 | (order == "<")
    return b"GP\0" + struct.pack(f"{order}Bi{len(box)}d", flags, srs_id, *box) + shape.wkb(order)


_GEOPACKAGE = """
PRAGMA synchronous = OFF;
PRAGMA journal_mode = MEMORY;
PRAGMA application_id = 1196444487;
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL, m TINYINT NOT NULL, PRIMARY KEY (table_name, column_name));
INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined cartesian', -1, 'NONE', -1, 'undefined', NULL);
INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined geographic', 0, 'NONE', 0, 'undefined', NULL);
"""
"""The tables that a GeoPackage must have."""


def _spelled(dtype: pa.DataType, spelling: int) -> str:
    names = SQLITE_TYPES[dtype]
    return names[spelling % len(names)]


def write_sqlite(
    path: Path,
    layer: RandomLayer,
    table: str,
    key: str,
    geometry: str,
    envelope: int,
    order: str,
    spelling: int,
    version: int,
) -> None:
    """Write a GeoPackage with sqlite3, from the words of the standard.

    Args:
        path: the file.
        layer: what it holds.
        table: name of the table.
        key: name of the primary key.
        geometry: name of the column of geometries.
        envelope: of the geometries, as the standard counts them.
        order: of the bytes of geometries.
        spelling: which spelling of the types is taken.
        version: as in `PRAGMA user_version`.
    """
    key = free(key, layer)
    geometry = free(geometry, layer, key)
    wkt = layer.crs.to_wkt("WKT1_GDAL")
    authority = layer.crs.to_authority(min_confidence=100)
    organization, srs_id = (
        (authority[0], int(authority[1])) if authority and authority[0] != "OGC" else ("NONE", 100007)
    )
    places = [place for shape in layer.shapes if shape is not None for place in shape.places]
    box = [pick(place[axis] for place in places) if places else None for pick in (min, max) for axis in (0, 1)]
    kinds = {shape.dimensions for shape in layer.shapes if shape is not None}
    has_z, has_m = (
        2 if {letter in kind for kind in kinds} == {True, False} else int(any(letter in kind for kind in kinds))
        for letter in "ZM"
    )
    type_name = TYPE_NAMES[layer.declared % 1000].upper() or "GEOMETRY"
    columns = [f"{quoted(column.name)} {_spelled(column.kind.arrow, spelling)}" for column in layer.columns]
    columns.insert(1, f"{quoted(geometry)} {type_name}")
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_GEOPACKAGE)
        database.execute(f"PRAGMA user_version = {version}")
        database.execute(
            f"CREATE TABLE {quoted(table)} ({quoted(key)} INTEGER PRIMARY KEY NOT NULL, {', '.join(columns)})"
        )
        for name, entry in (
            ("spatial_ref_sys", (layer.crs.name, srs_id, organization, srs_id, wkt, None)),
            ("contents", (table, "features", table, "", "2024-02-29T12:30:01.000Z", *box, srs_id)),
            ("geometry_columns", (table, geometry, type_name, srs_id, has_z, has_m)),
        ):
            database.execute(f"INSERT INTO gpkg_{name} VALUES ({', '.join('?' * len(entry))})", entry)  # noqa: S608
        names = ", ".join(map(quoted, [key, geometry, *(column.name for column in layer.columns)]))
        for index, shape in enumerate(layer.shapes):
            blob = None if shape is None else geopackage_blob(shape, srs_id, envelope, order)
            values = [stored(column.values[index]) for column in layer.columns]
            row = [None if layer.ids is None else layer.ids[index], blob, *values]
            database.execute(f"INSERT INTO {quoted(table)} ({names}) VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        database.commit()


# GeoParquet


def _native(shape: Shape) -> Any:
    names = "xyz"[: len(shape.dimensions)]

    def place(values: Sequence[float]) -> dict[str, float]:
        return dict(zip(names, values, strict=True))

    def level(parts: Any, depth: int) -> Any:
        return place(parts) if depth == 0 else [level(part, depth - 1) for part in parts]

    depth = (0, 0, 1, 2, 1, 2, 3)[shape.type]
    if depth == 0 and not shape.coordinates:
        return place([float("nan")] * len(names))
    return level(shape.coordinates, depth)


def write_parquet(
    path: Path,
    layer: RandomLayer,
    is_native: bool,
    version: str,
    geometry: str,
    order: str,
    large: bool,
    rows: int,
    compression: str,
) -> None:
    """Write a GeoParquet with pyarrow, its metadata by hand.

    Args:
        path: the file.
        layer: what it holds; of one type and dimension where it is native.
        is_native: whether the geometries are in the native encoding of their type.
        version: of GeoParquet.
        geometry: name of the column of geometries.
        order: of the bytes of WKB.
        large: whether texts and WKB have offsets of 64 bits.
        rows: of a group.
        compression: as pyarrow names it.
    """
    geometry = free(geometry, layer)
    types = sorted({TYPE_NAMES[s.type] + " Z" * ("Z" in s.dimensions) for s in layer.shapes if s is not None})
    if is_native:
        item: pa.DataType = pa.struct([(name, pa.float64()) for name in "xyz"[: 3 if layer.declared >= 1000 else 2]])
        for _ in range((0, 0, 1, 2, 1, 2, 3)[layer.declared % 1000]):
            item = pa.list_(item)
        encoding = TYPE_NAMES[layer.declared % 1000].lower()
        column = pa.array([None if shape is None else _native(shape) for shape in layer.shapes], item)
    else:
        encoding = "WKB"
        column = pa.array(
            [None if shape is None else shape.wkb(order) for shape in layer.shapes],
            pa.large_binary() if large else pa.binary(),
        )
    about: dict[str, Any] = {"encoding": encoding, "geometry_types": types}
    if layer.crs.to_authority() != ("OGC", "CRS84"):
        about["crs"] = layer.crs.to_json_dict()
    geo = {"version": version, "primary_column": geometry, "columns": {geometry: about}}
    table = layer.arrow(**{geometry: column})
    if large:
        for index, field in enumerate(table.schema):
            if pa.types.is_string(field.type):
                table = table.set_column(index, field.name, table.column(index).cast(pa.large_string()))
    pq.write_table(
        table.replace_schema_metadata({"geo": json.dumps(geo)}), path, row_group_size=rows, compression=compression
    )
