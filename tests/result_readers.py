"""Results as readers other than ours find them: SQLite and the blobs of a GeoPackage, GDAL, pyarrow, csv, json."""

from __future__ import annotations

import csv
import json
import sqlite3
import struct
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyogrio.raw
import pyproj
import shapely
from pyarrow import parquet

GEOJSON: Final = "application/geo+json"
GEOPACKAGE: Final = "application/geopackage+sqlite3"
FLATGEOBUF: Final = "application/vnd.flatgeobuf"
PARQUET: Final = "application/vnd.apache.parquet"
SEQUENCE: Final = "application/geo+json-seq"
CSV: Final = "text/csv"
TABLE: Final = "application/json"

NO_SUMMARY: Final = {SEQUENCE, CSV}
"""Formats that have no place for a summary."""


@dataclass(frozen=True)
class Found:
    """A result as a file holds it."""

    names: list[str]
    """Of the columns in their order, without the geometry."""
    rows: list[dict[str, Any]]
    """By name; in GeoJSON the members of `properties`."""
    ids: list[Any] | None = None
    """The member `id` of GeoJSON's features, None where one has none; None = the format has no such member."""
    geometry: list[Any] | None = None
    """None = a table."""
    crs: pyproj.CRS | None = None
    """None = the file does not say."""
    summary: Any = None


def read_result(media_type: str, data: bytes, folder: Path) -> Found:
    """Read a result; `folder` is for a file that a reader needs."""
    path = folder / f"{len(list(folder.iterdir()))}-found{_ENDINGS.get(media_type, '')}"
    path.write_bytes(data)
    return _READERS[media_type](path)


def _read_geojson(path: Path) -> Found:
    document = json.loads(path.read_bytes())
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document
    return _features(document["features"], document["summary"])


def _read_sequence(path: Path) -> Found:
    """Read as RFC 8142 frames texts: a record separator before, a line feed behind, of each."""
    before, *texts = path.read_bytes().split(b"\x1e")
    assert before == b""
    assert all(text.endswith(b"}\n") and text.count(b"\n") == 1 for text in texts)
    return _features([json.loads(text) for text in texts], None)


def _features(features: list[Any], summary: Any) -> Found:
    assert all(set(item) - {"id"} == {"type", "geometry", "properties"} for item in features)
    assert all(item["type"] == "Feature" and item.get("id", "") is not None for item in features)
    rows = [item["properties"] for item in features]
    return Found(
        names=list(dict.fromkeys(name for row in rows for name in row)),
        rows=rows,
        ids=[item.get("id") for item in features],
        geometry=[None if (it := item["geometry"]) is None else shapely.from_geojson(json.dumps(it)) for item in features],
        crs=pyproj.CRS("OGC:CRS84"),
        summary=summary,
    )  # fmt: skip


def _read_geopackage(path: Path) -> Found:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        (layer,) = database.execute("SELECT * FROM gpkg_contents WHERE table_name <> 'layer_styles'").fetchall()
        rows = [dict(row) for row in database.execute(f'SELECT * FROM "{layer["table_name"]}"')]  # noqa: S608
        names = [row["name"] for row in database.execute(f'PRAGMA table_info("{layer["table_name"]}")')]
        ((text,),) = database.execute("SELECT metadata FROM gpkg_metadata WHERE mime_type = 'text/xml'").fetchall()
        described = database.execute("SELECT * FROM gpkg_geometry_columns").fetchall() if layer["data_type"] == "features" else []  # fmt: skip
        geometry, crs = None, None
        for column in described:
            names.remove(column["column_name"])
            geometry = [_geometry_of_blob(row.pop(column["column_name"]), column["srs_id"]) for row in rows]
            srs = "SELECT * FROM gpkg_spatial_ref_sys WHERE srs_id = ?"
            crs = pyproj.CRS(database.execute(srs, (column["srs_id"],)).fetchone()["definition"])
    summary = ET.fromstring(text).findtext("Metadata/MDI[@key='summary']")  # noqa: S314 - our own
    return Found(names, rows, None, geometry, crs, json.loads(summary or ""))


def _geometry_of_blob(blob: bytes | None, srs: int) -> Any:
    """Return the geometry behind the header of the GeoPackage standard (clause 2.1.3)."""
    if blob is None:
        return None
    assert blob[:3] == b"GP\0"
    flags = blob[3]
    assert struct.unpack("<i" if flags & 1 else ">i", blob[4:8]) == (srs,)
    return shapely.from_wkb(blob[8 + (0, 32, 48, 48, 64)[flags >> 1 & 7] :])


