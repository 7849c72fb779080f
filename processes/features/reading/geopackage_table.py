"""A GeoPackage's feature table as SQLite has it: its columns, and the values that GDAL leaves out or changes.

A column of SQLite holds values of any type, whatever type it declares. GDAL leaves out columns whose declared type
GeoPackage does not know, and forces the values of the others into that type: a text in an INTEGER column becomes 0.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from processes.features.layer import JSON_COLUMN
from processes.features.reading.attributes import dates_of_values, json_texts, unread_warning
from processes.features.reading.columns import AttributeColumn

_GEOMETRIES = re.compile(
    r"(?:GEOMETRY|POINT|LINESTRING|POLYGON|(?:MULTI|GEOM(?:ETRY)?)(?:POINT|LINESTRING|POLYGON|COLLECTION|CURVE|SURFACE)"
    r"|CIRCULARSTRING|COMPOUNDCURVE|CURVEPOLYGON|CURVE|SURFACE|POLYHEDRALSURFACE|TIN|TRIANGLE)",
    re.IGNORECASE,
)
_TIMED = re.compile(r"\s*\d{4}[-/]\d{1,2}[-/]\d{1,2}[T ](?=.*[1-9])\s*\d")
"""A date with a time that is not midnight."""
_CHANGED: Mapping[str, str] = {
    "BOOLEAN": "({0} & 1) IS NOT {0}",
    "TINYINT": "({0} << 32) >> 32 IS NOT {0}",
    "SMALLINT": "({0} << 48) >> 48 IS NOT {0}",
    "MEDIUMINT": "({0} << 32) >> 32 IS NOT {0}",
    "INT": "({0} | 0) IS NOT {0}",
    # Veltkamp's splitting: a double of more than the 24 bits of a float differs from its upper part
    "FLOAT": "{0} * 536870913.0 - ({0} * 536870913.0 - {0}) IS NOT {0} AND abs({0}) IS NOT 9e999",
    "DOUBLE": "{0} + 0.0 IS NOT {0}",
    "REAL": "{0} + 0.0 IS NOT {0}",
    "NUMERIC": "{0} + 0.0 IS NOT {0}",
    # a modifier, without which SQLite takes the 30th of February; and there is no year 0
    # numbers come before texts, and texts before bytes; `typeof` takes twice as long
    "TEXT": "{0} >= x''",
    "BLOB": "{0} < x''",
    "DATE": "date({0}, '+0 days') IS NOT {0} OR CAST({0} AS TEXT) < '0001'",
}
"""By declared type, what is true in SQL of a value that GDAL would change."""


class FeatureTable(msgspec.Struct, frozen=True):
    """A feature table, as its database describes it."""

    name: str
    columns: Mapping[str, str]
    """Declared type in capitals, without a length, by name, in the order of the table."""
    geometry: str
    """Name of the column of the geometries."""
    key: str | None
    """Name of the one column of the primary key; None = there is no key, or it has several columns."""
    has_fid: bool
    """True = the key is SQLite's own row number, by which rows are stored."""

    @property
    def attributes(self) -> list[str]:
        """Names of the columns that are neither the fid nor a geometry, in their order."""
        left_out = {self.geometry, self.key if self.has_fid else ""}
        return [name for name, declared in self.columns.items() if name not in left_out and not _is_geometry(declared)]

    @property
    def warnings(self) -> list[str]:
        """Sentences about columns that are not read."""
        others = [name for name, declared in self.columns.items() if name != self.geometry and _is_geometry(declared)]
        return [f"the column {name!r} is left out: it is a second geometry" for name in others]


def describe_table(database: sqlite3.Connection, name: str) -> FeatureTable:
    """Return the description of a table of these letters.

    Raises:
        sqlite3.Error: the database is broken.
    """
    table = quoted(name)
    columns = database.execute(f"PRAGMA table_xinfo({table})").fetchall()
    keys = [column for _, column, _, _, _, position, _ in columns if position]
    # the key has an index of its own where it is not the row number
    has_index = any(origin == "pk" for _, _, _, origin, _ in database.execute(f"PRAGMA index_list({table})"))
    geometry = database.execute(
        "SELECT column_name FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)", (name,)
    ).fetchone()
    named = str(geometry[0]).lower() if geometry else ""
    return FeatureTable(
        name=name,
        columns={column: re.sub(r"\s*\(.*", "", declared.strip().upper()) for _, column, declared, *_ in columns},
        geometry=next((column for _, column, *_ in columns if column.lower() == named), ""),
        key=keys[0] if len(keys) == 1 else None,
        has_fid=len(keys) == 1 and not has_index,
    )


