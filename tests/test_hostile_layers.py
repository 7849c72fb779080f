"""Layers made to harm: refused in words or classified, in bounded time and memory, and the service goes on.

Also sound layers with bytes changed at random, read in a child process so that a crash is seen.
"""

from __future__ import annotations

import io
import json
import random
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely

from hostile_service import start_hostile
from processes.errors import ServiceError
from processes.features.reading.files import read_layer
from processes.imagery.image import open_image
from processes.imagery.source import FileSource, gdal_settings, readable
from processes.settings import Limits
from rasters import make_raster
from service import Client, left_in, link
from test_hostile_images import bounded

X, Y = 500_010, 4_999_990
CRS = b'"crs": {"type": "name", "properties": {"name": "EPSG:32633"}}, '
PLACE: dict[str, Any] = {"type": "Point", "coordinates": [X, Y]}
BOXES = [shapely.box(X + n, Y, X + n + 2, Y + 2) for n in range(5)]
BOXES_WKB = tuple(shapely.to_wkb(box) for box in BOXES)
NAN, INFINITY = float("nan"), float("inf")

Write = Callable[[Path], object]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "hostile"


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    client = start_hostile(home)
    assert_alive(client, home)  # whose slot is warm by that
    yield client
    assert_alive(client, home)  # the same slot's process, by `bounded`: what has answered all of them


