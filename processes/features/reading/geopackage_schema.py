"""What a GeoPackage holds: tables, and nothing that runs SQL or code of the file's writer where tables are expected.

SQLite runs what stands in the column `sql` of its schema, whatever the columns `type` and `name` beside it say. So the
text decides here what a thing is.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from processes.errors import LayerError

BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""sqlite quotes a broken schema, whose bytes need not be text."""
_QUERY_S = 30
"""Seconds after which a query is interrupted."""
_BYTES_PER_S = 2**25
"""A query of a large file may take a second more for each."""
_NAME = r"""("(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]|[^\0-#%-/:-@[-^`{-\x7f]+)"""
"""Without quotes: letters and digits of ASCII, `_`, `$`, and whatever is not ASCII."""
_ENTRY = re.compile(rf"(?i:CREATE (VIRTUAL TABLE|TABLE|VIEW|UNIQUE INDEX|INDEX|TRIGGER))\s+{_NAME}(?=[\s(])")
"""SQLite writes the text anew, as far as the name: one blank, no comment, no `IF NOT EXISTS`, no schema."""
_RTREE = re.compile(r"\s+USING\s+(?:rtree|\"rtree\")\s*\(", re.IGNORECASE)
"""What follows the name of a spatial index, the only virtual table of a GeoPackage (OGC 12-128r19, annex F.3)."""
_OURS = ("gpkg_", "rtree_", "sqlite_")
"""Beginnings of names that GeoPackage and SQLite give to tables."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database whose queries end: one that takes too long is interrupted.

    Raises:
        sqlite3.Error: it is no database, or holds views or virtual tables where GeoPackage has tables.
    """
    database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    try:
        deadline = time.monotonic() + _QUERY_S + path.stat().st_size / _BYTES_PER_S
        database.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
        database.execute("PRAGMA trusted_schema = OFF")
        _kinds(database)
    except BaseException:
        database.close()
        raise
    return database


def choose_layer(path: Path, name: str, layer: str | None) -> str:
    """Return the feature table to read; a view could hold any query and is refused.

    Args:
        path: the GeoPackage.
        name: of the file in messages.
        layer: the one that the client names; None = the only one.

    Raises:
        LayerError: there is no such layer, or it is no table, or the file is no GeoPackage.
    """
    try:
        with closing(open_database(path)) as database:
            kinds = _kinds(database)
            rows = database.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features' ORDER BY rowid")
            tables = {str(table): kinds[str(table).lower()] for (table,) in rows if str(table).lower() in kinds}
    except BROKEN as err:
        raise LayerError(f"features {name!r}: not a sound GeoPackage") from err
    listed = ", ".join(repr(table) for table in tables) or "none"
    if layer is not None and layer not in tables:
        raise LayerError(f"features {name!r} have no layer {layer!r}; there are: {listed}")
    if layer is None and len(tables) != 1:
        raise LayerError(f"features {name!r} have {len(tables)} layers, pick one with #layer=name; there are: {listed}")
    layer_name = layer if layer is not None else next(iter(tables))
    if tables[layer_name] != "table":
        raise LayerError(f"features {name!r}: layer {layer_name!r} is a {tables[layer_name]}; only tables are read")
    return layer_name


def _kinds(database: sqlite3.Connection) -> Mapping[str, str]:
    """Return `table`, `view` or `virtual table` by name, in lower case.

    Raises:
        sqlite3.DatabaseError: something is no entry of SQLite's own writing, or runs where GeoPackage has tables.
    """
    kinds = {}
    for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"):
        entry = _ENTRY.match(sql) if isinstance(sql, str) else None
        if entry is None:
            raise sqlite3.DatabaseError("a schema that SQLite has not written")
        kind, name = entry[1].lower(), _unquoted(entry[2]).lower()
        if kind == "virtual table" and not _RTREE.match(sql, entry.end()):
            raise sqlite3.DatabaseError("a virtual table that is no spatial index")
        if kind == "view" and name.startswith(_OURS):
            raise sqlite3.DatabaseError("a view in the place of a table")
        if kind in ("table", "view", "virtual table"):
            kinds[name] = kind
    return kinds


def _unquoted(name: str) -> str:
    """Return a name as SQLite has it, without quotation marks."""
    mark = name[0]
    if mark == "[":
        return name[1:-1]
    return name[1:-1].replace(mark * 2, mark) if mark in "\"'`" else name