def find_changed(database: sqlite3.Connection, table: FeatureTable) -> frozenset[str]:
    """Return the names of attributes some of whose values GDAL would change.

    Raises:
        sqlite3.Error: the database is broken.
    """
    tests = {name: test for name in table.attributes if (test := _test(name, table.columns[name])) is not None}
    if not tests:
        return frozenset()
    any_test = " OR ".join(tests.values())
    rows = f"FROM {quoted(table.name)} NOT INDEXED"
    if database.execute(f"SELECT 1 {rows} WHERE {any_test} LIMIT 1").fetchone() is None:
        return frozenset()
    found = database.execute(f"SELECT {', '.join(f'max({test})' for test in tests.values())} {rows}").fetchone()
    return frozenset(name for name, is_changed in zip(tests, found, strict=True) if is_changed)


def read_columns(
    database: sqlite3.Connection, table: FeatureTable, names: Sequence[str]
) -> tuple[Mapping[str, tuple[pa.Field, pa.ChunkedArray]], Sequence[str]]:
    """Read columns as SQLite has them, in the order in which rows are stored, which is that of GDAL.

    Args:
        database: the GeoPackage.
        table: of the database.
        names: of the columns.

    Returns:
        Field and values, `(n,)`, by name, and warnings of dates that are none or have a time.

    Raises:
        sqlite3.Error: the database is broken.
    """
    selected = ", ".join(map(quoted, names))
    rows = database.execute(f"SELECT {selected} FROM {quoted(table.name)} NOT INDEXED").fetchall()  # noqa: S608 - quoted
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    columns, warnings = {}, []
    for name, of_column in zip(names, values, strict=True):
        if table.columns[name] == "DATE":
            dates, is_unread = dates_of_values(of_column)
            columns[name] = pa.field(name, dates.type), pa.chunked_array([dates])
            warnings += [*unread_warning("date", name, is_unread), *_cut_warning(name, of_column)]
        else:
            columns[name] = _column(name, table.columns[name], of_column)
    return columns, warnings


def _cut_warning(name: str, values: Sequence[object]) -> list[str]:
    """Return a warning of dates that have a time, in a list that is empty where there are none."""
    indices = [index for index, value in enumerate(values) if isinstance(value, str) and _TIMED.match(value)]
    if not indices:
        return []
    if len(indices) == 1:
        return [f"1 date of the attribute {name!r} has a time, which is left out: that of feature {indices[0] + 1}"]
    return [
        f"{len(indices)} dates of the attribute {name!r} have a time, which is left out; "
        f"the first is that of feature {indices[0] + 1}"
    ]


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _test(name: str, declared: str) -> str | None:
    test = _CHANGED.get("INT" if declared.startswith("INT") else declared)
    return None if test is None else f"({test.format(quoted(name))})"


def _is_geometry(declared: str) -> bool:
    return _GEOMETRIES.fullmatch(declared) is not None


def _column(name: str, declared: str, values: Sequence[object]) -> tuple[pa.Field, pa.ChunkedArray]:
    """Return values of SQLite, whole numbers, fractions, texts and bytes, as a column of the type that holds all."""
    types = {type(value) for value in values} - {type(None)}
    if types == {bytes}:
        return pa.field(name, pa.binary()), pa.chunked_array([pa.array(values, pa.binary())])
    if declared == "JSON" and types and bytes not in types:
        # SQLite stores the JSON of a number as that number
        texts = json_texts(
            value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
            for value in values
        )
        return pa.field(name, texts.type, metadata=JSON_COLUMN), texts
    if not types:
        dtype = _empty_type(declared)
        return pa.field(name, dtype), pa.chunked_array([pa.nulls(len(values), dtype)])
    column = AttributeColumn()
    column.add(0, list(values))
    return column.to_arrow(name, len(values))


def _empty_type(declared: str) -> pa.DataType:
    """Return the type of a column without values, by SQLite's rules of affinity."""
    if "INT" in declared:
        return pa.int64()
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return pa.string()
    if any(word in declared for word in ("REAL", "FLOA", "DOUB", "DEC", "NUM")):
        return pa.float64()
    return pa.string()


def whole_numbers(values: pa.ChunkedArray) -> bool:
    """Return whether values are whole numbers that tell rows apart."""
    is_whole = pa.types.is_integer(values.type) and not values.null_count
    return is_whole and len(np.unique(values.to_numpy())) == len(values)
