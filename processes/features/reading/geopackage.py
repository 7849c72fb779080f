"""GeoPackages: the choice of the layer, and the check that all of it was read."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.gdal import plain_link, read_with_gdal
from processes.features.reading.limits import require_few_features
from processes.settings import Limits

_QUERY_S = 30
"""Seconds after which a query is interrupted."""
_MAX_RATIO = 200
_FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
_MAX_VALUE_BYTES = 2**28
_VIRTUAL = 2
"""`hidden` in `PRAGMA table_xinfo` of a column that is computed when it is read."""
_BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""sqlite quotes a broken schema, whose bytes need not be text."""


def read_geopackage(path: Path, name: str, layer: str | None, limits: Limits, scratch: Path | None) -> Layer:
    """Read a feature table, its fid as the id; arguments and errors as `read_layer` has them."""
    layer_name = _choose_layer(path, name, layer)
    subject = f"features {name!r}: layer {layer_name!r}"
    rows = _count_rows(path, layer_name, subject)
    require_few_features(rows, limits, subject)
    with plain_link(path, ".gpkg", scratch) as link:
        result = read_with_gdal(link, "GPKG", subject, limits, layer=layer_name, keep_fid=True)
    if len(result) < rows:  # GDAL ends the stream at a broken page without a word
        raise LayerError(f"{subject} cannot be read to its end; the file is broken")
    return result


def _count_rows(path: Path, layer: str, subject: str) -> int:
    """Count the rows of a table.

    Raises:
        LayerError: they would fill far more than the file has, by default values or by expressions.
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
        raise LayerError(f"{subject} cannot be read; the GeoPackage is broken") from err
    if size > allowed:
        raise LayerError(f"{subject} unpacks to more than {_MAX_RATIO} times the file's size")
    return int(rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _database(path: Path) -> sqlite3.Connection:
    """Open a database whose queries end: one that takes too long is interrupted.

    Raises:
        sqlite3.Error: it is no database, or holds views or virtual tables where GeoPackage has tables.
    """
    database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    deadline = time.monotonic() + _QUERY_S
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
    layer_name = layer if layer is not None else next(iter(tables))
    if tables[layer_name] != "table":
        raise LayerError(f"features {name!r}: layer {layer_name!r} is a view; only tables are read")
    return layer_name