def saved(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def collection(*geometries: Any, properties: str = '{"n": 1}', members: bytes = CRS, more: str = "") -> bytes:
    """Return a collection as text; geometries may be texts that are not JSON."""
    features = ",".join(
        f'{{"type": "Feature", "geometry": {item if isinstance(item, str) else json.dumps(item)}, '
        f'"properties": {properties}{more}}}'
        for item in geometries
    )
    return b'{"type": "FeatureCollection", %s"features": [%s]}' % (members, features.encode())


def ring(*points: tuple[float, float]) -> list[list[float]]:
    return [[X + x, Y + y] for x, y in points]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def table(geometries: Sequence[bytes | None] = BOXES_WKB, **columns: Any) -> pa.Table:
    columns = columns or {"n": np.arange(len(geometries))}
    return pa.table({**columns, "geom": pa.array(geometries, pa.binary())})


def package(*statements: str, rows: int = 3, geometry: bytes | None = None) -> Write:
    """Write a GeoPackage with GDAL, and change it with SQL; `geometry` takes the place of the second one."""

    def write(path: Path) -> None:
        content = table([BOXES[n % 5].wkb for n in range(rows)])
        options = {"geometry_name": "geom", "geometry_type": "Unknown", "crs": "EPSG:32633"}
        written = path.with_suffix(".gpkg")
        pyogrio.write_arrow(content, written, driver="GPKG", layer="trees", SPATIAL_INDEX="NO", **options)
        written.rename(path)
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            if geometry is not None:
                database.execute("UPDATE trees SET geom = ? WHERE fid = 2", (geometry,))
            database.commit()

    return write


def blob(wkb: bytes, flags: int = 1, envelope: bytes = b"") -> bytes:
    return b"GP\0" + bytes([flags]) + struct.pack("<i", 32633) + envelope + wkb


def view(name: str, query: str) -> tuple[str, ...]:
    return (
        f"CREATE VIEW {name} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) {query}",  # noqa: S608
        f"INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "  # noqa: S608 - our own
        f"VALUES ('{name}', 'features', '{name}', 32633)",
        f"INSERT INTO gpkg_geometry_columns VALUES ('{name}', 'geom', 'POLYGON', 32633, 0, 0)",  # noqa: S608
    )


def flatgeobuf(change: Callable[[bytes], bytes] = lambda content: content) -> Write:
    def write(path: Path) -> None:
        options = {"geometry_name": "geom", "geometry_type": "Polygon", "crs": "EPSG:32633"}
        written = path.with_suffix(".fgb")
        pyogrio.write_arrow(table(), written, driver="FlatGeobuf", **options)
        content = written.read_bytes()
        written.unlink()
        path.write_bytes(change(content))

    return write


def counted(count: int) -> Callable[[bytes], bytes]:
    """Return a change of a FlatGeobuf: its header claims another number of features."""

    def change(content: bytes) -> bytes:
        root = 12 + struct.unpack_from("<I", content, 12)[0]
        vtable = root - struct.unpack_from("<i", content, root)[0]
        place = root + struct.unpack_from("<H", content, vtable + 20)[0]
        return content[:place] + struct.pack("<Q", count) + content[place + 8 :]

    return change


def shapefile(
    change: Callable[[dict[str, bytes]], dict[str, bytes]] = lambda files: files,
    of_zip: Callable[[bytes], bytes] = lambda content: content,
    compression: int = zipfile.ZIP_DEFLATED,
) -> Write:
    """Write a zipped Shapefile of which the files, by their endings or names, or the zip itself were changed."""

    def write(path: Path) -> None:
        folder = path.parent / "parts"
        folder.mkdir(exist_ok=True)
        options = {"geometry_name": "geom", "geometry_type": "Polygon", "crs": "EPSG:32633"}
        pyogrio.write_arrow(table(), folder / "a.shp", driver="ESRI Shapefile", **options)
        files = {ending: (folder / f"a.{ending}").read_bytes() for ending in ("shp", "shx", "dbf", "prj")}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", compression) as archive:
            for name, content in change(files).items():
                archive.writestr(name if "." in name else f"a.{name}", content)
        path.write_bytes(of_zip(packed.getvalue()))

    return write


def spliced(ending: str, place: int, value: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        content = files[ending]
        return files | {ending: content[:place] + value + content[place + len(value) :]}

    return change


def lying_size(content: bytes) -> bytes:
    place = content.find(b"PK\x01\x02") + 24
    return content[:place] + struct.pack("<I", 2**31 - 1) + content[place + 4 :]


def geoparquet(content: pa.Table | None = None, geo: str | None = None, **options: Any) -> Write:
    column = {"encoding": "WKB", "geometry_types": [], "crs": json.loads(pyproj.CRS("EPSG:32633").to_json())}
    known = json.dumps({"version": "1.1.0", "primary_column": "geom", "columns": {"geom": column}})

    def write(path: Path) -> None:
        rows = table() if content is None else content
        pq.write_table(rows.replace_schema_metadata({"geo": known if geo is None else geo}), path, **options)

    return write


def with_wkb(wkb: bytes) -> Write:
    return geoparquet(table([BOXES[0].wkb, wkb]))


def corners(*numbers: float) -> bytes:
    return struct.pack(f"<BIII{len(numbers)}d", 1, 3, 1, len(numbers) // 2, *numbers)


def zigzag(points: int) -> dict[str, Any]:
    """Return a polygon of which every edge goes through the whole image."""
    places = [(30 * n / points, 20.0 * (n % 2)) for n in range(points)]
    return polygon(ring((0, -1), *places, (30, -1), (0, -1)))


def sliver(points: int) -> dict[str, Any]:
    """Return a polygon a million cells high, and too thin to hold the centre of one."""
    places = [(0.3 + 1e-3 * n / points, 5e5 * (-1) ** n) for n in range(points)]
    return polygon(ring(*places, places[0]))


BROKEN_UTF8 = "UPDATE sqlite_master SET sql = CAST(x'4352ff' AS TEXT) WHERE name = 'gpkg_geometry_columns'"

ZIP_ENTRY = b"PK\1\2" + struct.pack("<4B4H3L5H2L", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
"""Of the list of a zip's files."""

REFUSED: dict[str, tuple[Write, str]] = {
    # name of the case: what writes the layer, words
    "properties 10,000 levels deep": (saved(collection(PLACE, properties=f'{{"a": {nested(10_000)}}}')), "recursion"),
    "coordinates 10,000 levels deep": (saved(collection(f'{{"type": "Point", "coordinates": {nested(10_000)}}}')), "recursion"),
    "a foreign member a million levels deep": (saved(collection(PLACE, more=f', "x": {nested(10**6)}')), "recursion"),
    "collections in collections": (saved(collection('{"type": "GeometryCollection", "geometries": [' * 1000 + "]}" * 1000)), "recursion"),
    "NaN as a coordinate": (saved(collection('{"type": "Point", "coordinates": [NaN, 1]}')), "not JSON"),
    "a coordinate of 1e999": (saved(collection('{"type": "Point", "coordinates": [1e999, 1]}')), "feature 1 has a geometry"),
    "a coordinate of a million digits": (saved(collection(f'{{"type": "Point", "coordinates": [{"1" * 10**6}, 1]}}')), "feature 1 has a geometry"),
    "a property of a million digits": (saved(collection(PLACE, properties=f'{{"n": {"1" * 10**6}}}')), "out of range"),
    "a geometry type of 10 MB": (saved(collection(f'{{"type": "{"x" * 10**7}"}}')), "Invalid enum value"),
    "features that are null": (saved(b'{"type": "FeatureCollection", "features": null}'), "Expected `array`"),
    "a feature that is null": (saved(b'{"type": "FeatureCollection", "features": [null]}'), "feature 1 is not a GeoJSON Feature"),
    "a crs that is a list": (saved(collection(PLACE, members=b'"crs": [], ')), "names no CRS"),
    "a crs that is no text": (saved(collection(PLACE, members=CRS.replace(b"EPSG", b"EP\xff"))), "names no CRS"),
    "half a surrogate pair": (saved(collection(PLACE, properties='{"a": "\\ud800"}')), "the features are not JSON"),
    "100,000 attributes of one feature": (saved(collection(PLACE, properties=json.dumps(dict.fromkeys(map(str, range(100_000)), 1)))), "100000 different attributes"),
    "an attribute of its own for each of 20,000 features": (saved(
        b'{"type": "FeatureCollection", "features": [%s]}'
        % b",".join(b'{"type": "Feature", "geometry": null, "properties": {"%d": 1}}' % n for n in range(20_000))), "different attributes"),
    "a GeoPackage whose view loops": (package(*view("v", "SELECT x AS fid, NULL AS geom FROM c"), "DELETE FROM gpkg_contents WHERE table_name = 'trees'"), "is a view"),
    "a view in the place of a GeoPackage's table": (package("ALTER TABLE gpkg_contents RENAME TO other", "CREATE VIEW gpkg_contents AS SELECT * FROM other"), "not a sound GeoPackage"),
    "a virtual table": (package("CREATE VIRTUAL TABLE found USING fts4(x)"), "not a sound GeoPackage"),
    "a virtual table whose name looks like an index": (package('CREATE VIRTUAL TABLE "x using rtree (" USING fts4(x)'), "not a sound GeoPackage"),
    "a virtual table whose argument looks like an index": (package("CREATE VIRTUAL TABLE x USING fts4('using rtree (')"), "not a sound GeoPackage"),
    "a virtual table whose comment looks like an index": (package("CREATE VIRTUAL TABLE x/* USING rtree (*/ USING fts4(y)"), "not a sound GeoPackage"),
    "a virtual table that says it is an index": (package("CREATE VIRTUAL TABLE x USING fts4(y)", "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET type = 'index', rootpage = 2 WHERE name = 'x'"), "not a sound GeoPackage"),
    "a virtual table in other blanks": (package("CREATE VIRTUAL TABLE x USING fts4(y)", "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = replace(sql, 'VIRTUAL', char(10) || 'virtual') WHERE name = 'x'"), "not a sound GeoPackage"),
    "a view that says it is a table of another name": (package("ALTER TABLE gpkg_contents RENAME TO other", "CREATE VIEW gpkg_contents AS SELECT * FROM other", "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET type = 'table', name = 'x' WHERE type = 'view'"), "not a sound GeoPackage"),
    "a view in the place of a spatial index": (package("CREATE VIEW rtree_trees_geom AS SELECT 1 AS id"), "not a sound GeoPackage"),
    "a spatial index as a layer": (package("CREATE VIRTUAL TABLE trees2 USING rtree(id, a, b)", "UPDATE gpkg_contents SET table_name = 'trees2'"), "'trees2' is a virtual table"),
    "a schema that is no text": (package("PRAGMA writable_schema = ON", BROKEN_UTF8), "not a sound GeoPackage"),
    "an expression of a gigabyte in each row": (package("ALTER TABLE trees ADD COLUMN g TEXT AS (hex(zeroblob(400000000))) VIRTUAL"), "the GeoPackage is broken"),
    "an expression of 10 MB in each row": (package("ALTER TABLE trees ADD COLUMN g TEXT AS (hex(zeroblob(5000000))) VIRTUAL", rows=200), "more than 200 times"),
    "a default of a megabyte": (package(f"ALTER TABLE trees ADD COLUMN g TEXT DEFAULT '{'x' * 10**6}'", rows=2000), "more than 200 times"),
    "texts that are not UTF-8": (package("ALTER TABLE trees ADD COLUMN t TEXT", "UPDATE trees SET t = CAST(x'ff41fe' AS TEXT)"), "the file is broken"),
    "a CRS of brackets": (package(f"UPDATE gpkg_spatial_ref_sys SET definition = '{'PROJCS[' * 10**5}', organization = 'X', organization_coordsys_id = 5"), "has no CRS"),  # noqa: S608
    "a GeoPackage geometry of 2^31 points": (package(geometry=blob(b"\x01\x02\0\0\0\xff\xff\xff\x7f" + b"\0" * 64)), "cannot be read"),
    "a GeoPackage geometry of parts in parts": (package(geometry=blob(b"\x01\x06\0\0\0\x01\0\0\0" * 100_000)), "feature 2 has a geometry that cannot be read: its parts have parts"),
    "a GeoPackage geometry that is a TIN": (package(geometry=blob(b"\x01\x10\0\0\0\0\0\0\0")), "feature 2 is a TIN"),
    "a FlatGeobuf cut short": (flatgeobuf(lambda content: content[:-50]), "the FlatGeobuf is broken"),
    "a FlatGeobuf of 2^60 features": (flatgeobuf(counted(2**60)), "the FlatGeobuf is broken"),
    "a FlatGeobuf of one feature less": (flatgeobuf(counted(4)), "the FlatGeobuf is broken"),
    "a FlatGeobuf header of zeros": (flatgeobuf(lambda content: content[:12] + bytes(300) + content[312:]), "cannot be read"),
    "a FlatGeobuf with more behind it": (flatgeobuf(lambda content: content + b"junk"), "the FlatGeobuf is broken"),
    "a zip that points out of itself": (shapefile(lambda files: {f"../a.{ending}": content for ending, content in files.items()}), "points out of it"),
    "a zip of a million files": (saved(b"PK\3\4" + bytes(26) + ZIP_ENTRY * 10**6 + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(ZIP_ENTRY) * 10**6, 0, 0)), "has too many files: their list has 47000000 bytes"),
    "a zip in a zip": (shapefile(lambda files: {"a.zip": b"PK\x05\x06" + bytes(18)}), "holds no Shapefile"),
    "a zip bomb": (shapefile(lambda files: files | {"dbf": files["dbf"] + bytes(3 * 10**8)}), "compressed"),
    "a zip that lies about sizes": (shapefile(of_zip=lying_size), "compressed"),
    "two Shapefiles": (shapefile(lambda files: files | {f"b.{ending}": content for ending, content in files.items()}), "pick one"),
    "a Shapefile without .prj": (shapefile(lambda files: {name: files[name] for name in ("shp", "shx", "dbf")}), "no CRS"),
    "a .prj of brackets": (shapefile(lambda files: files | {"prj": b"PROJCS[" * 50_000}), "the file is broken"),
    "a .shx that points beyond the .shp": (shapefile(spliced("shx", 100, struct.pack(">i", 10**6))), "does not belong"),
    "a .shp without index that claims 2^31 bytes": (shapefile(lambda files: spliced("shp", 104, struct.pack(">i", 2**30))({name: files[name] for name in ("shp", "dbf", "prj")})), "to its end"),
    "a .dbf of 2^31 records": (shapefile(spliced("dbf", 4, struct.pack("<I", 2**31))), ".dbf is broken"),
    "a .dbf without header": (shapefile(spliced("dbf", 8, b"\0\0")), ".dbf is broken"),
    "a Parquet footer that lies": (lambda path: (geoparquet()(path), path.write_bytes(path.read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1")), "the Parquet file is broken"),
    "a Parquet text of 300 MB many times over": (geoparquet(table([BOXES[0].wkb] * 3000, t=pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), ["x" * 10**6]))), "more than 200 times"),
    "2,000 empty Parquet columns": (geoparquet(table([BOXES[0].wkb] * 10**5, **{f"c{n}": pa.nulls(10**5, pa.int64()) for n in range(500)}), use_dictionary=False), "more than 200 times"),
    "Parquet metadata 100,000 levels deep": (geoparquet(geo=nested(100_000)), "not that of a GeoParquet"),
    "Parquet metadata of wrong types": (geoparquet(geo='{"version": 1, "primary_column": [], "columns": 7}'), "not that of a GeoParquet"),
    "a Parquet column 200 levels deep": (geoparquet(table(a=pa.nulls(5, reduce(lambda kind, _: pa.struct([("a", kind)]), range(200), pa.int32())))), "the Parquet file is broken"),
    "WKB of garbage": (with_wkb(b"\xde\xad\xbe\xef" * 4), "feature 2 has a geometry"),
    "WKB of 2^32 - 1 rings": (with_wkb(b"\x01\x03\0\0\0\xff\xff\xff\xff" + bytes(64)), "cannot be read"),
    "WKB of parts in parts": (with_wkb(b"\x01\x06\0\0\0\x01\0\0\0" * 100_000), "feature 2 has a geometry that cannot be read: its parts have parts"),
    "WKB of parts in the second part": (with_wkb(
        b"\x01\x04\0\0\0\x02\0\0\0" + shapely.Point(1, 2).wkb + b"\x00\0\0\0\x05\0\0\0\x01" * 100_000), "its parts have parts"),
    "WKB of a polygon of NaN": (with_wkb(corners(*[NAN] * 8)), "cannot be read"),
}  # fmt: skip

CLASSIFIED: dict[str, tuple[Write, dict[str, int]]] = {
    # name of the case: what writes the layer, how many rows have which status
    "no geometry member": (saved(b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}}]}'), {"empty-geometry": 1}),
    "an id that is a list": (saved(collection(PLACE, more=', "id": [1]')), {"ok": 1}),
    "a ring that is not closed": (saved(collection(polygon(ring((0, 0), (4, 0), (4, 4), (0, 4))))), {"ok": 1}),
    "a ring of two points": (saved(collection(polygon(ring((0, 0), (0, 0))))), {"empty-geometry": 1}),
    "a line of one point": (saved(collection({"type": "LineString", "coordinates": [[X, Y]]})), {"empty-geometry": 1}),
    "a property 900 levels deep": (saved(collection(PLACE, properties=f'{{"a": {nested(900)}}}')), {"ok": 1}),
    "a property text of 30 MB": (saved(collection(PLACE, properties=f'{{"a": "{"x" * 3 * 10**7}"}}')), {"ok": 1}),
    "keys that come twice": (saved(collection(PLACE, properties='{"a": 1, "a": 2}', more=', "id": 1, "id": 2')), {"ok": 1}),
    "a bbox of wrong type": (saved(collection(PLACE, members=CRS + b'"bbox": ["a"], ')), {"ok": 1}),
    "100,000 features without geometry": (saved(collection(*["null"] * 100_000)), {"empty-geometry": 100_000}),
    "400,000 vertices in two places": (saved(collection(f'{{"type": "Polygon", "coordinates": [[[{X}, {Y}]{", [500012, 4999992], [500012, 4999990]" * 200_000}, [{X}, {Y}]]]}}')), {"ok": 1}),
    "200,000 edges through the image": (saved(collection(zigzag(200_000))), {"ok": 1}),
    "a sliver of many edges a million cells high": (saved(collection(sliver(2000))), {"ok": 1}),
    "a bow-tie": (saved(collection(polygon(ring((0, 0), (4, 4), (4, 0), (0, 4), (0, 0))))), {"ok": 1}),
    "a spike": (saved(collection(polygon(ring((0, 0), (4, 0), (4, 4), (4, 9), (4, 4), (0, 4), (0, 0))))), {"ok": 1}),
    "a ring without area": (saved(collection(polygon(ring((0, 0), (0, 0), (0, 0), (0, 0))))), {"ok": 1}),
    "a ring of three points": (saved(collection(polygon(ring((0, 0), (4, 0), (0, 0))))), {"ok": 1}),
    "a hole outside, and one as large as the ring": (saved(collection(
        polygon(ring((0, 0), (4, 0), (4, 4), (0, 0)), ring((9, 0), (10, 0), (10, 1), (9, 0))),
        polygon(*[ring((0, 0), (4, 0), (4, 4), (0, 0))] * 2))), {"ok": 2}),
    "50,000 parts": (saved(collection('{"type": "MultiPolygon", "coordinates": [' + ", ".join(
        f"[[[{X + n % 300 * .01}, {Y}], [{X + n % 300 * .01 + 1}, {Y}], [{X}, {Y + n % 200 * .01}], [{X + n % 300 * .01}, {Y}]]]"
        for n in range(50_000)) + "]}")), {"ok": 1}),
    "parts upon parts, and an empty one": (saved(collection(
        {"type": "MultiPolygon", "coordinates": [[ring((0, 0), (4, 0), (4, 4), (0, 0))]] * 3 + [[]]})), {"ok": 1}),
    "heights on some vertices": (saved(collection(polygon([[X, Y], [X + 4, Y, 5], [X + 4, Y + 4], [X, Y]]))), {"ok": 1}),
    "a polygon around the world": (saved(collection(polygon([[-1e7, -1e7], [1e7, -1e7], [1e7, 1e7], [-1e7, 1e7], [-1e7, -1e7]]))), {"ok": 1}),
    "coordinates of 1e308": (saved(collection({"type": "Point", "coordinates": [1e308, -1e308]}, polygon([[-1.7e308, 0], [1.7e308, 0], [0, 1.7e308], [-1.7e308, 0]]))), {"outside-image": 2}),
    "the poles": (saved(collection({"type": "Point", "coordinates": [0, 90]}, {"type": "Point", "coordinates": [15, -90]}, members=b"")), {"outside-image": 2}),
    "longitudes and latitudes beyond theirs": (saved(collection(*({"type": "Point", "coordinates": place} for place in ([1e6, 45], [15, 95], [0, 0], [1e300, 45])), members=b"")), {"outside-image": 4}),
    "a lying envelope": (package(geometry=blob(BOXES[1].wkb, 3, struct.pack("<4d", NAN, 0, 1e300, -1))), {"ok": 3}),
    "a GeoPackage geometry without its magic": (package(geometry=b"XX\0\1" + BOXES[1].wkb), {"ok": 2, "empty-geometry": 1}),
    "a text as a GeoPackage geometry": (package("UPDATE trees SET geom = 'text' WHERE fid = 1"), {"ok": 2, "empty-geometry": 1}),
    "a GeoPackage without application_id": (package("PRAGMA application_id = 0"), {"ok": 3}),
    "a trigger": (package("CREATE TRIGGER t AFTER INSERT ON trees BEGIN DELETE FROM trees; END"), {"ok": 3}),
    "an expression of a few bytes": (package("ALTER TABLE trees ADD COLUMN g INTEGER AS (n * 2) VIRTUAL"), {"ok": 3}),
    "a count of features that lies": (package("UPDATE gpkg_ogr_contents SET feature_count = -5"), {"ok": 3}),
    "Shapefile names in capitals": (shapefile(lambda files: {f"A.{ending.upper()}": content for ending, content in files.items()}), {"ok": 5}),
    "a Shapefile record of more points than there are": (shapefile(spliced("shp", 148, struct.pack("<i", 2**31 - 1))), {"ok": 4, "empty-geometry": 1}),
    "a bomb beside a Shapefile": (shapefile(lambda files: files | {"a.txt": bytes(3 * 10**8)}), {"ok": 5}),
    "WKB of infinite corners": (with_wkb(corners(X, Y, INFINITY, Y, X, INFINITY, X, Y)), {"ok": 1, "outside-image": 1}),
    "WKB of a point half NaN": (with_wkb(struct.pack("<BI2d", 1, 1, X, NAN)), {"ok": 1, "outside-image": 1}),
    "WKB with more behind it": (with_wkb(BOXES[0].wkb + b"x" * 50), {"ok": 2}),
}  # fmt: skip


def executed(client: Client, home: Path, tmp_path: Path, write: Write) -> Any:
    folder = home / "imagery" / tmp_path.name
    folder.mkdir()
    write(folder / "layer")
    with bounded(client):
        response = client.execute(
            "classify-objects",
            {"image": link(home / "imagery" / "sound.tif"), "model": "black", "features": link(folder / "layer")},
        )
    assert not left_in(home / "state")
    return response


def assert_alive(client: Client, home: Path) -> None:
    inputs = {
        "image": link(home / "imagery" / "sound.tif"), "model": "black",
        "features": json.loads(collection(PLACE)),
    }  # fmt: skip
    response = client.execute("classify-objects", inputs)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("case", REFUSED)
def test_harm_is_refused(client: Client, home: Path, tmp_path: Path, case: str) -> None:
    write, words = REFUSED[case]
    response = executed(client, home, tmp_path, write)
    assert response.status_code == 400, response.text[:1000]
    (fault,) = response.json["errors"]
    assert fault["pointer"] in ("/inputs/features/href", "/inputs/features")
    assert words in fault["detail"]
    assert len(response.data) < 50_000
    assert str(home) not in response.text


@pytest.mark.parametrize("case", CLASSIFIED)
def test_what_is_only_odd_is_classified(client: Client, home: Path, tmp_path: Path, case: str) -> None:
    write, expected = CLASSIFIED[case]
    response = executed(client, home, tmp_path, write)
    assert response.status_code == 200, response.text[:1000]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    features = json.loads(response.data, parse_constant=refuse)["features"]
    assert Counter(feature["properties"]["ClassStatus"] for feature in features) == expected


def test_too_many_columns_for_a_geopackage_are_refused_before_the_work(client: Client, home: Path) -> None:
    properties = json.dumps({f"p{n}": n for n in range(1994)})
    for count, status in ((1993, 200), (1994, 400)):
        some = json.dumps(dict(list(json.loads(properties).items())[:count]))
        inputs = {
            "image": link(home / "imagery" / "sound.tif"), "model": "black",
            "features": json.loads(collection(PLACE, properties=some)),
        }  # fmt: skip
        wanted = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
        response = client.execute("classify-objects", inputs, outputs=wanted)
        assert response.status_code == status
    assert "at most 2000 columns, this result 2001" in response.json["detail"]


def test_answer_to_nothing_but_faults_has_a_sane_size(client: Client) -> None:
    unknown = {f"{n}{'x' * 100}": n for n in range(9_000)}
    with bounded(client):
        response = client.execute("classify-objects", unknown)
    assert response.status_code == 400
    assert len(response.data) < 2**20
    assert response.json["errors"][-1] == {"pointer": "", "detail": "and 8002 faults more"}
    missing = [{"href": f"file:///nowhere/{n}.tif"} for n in range(10_000)]
    with bounded(client):
        response = client.execute("classify-objects", {"image": missing, "model": "black"})
    assert response.status_code == 403
    assert len(response.data) < 2**20


SEEDS = 24


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a sound file of each format."""
    folder = tmp_path_factory.mktemp("sound")
    for name, write in {
        "a.geojson": saved(collection(*(json.loads(shapely.to_geojson(box)) for box in BOXES), more=', "id": "é"')),
        "a.gpkg": package(rows=40),
        "a.fgb": flatgeobuf(),
        "a.zip": shapefile(compression=zipfile.ZIP_STORED),
        "a.parquet": geoparquet(compression="none"),
    }.items():
        write(folder / name)
    for name, driver in (("a.tif", "GTiff"), ("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.jp2", "JP2OpenJPEG")):
        make_raster(folder / name, driver=driver, crs="EPSG:32633" if driver == "GTiff" else None)
    return folder


def changed(content: bytes, seed: int) -> bytes:
    """Return a file cut off, with bytes changed anywhere or near its ends, or with numbers at their limits."""
    dice, found = random.Random(seed), bytearray(content)
    if seed % 4 == 0:
        return content[: dice.randrange(len(content))]
    for _ in range(dice.choice((1, 3, 20))):
        place = dice.randrange(len(found) - 8)
        if seed % 4 == 1:
            found[place] = dice.randrange(256)
        elif seed % 4 == 2:
            found[dice.choice((place % 600, -1 - place % 600))] = dice.choice((0, 127, 128, 255))
        else:
            found[place : place + 8] = dice.choice((b"\xff" * 8, bytes(8), b"\xff\xff\xff\x7f" * 2))
    return bytes(found)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def read_changed(sound: Path, folder: Path) -> None:
    """Read each file changed by each seed, and tell before and after."""
    for path in sorted(sound.glob("a.*")):
        target = folder / path.name
        for seed in range(SEEDS):
            target.write_bytes(changed(path.read_bytes(), seed))
            tell(f"{path.name} {seed}")
            try:
                if path.suffix in (".tif", ".jpg", ".png", ".jp2"):
                    source = FileSource(target, "a")
                    open_image(source, 10**10)
                    with gdal_settings(), readable(source), source.open() as dataset:
                        dataset.read(window=((0, 8), (0, 8)))
                else:
                    layer = read_layer(target, path.name, None, Limits(max_objects=10_000))
                    layer.geometries(0, len(layer))
            except ServiceError:
                tell("refused")
            except Exception as err:  # noqa: BLE001 - whatever comes is the finding
                tell(repr(err))
            else:
                tell("read")


def test_changed_files_are_read_or_refused(sound: Path, tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(sound), str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = child.stdout.splitlines()
    outcomes = dict(zip(lines[::2], lines[1::2], strict=False))
    assert {file: outcome for file, outcome in outcomes.items() if outcome not in ("read", "refused")} == {}
    assert child.returncode == 0, (lines[-1], child.stderr[-2000:])
    assert len(outcomes) == SEEDS * len(list(sound.glob("a.*")))
    assert Counter(outcomes.values()).keys() == {"read", "refused"}


if __name__ == "__main__":
    read_changed(Path(sys.argv[1]), Path(sys.argv[2]))
