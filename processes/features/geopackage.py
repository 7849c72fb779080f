"""GeoPackages: which of the tables is the layer, and whether all of it was read."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from processes.errors import LayerError
from processes.features.gdal import called_by_us, read_with_gdal
from processes.features.layer import Layer

_LOOK_S = 30


def read_geopackage(path: Path, name: str, layer: str | None, max_objects: int, scratch: Path | None) -> Layer:
    """Read a feature table, its fid as the id; arguments and errors as `read_layer` has them."""
    chosen = _choose_layer(path, name, layer)
    called = f"features {name!r}: layer {chosen!r}"
    with called_by_us(path, ".gpkg", scratch) as link:
        found = read_with_gdal(link, "GPKG", called, max_objects, layer=chosen, keep_fid=True)
    if len(found) < _count(path, chosen):  # GDAL ends the stream at a broken page without a word
        raise LayerError(f"{called} cannot be read to its end; the file is broken")
    return found


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