def _read_flatgeobuf(path: Path) -> Found:
    head = flatgeobuf_header(path.read_bytes())
    pyogrio.set_gdal_config_options({"OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES"})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Measured")  # pyogrio's names of types have none, the geometries have
        meta, table = pyogrio.raw.read_arrow(path, datetime_as_string=True)
    place = meta["geometry_name"] or "wkb_geometry"
    texts = table.column(place)
    rows = table.drop_columns([place]).to_pylist()
    return Found(
        names=[name for name in table.column_names if name != place],
        rows=rows,
        geometry=[None if text.as_py() is None else shapely.from_wkb(text.as_py()) for text in texts],
        crs=pyproj.CRS(meta["crs"]),
        summary=json.loads(head["description"]),
    )


def flatgeobuf_header(data: bytes) -> dict[str, Any]:
    """Return what matters of the header, a FlatBuffers table: https://github.com/flatgeobuf/flatgeobuf."""
    assert data[:7] == b"fgb\x03fgb"
    root = 12 + struct.unpack_from("<I", data, 12)[0]
    table = root - struct.unpack_from("<i", data, root)[0]
    fields = (struct.unpack_from("<H", data, table)[0] - 4) // 2

    def place(number: int) -> int:
        offset = struct.unpack_from("<H", data, table + 4 + 2 * number)[0] if number < fields else 0
        return root + offset if offset else 0

    def text(number: int) -> str:
        start = place(number) + struct.unpack_from("<I", data, place(number))[0]
        return data[start + 4 : start + 4 + struct.unpack_from("<I", data, start)[0]].decode()

    return {
        "count": struct.unpack_from("<Q", data, place(8))[0] if place(8) else 0,
        "index_node_size": struct.unpack_from("<H", data, place(9))[0] if place(9) else 16,
        "description": text(12),
    }


def _read_parquet(path: Path) -> Found:
    table = parquet.read_table(path)
    metadata = parquet.read_metadata(path).metadata
    summary = json.loads(metadata[b"summary"])
    if b"geo" not in metadata:
        return Found(table.column_names, table.to_pylist(), summary=summary)
    column = table.column("geometry")
    assert pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    described = json.loads(metadata[b"geo"])["columns"]["geometry"]
    plain = table.drop_columns(["geometry", described["covering"]["bbox"]["xmin"][0]])
    return Found(
        names=plain.column_names,
        rows=plain.to_pylist(),
        geometry=[None if text is None else shapely.from_wkb(text) for text in column.to_pylist()],
        crs=pyproj.CRS.from_json_dict(described["crs"]) if "crs" in described else pyproj.CRS("OGC:CRS84"),
        summary=summary,
    )


def _read_csv(path: Path) -> Found:
    with path.open(newline="", encoding="utf-8") as file:
        names, *lines = csv.reader(file, strict=True)
    assert all(len(line) == len(names) for line in lines)
    rows = [dict(zip(names, line, strict=True)) for line in lines]
    if names[-1] != "WKT":
        return Found(names, rows)
    geometry = [shapely.from_wkt(text) if (text := row.pop("WKT")) else None for row in rows]
    return Found(names[:-1], rows, geometry=geometry)


def _read_table(path: Path) -> Found:
    document = json.loads(path.read_bytes())
    assert set(document) == {"schema", "data", "summary"}
    names = [item["name"] for item in document["schema"]["fields"]]
    assert document["schema"]["primaryKey"] == [names[0]]
    assert all(list(row) == names for row in document["data"])
    return Found(names, document["data"], summary=document["summary"])


_ENDINGS: Mapping[str, str] = {GEOPACKAGE: ".gpkg", FLATGEOBUF: ".fgb", PARQUET: ".parquet", CSV: ".csv"}
_READERS: Mapping[str, Callable[[Path], Found]] = {
    GEOJSON: _read_geojson,
    GEOPACKAGE: _read_geopackage,
    FLATGEOBUF: _read_flatgeobuf,
    PARQUET: _read_parquet,
    SEQUENCE: _read_sequence,
    CSV: _read_csv,
    TABLE: _read_table,
}
FORMATS: Final = tuple(_READERS)
