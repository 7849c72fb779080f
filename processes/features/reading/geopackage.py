"""GeoPackages: the changes that are not in the file yet, and the check that all was read."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
import pyarrow as pa

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_attributes
from processes.features.reading.gdal import plain_link, read_with_gdal
from processes.features.reading.geopackage_schema import BROKEN, choose_layer, open_database
from processes.features.reading.geopackage_table import (
    FeatureTable,
    describe_table,
    find_changed,
    quoted,
    read_columns,
    whole_numbers,
)
from processes.features.reading.limits import require_few_features
from processes.settings import Limits
from processes.sources.stamps import DATABASE_ENDINGS, stamp_file

_MAX_RATIO = 200
_FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
_MAX_VALUE_BYTES = 2**28
_VIRTUAL = 2
"""`hidden` in `PRAGMA table_xinfo` of a column that is computed when it is read."""
_COPIES = 3
"""Times that a database which is being changed is copied."""
_BYTES_AT_ONCE = 2**20
_WAL_ENDING, _JOURNAL_ENDING = DATABASE_ENDINGS
_JOURNAL_MAGIC_BYTES = 8
"""They are zeros where the change is over and the `-journal` was kept (https://www.sqlite.org/fileformat.html)."""
_JOURNAL_MODES = slice(18, 20)
_WAL = b"\x02\x02"
"""Bytes of the header at `_JOURNAL_MODES` of a database in WAL mode (https://www.sqlite.org/fileformat.html)."""


def read_geopackage(path: Path, name: str, layer: str | None, limits: Limits, scratch: Path | None) -> Layer:
    """Read a feature table; the id is its fid, or another key of whole numbers.

    Arguments and errors as `read_layer` has them.
    """
    before = _stamp(path)
    with _whole_database(path, name, scratch) as database:
        result = _read_table(database, name, layer, limits)
    if _stamp(path) != before:
        raise LayerError(f"features {name!r} were changed while they were read; try again")
    return result


def _stamp(path: Path) -> object:
    return stamp_file("", path.resolve(), "", DATABASE_ENDINGS)


@contextmanager
def _whole_database(path: Path, name: str, scratch: Path | None) -> Iterator[Path]:
    """Yield a database to which nobody has to write: a link, or a copy that has the changes from beside the file.

    Programs that have a GeoPackage open keep its last changes in a `-wal` beside it.

    Raises:
        LayerError: a program ended within a change, or the changes cannot be read.
    """
    real = path.resolve()
    _refuse_journal(real, name)
    if not _size_beside(real, _WAL_ENDING, name):
        with plain_link(path, ".gpkg", scratch) as link:
            yield link
        return
    with tempfile.TemporaryDirectory(prefix="classify-", dir=scratch) as folder:
        copy = Path(folder) / "layer.gpkg"
        _copy_unchanged(real, name, copy)
        try:
            with closing(sqlite3.connect(copy)) as database:  # applies the -wal
                database.execute("PRAGMA trusted_schema = OFF")
                (mode,) = database.execute("PRAGMA journal_mode = DELETE").fetchone()
                database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BROKEN as err:
            raise LayerError(f"features {name!r}: not a sound GeoPackage") from err
        if mode != "delete":
            raise LayerError(f"features {name!r}: the changes that are not in the file yet cannot be read")
        yield copy


def _refuse_journal(path: Path, name: str) -> None:
    """Raise LayerError where a `-journal` would take back a change: it may name other files, which SQLite deletes."""
    if not _size_beside(path, _JOURNAL_ENDING, name):
        return
    magic = b""
    with suppress(FileNotFoundError), path.with_name(path.name + _JOURNAL_ENDING).open("rb") as file:
        magic = file.read(_JOURNAL_MAGIC_BYTES)
    if magic.strip(b"\0"):
        raise LayerError(
            f"features {name!r}: a program ended within a change; open the file in it once, so that it is whole"
        )


def _size_beside(path: Path, ending: str, name: str) -> int:
    """Return the size in bytes of a file beside a database; 0 = there is none.

    Raises:
        LayerError: it is a link, a device or a folder.
    """
    try:
        status = path.with_name(path.name + ending).lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(status.st_mode):
        raise LayerError(f"features {name!r}: what lies beside the file with the ending {ending!r} is no plain file")
    return status.st_size


def _copy_unchanged(path: Path, name: str, copy: Path) -> None:
    """Copy a database with its `-wal`, both of the same moment."""
    for _ in range(_COPIES):
        before = _stamp(path)
        sizes = {ending: _size_beside(path, ending, name) for ending in ("", _WAL_ENDING)}
        if shutil.disk_usage(copy.parent).free < sum(sizes.values()) + sizes[_WAL_ENDING]:  # which becomes a part
            raise LayerError(
                f"features {name!r} have changes that are not in the file yet, and there is no space for a copy that "
                "has them; close the file in the program that changes it"
            )
        for ending, size in sizes.items():
            target = copy.with_name(copy.name + ending)
            target.unlink(missing_ok=True)
            if size:
                _copy_bytes(path.with_name(path.name + ending), target, size)
        _refuse_journal(path, name)
        if _stamp(path) == before:
            return
    raise LayerError(f"features {name!r} are being changed by another program; try again")


def _copy_bytes(source: Path, target: Path, size: int) -> None:
    """Copy the first bytes of a file, as many as it had: it may be growing."""
    with source.open("rb") as file, target.open("wb") as copy:
        while size > 0 and (data := file.read(min(size, _BYTES_AT_ONCE))):
            copy.write(data)
            size -= len(data)


def _read_table(path: Path, name: str, layer: str | None, limits: Limits) -> Layer:
    layer_name = choose_layer(path, name, layer)
    subject = f"features {name!r}: layer {layer_name!r}"
    table, rows = _look_at_table(path, layer_name, subject)
    require_few_features(rows, limits, subject)
    with path.open("rb") as file:
        is_wal = file.read(20)[_JOURNAL_MODES] == _WAL
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(_find_changed, path, table, subject)  # while GDAL reads

        def read_attributes(attributes: pa.Table, _incomplete: Set[str]) -> tuple[pa.Table, Sequence[str]]:
            return _complete(path, table, attributes, changed.result(), subject)

        result = read_with_gdal(
            path,
            "GPKG",
            subject,
            rows,
            layer=layer_name,
            has_fid=table.has_fid,
            is_immutable=is_wal,  # else SQLite puts a -wal and a -shm beside the file
            read_attributes=read_attributes,
        )
    return result if table.has_fid else _with_key(result, table.key)


def _find_changed(path: Path, table: FeatureTable, subject: str) -> frozenset[str]:
    try:
        with closing(open_database(path)) as database:
            return find_changed(database, table)
    except BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the GeoPackage is broken") from err


def _complete(
    path: Path, table: FeatureTable, attributes: pa.Table, changed: frozenset[str], subject: str
) -> tuple[pa.Table, Sequence[str]]:
    """Return all attributes of a table, in its order, with warnings.

    Args:
        path: the GeoPackage.
        table: its table.
        attributes: as GDAL gives them.
        changed: names of those that GDAL has changed.
        subject: how messages name the layer.
    """
    given, warnings = plain_attributes(attributes.select([n for n in attributes.column_names if n not in changed]))
    columns = {item.name: (item, values) for item, values in zip(given.schema, given.columns, strict=True)}
    missing = [name for name in table.attributes if name not in columns]
    if missing:
        try:
            with closing(open_database(path)) as database:
                read, of_dates = read_columns(database, table, missing)
        except BROKEN as err:
            raise LayerError(f"{subject} cannot be read; the GeoPackage is broken") from err
        columns |= read
        warnings += of_dates
        given = _table([columns[name] for name in dict.fromkeys([*table.attributes, *given.column_names])])
    return given, [*warnings, *table.warnings]


def _table(columns: Sequence[tuple[pa.Field, pa.ChunkedArray]]) -> pa.Table:
    return pa.table([values for _, values in columns], schema=pa.schema([item for item, _ in columns]))


def _with_key(layer: Layer, key: str | None) -> Layer:
    """Return a layer whose ids are its key, which is an attribute so far, where that is of whole numbers."""
    if key is None or not whole_numbers(layer.attributes.column(key)):
        return layer
    return msgspec.structs.replace(
        layer, ids=layer.attributes.column(key), attributes=layer.attributes.drop_columns([key])
    )


def _look_at_table(path: Path, layer: str, subject: str) -> tuple[FeatureTable, int]:
    """Return a table's description and the number of its rows.

    Raises:
        LayerError: they would fill far more than the file has, by default values or by expressions.
    """
    allowed = max(_MAX_RATIO * path.stat().st_size, _FREE_BYTES)
    table = quoted(layer)
    try:
        with closing(open_database(path)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
            columns = database.execute(f"PRAGMA table_xinfo({table})").fetchall()
            (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - quoted
            size = rows * sum(8 + len(str(default or "")) for _, _, _, _, default, _, _ in columns)
            computed = [quoted(name) for _, name, *_, hidden in columns if hidden == _VIRTUAL]
            lengths = ", ".join(f"length(CAST({name} AS BLOB))" for name in computed) or "0"
            for row in database.execute(f"SELECT {lengths} FROM {table}") if computed else ():  # noqa: S608 - quoted
                size += sum(length or 0 for length in row)
                if size > allowed:
                    break
            description = describe_table(database, layer)
    except BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the GeoPackage is broken") from err
    if size > allowed:
        raise LayerError(f"{subject} unpacks to more than {_MAX_RATIO} times the file's size")
    return description, int(rows)
