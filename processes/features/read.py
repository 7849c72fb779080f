"""Feature layers from files: GeoJSON and GeoPackage."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyogrio
import pyproj

from processes.errors import LayerError, LimitError
from processes.features.geojson import read_geojson
from processes.features.layer import Layer

_LOOK_S = 30
_SQLITE = b"SQLite format 3\x00"


def read_layer(path: Path, name: str, layer: str | None, max_objects: int) -> Layer:
    """Read a layer from a file, by what the file holds.

    Args:
        path: a GeoJSON or a GeoPackage.
        name: what the client calls the file.
        layer: name of the layer in a GeoPackage; None = its only one.
        max_objects: limit of the number of features.

    Raises:
        LayerError: the file cannot be read, or has no such layer.
        LimitError: more features than allowed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if head.startswith(_SQLITE):
                return _read_geopackage(path, name, layer, max_objects)
            if not head:
                raise LayerError(f"features {name!r}: the file is empty")
            if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[", b""):
                raise LayerError(f"features {name!r}: not a GeoJSON or a GeoPackage")
            text = head + file.read()
            return read_geojson(text.removeprefix(b"\xef\xbb\xbf"), Path(name).stem, max_objects)
    except OSError as err:
        raise LayerError(f"features {name!r} cannot be read") from err


def _read_geopackage(path: Path, name: str, layer: str | None, max_objects: int) -> Layer:
    chosen = _choose_layer(path, name, layer)
    try:
        count = pyogrio.read_info(path, layer=chosen)["features"]
        if count > max_objects:
            raise LimitError("max_objects", max_objects, f"layer {chosen!r} has {count} features")
        meta, table = pyogrio.read_arrow(path, layer=chosen, return_fids=True)
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FieldError,
        pa.ArrowException,
        UnicodeDecodeError,
        pyproj.exceptions.CRSError,
    ) as err:
        raise LayerError(f"features {name!r}: layer {chosen!r} cannot be read; the GeoPackage is broken") from err
    fid, geometry = meta["fid_column"], meta["geometry_name"] or "wkb_geometry"
    if geometry not in table.column_names:
        raise LayerError(f"features {name!r}: layer {chosen!r} has no geometry")
    if table.num_rows < _count(path, chosen):  # GDAL ends the stream at a broken page without a word
        raise LayerError(f"features {name!r}: layer {chosen!r} cannot be read to its end; the GeoPackage is broken")
    if meta["crs"] is None or pyproj.CRS.from_user_input(meta["crs"]).name.startswith("Undefined"):
        raise LayerError(f"features {name!r}: layer {chosen!r} has no CRS")
    return Layer(
        name=chosen,
        crs=pyproj.CRS.from_user_input(meta["crs"]),
        geometry=table.column(geometry),
        geometry_type=meta["geometry_type"] or "Unknown",
        attributes=table.drop_columns([fid, geometry]),
        ids=table.column(fid),
    )


def _count(path: Path, layer: str) -> int:
    """Return the number of rows that a table has."""
    try:
        with closing(_database(path)) as database:
            quoted = layer.replace('"', '""')
            return int(database.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])  # noqa: S608 - quoted
    except sqlite3.Error as err:
        raise LayerError(f"layer {layer!r} cannot be read; the GeoPackage is broken") from err


def _database(path: Path) -> sqlite3.Connection:
    """Open a database for looks that end: what takes too long is broken off.

    Raises:
        sqlite3.Error: it is none, or holds views or virtual tables where GeoPackage has tables.
    """
    database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    deadline = time.monotonic() + _LOOK_S
    database.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    database.execute("PRAGMA trusted_schema = OFF")
    strange = database.execute(
        "SELECT count(*) FROM sqlite_master WHERE (type = 'view' AND lower(name) LIKE 'gpkg\\_%' ESCAPE '\\')"
        " OR (type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' AND lower(sql) NOT LIKE '%using rtree%')"
    ).fetchone()[0]
    if strange:
        database.close()
        raise sqlite3.DatabaseError("views or virtual tables in the place of tables")
    return database


def _choose_layer(path: Path, name: str, layer: str | None) -> str:
    """Return the feature table to read; a view could hold any query and is refused."""
    try:
        with closing(_database(path)) as database:
            tables = dict(
                database.execute(
                    "SELECT c.table_name, m.type FROM gpkg_contents c JOIN sqlite_master m"
                    " ON lower(m.name) = lower(c.table_name) WHERE c.data_type = 'features'"
                    " AND m.type IN ('table', 'view') ORDER BY c.rowid"
                ).fetchall()
            )
    except sqlite3.Error as err:
        raise LayerError(f"features {name!r}: not a sound GeoPackage") from err
    listed = ", ".join(repr(table) for table in tables) or "none"
    if layer is not None and layer not in tables:
        raise LayerError(f"features {name!r} have no layer {layer!r}; there are: {listed}")
    if layer is None and len(tables) != 1:
        raise LayerError(f"features {name!r} have {len(tables)} layers, pick one with #layer=name; there are: {listed}")
    chosen = layer if layer is not None else next(iter(tables))
    if tables[chosen] != "table":
        raise LayerError(f"features {name!r}: layer {chosen!r} is a view; only tables are read")
    return chosen
