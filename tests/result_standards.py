"""Rules of the GeoPackage and the GeoParquet standards, as far as a program can tell whether a file keeps them."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyproj
import shapely
from pyarrow import parquet

_TABLES = {"gpkg_spatial_ref_sys", "gpkg_contents"}
_OWN = {"features", "attributes", "tiles"}
_SCOPES = {"read-write", "write-only"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TYPES = re.compile(r"(Multi)?(Point|LineString|Polygon)( Z)?|GeometryCollection( Z)?")


def check_geopackage(path: Path) -> list[str]:
    """Return what https://www.geopackage.org/spec131/ does not allow; numbers are those of its requirements."""
    data = path.read_bytes()
    wrong = []
    if data[:16] != b"SQLite format 3\0":
        wrong.append("1: not SQLite")
    if data[68:72] != b"GPKG" or not 10200 <= struct.unpack(">I", data[60:64])[0] < 20000:
        wrong.append("2: application_id or user_version")
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row

        def rows(query: str, *values: Any) -> list[sqlite3.Row]:
            return database.execute(query, values).fetchall()

        if [tuple(row) for row in rows("PRAGMA integrity_check")] != [("ok",)]:
            wrong.append("6: integrity_check")
        if rows("PRAGMA foreign_key_check"):
            wrong.append("7: foreign_key_check")
        there = {row["name"]: row for row in rows("SELECT * FROM sqlite_master WHERE type IN ('table', 'view')")}
        wrong += [f"10, 13: no {name}" for name in _TABLES - set(there)]
        systems = {row["srs_id"] for row in rows("SELECT * FROM gpkg_spatial_ref_sys")}
        if not {-1, 0, 4326} <= systems:
            wrong.append("11: srs_id -1, 0 or 4326 is not there")
        contents = rows("SELECT * FROM gpkg_contents")
        for row in contents:
            if row["table_name"] not in there:
                wrong.append(f"14: {row['table_name']} is no table")
            if not _TIME.fullmatch(row["last_change"]):
                wrong.append(f"15: last_change {row['last_change']}")
            if row["data_type"] not in _OWN:
                wrong.append(f"data_type {row['data_type']}")
            if row["data_type"] == "features" and row["srs_id"] not in systems:
                wrong.append(f"16: srs_id {row['srs_id']}")
            if len([item for item in rows(f'PRAGMA table_info("{row["table_name"]}")') if item["pk"]]) != 1:
                wrong.append(f"29, 119: {row['table_name']} has no primary key")
        described = rows("SELECT * FROM gpkg_geometry_columns") if "gpkg_geometry_columns" in there else []
        features = {row["table_name"] for row in contents if row["data_type"] == "features"}
        if {row["table_name"] for row in described} != features:
            wrong.append("22: a feature table has no geometry column, or another has one")
        extensions = rows("SELECT * FROM gpkg_extensions") if "gpkg_extensions" in there else []
        for row in extensions:
            if row["scope"] not in _SCOPES or not re.fullmatch(r"[A-Za-z0-9]+_\w+", row["extension_name"]):
                wrong.append(f"60-64: extension {tuple(row)}")
            if row["table_name"] is not None and row["table_name"] not in there:
                wrong.append(f"60: extension of {row['table_name']}")
        used = {(row["table_name"], row["extension_name"]) for row in extensions}
        for row in described:
            wrong += _geometry_faults(row, rows, systems)
            index = f"rtree_{row['table_name']}_{row['column_name']}"
            if (index in there) != ((row["table_name"], "gpkg_rtree_index") in used):
                wrong.append("75: the R-tree and its extension go together")
        if "gpkg_metadata" in there:
            if not {("gpkg_metadata", "gpkg_metadata"), ("gpkg_metadata_reference", "gpkg_metadata")} <= used:
                wrong.append("140: the metadata extension is not registered")
            known = {row["id"] for row in rows("SELECT id FROM gpkg_metadata")}
            for row in rows("SELECT * FROM gpkg_metadata_reference"):
                if row["reference_scope"] not in ("geopackage", "table", "column", "row", "row/col"):
                    wrong.append(f"96: scope {row['reference_scope']}")
                if row["reference_scope"] == "table" and row["table_name"] not in there:
                    wrong.append(f"97: table {row['table_name']}")
                if row["md_file_id"] not in known or not _TIME.fullmatch(row["timestamp"]):
                    wrong.append(f"100, 101: {tuple(row)}")
        known_tables = {row["table_name"] for row in contents} | {row["name"] for row in there.values() if row["name"].startswith(("gpkg_", "rtree_", "sqlite_"))}  # fmt: skip
        wrong += [f"table {name} is not in gpkg_contents" for name in set(there) - known_tables]
    return wrong


