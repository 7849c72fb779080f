"""GeoPackages: which of the tables is the layer, and whether all of it was read."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading.gdal import called_by_us, read_with_gdal

_LOOK_S = 30
_MAX_RATIO = 200
_FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
_MAX_VALUE_BYTES = 2**28
_VIRTUAL = 2
"""What `PRAGMA table_xinfo` calls a column that is computed when it is read."""
_BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""A broken schema is quoted by sqlite, and its bytes need be no text."""


def read_geopackage(path: Path, name: str, layer: str | None, max_objects: int, scratch: Path | None) -> Layer:
    """Read a feature table, its fid as the id; arguments and errors as `read_layer` has them."""
    chosen = _choose_layer(path, name, layer)
    called = f"features {name!r}: layer {chosen!r}"
    rows = _stored_rows(path, chosen, called)
    if rows > max_objects:
        raise LimitError("max_objects", max_objects, f"{called} has {rows} features")
    with called_by_us(path, ".gpkg", scratch) as link:
        found = read_with_gdal(link, "GPKG", called, max_objects, layer=chosen, keep_fid=True)
    if len(found) < rows:  # GDAL ends the stream at a broken page without a word
        raise LayerError(f"{called} cannot be read to its end; the file is broken")
    return found


def _stored_rows(path: Path, layer: str, called: str) -> int:
    """Return the number of rows that a table has, counted.

    Raises:
        LayerError: they come to far more than the file holds: by default values, or by expressions.
    """
    allowed = max(_MAX_RATIO * path.stat().st_size, _FREE_BYTES)
    table = _quoted(layer)
    try:
        with closing(_database(path)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
            columns = database.execute(f"PRAGMA table_xinfo({table})").fetchall()
            (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - quoted
            size = rows * sum(8 + len(str(default or "")) for _, _, _, _, default, _, _ in columns)
            computed = [_quoted(name) for _, name, *_, hidden in columns if hidden == _VIRTUAL]
            lengths = ", ".join(f"length(CAST({name} AS BLOB))" for name in computed) or "0"
            for row in database.execute(f"SELECT {lengths} FROM {table}") if computed else ():  # noqa: S608 - quoted
                size += sum(length or 0 for length in row)
                if size > allowed:
                    break
    except _BROKEN as err:
        raise LayerError(f"{called} cannot be read; the GeoPackage is broken") from err
    if size > allowed:
        raise LayerError(f"{called} unpacks to more than {_MAX_RATIO} times the file's size")
    return int(rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
    except _BROKEN as err:
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