def _geometry_faults(column: sqlite3.Row, rows: Any, systems: set[int]) -> list[str]:
    """Return what is wrong with the values of a geometry column: header, type, dimensions (clauses 2.1.3, 2.1.5)."""
    wrong = [] if column["srs_id"] in systems else [f"24: srs_id {column['srs_id']}"]
    declared = column["geometry_type_name"]
    for (blob,) in rows(f'SELECT "{column["column_name"]}" FROM "{column["table_name"]}"'):  # noqa: S608
        if blob is None:
            continue
        flags = blob[3]
        if blob[:3] != b"GP\0" or flags & 0xC0 or struct.unpack("<i" if flags & 1 else ">i", blob[4:8])[0] != column["srs_id"]:  # fmt: skip
            wrong.append("19: header")
        shape = shapely.from_wkb(blob[8 + (0, 32, 48, 48, 64)[flags >> 1 & 7] :])
        if declared not in ("GEOMETRY", shape.geom_type.upper()):
            wrong.append(f"32: {shape.geom_type} in a column of {declared}")
        for dimension, has in (("z", shape.has_z), ("m", shape.has_m)):
            if (column[dimension], has) in ((0, True), (1, False)):
                wrong.append(f"27, 28: {dimension} is {column[dimension]}, but {has} in a geometry")
    return wrong


def check_geoparquet(path: Path) -> list[str]:
    """Return what https://geoparquet.org/releases/v1.1.0/ does not allow, or recommends and is not there."""
    schema = parquet.read_schema(path)
    geo = json.loads(parquet.read_metadata(path).metadata[b"geo"])
    wrong = [f"no {name}" for name in ("version", "primary_column", "columns") if name not in geo]
    if geo["version"] != "1.1.0":
        wrong.append(f"version {geo['version']}")
    if geo["primary_column"] not in geo["columns"]:
        wrong.append("the primary column is not described")
    for name, column in geo["columns"].items():
        shapes = [shapely.from_wkb(text) for text in parquet.read_table(path).column(name).to_pylist()]
        if column["encoding"] != "WKB" or not pa.types.is_binary(schema.field(name).type):
            wrong.append(f"{name}: encoding {column['encoding']} of {schema.field(name).type}")
        types = column["geometry_types"]
        if len(set(types)) < len(types) or not all(_TYPES.fullmatch(kind) for kind in types):
            wrong.append(f"{name}: geometry_types {types}")
        there = {f"{shape.geom_type}{' Z' * shape.has_z}" for shape in shapes if shape is not None}
        if types and not there <= set(types):
            wrong.append(f"{name}: geometry_types {types}, but there are {there}")
        if any(shape is not None and shape.has_m for shape in shapes):
            wrong.append(f"{name}: a geometry has measures")
        if "crs" in column:
            pyproj.CRS.from_json_dict(column["crs"])
        if "bbox" in column:
            bbox = column["bbox"]
            low, high = bbox[: len(bbox) // 2], bbox[len(bbox) // 2 :]
            if len(bbox) not in (4, 6) or not all(isinstance(value, int | float) for value in bbox):
                wrong.append(f"{name}: bbox {bbox}")
            places = shapely.get_coordinates(shapes, include_z=len(bbox) == 6)
            if (places.min(axis=0) < low).any() or (places.max(axis=0) > high).any():
                wrong.append(f"{name}: bbox {bbox} does not hold all coordinates")
        elif any(shape is not None and not shape.is_empty for shape in shapes):
            wrong.append(f"{name}: no bbox")
        wrong += [f"{name}: {fault}" for fault in _covering_faults(path, column, shapes)]
        unknown = set(column) - {"encoding", "geometry_types", "crs", "bbox", "covering"}
        wrong += [f"{name}: member {member}" for member in unknown]
    return wrong


def _covering_faults(path: Path, column: Any, shapes: list[Any]) -> list[str]:
    """Return what is wrong with the column of boxes: its place, its type, and boxes that do not hold their geometry."""
    sides = ["xmin", "ymin", "xmax", "ymax"]
    paths = column.get("covering", {}).get("bbox", {})
    if list(paths) != sides or [end for _, end in paths.values()] != sides or len({it[0] for it in paths.values()}) > 1:
        return [f"covering {paths}"]
    boxes = parquet.read_table(path).column(paths["xmin"][0])
    kind = boxes.type
    if not pa.types.is_struct(kind) or [it.name for it in kind] != sides or not all(pa.types.is_floating(it.type) for it in kind):  # fmt: skip
        return [f"boxes of type {kind}"]
    wrong = []
    for number, (box, shape) in enumerate(zip(boxes.to_pylist(), shapes, strict=True)):
        if shape is None or shape.is_empty:
            wrong += [] if box is None else [f"row {number} has a box and no geometry"]
        elif box is None or not shapely.box(*(box[side] for side in sides)).buffer(1e-9).covers(shape.envelope):
            wrong.append(f"the box of row {number} does not hold its geometry")
    return wrong
