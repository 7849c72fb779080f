"""Stamps of files, and of what lies beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from processes.errors import RequestError
from processes.sources.stamps import DATABASE_ENDINGS, SHAPEFILE_ENDINGS, FileStamp, require_unchanged_files, stamp_file
from tables import each_row


def stamped(path: Path) -> FileStamp:
    stamp = stamp_file("/inputs/features/href", path, "town.gpkg", DATABASE_ENDINGS)
    assert stamp is not None
    return stamp


@each_row("ending", ["", "-wal", "-journal"])
def test_stamp_of_a_geopackage_covers_its_last_changes(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(b"database")
    beside = path.with_name(f"a.gpkg{ending}")
    before = stamped(path)
    require_unchanged_files([before])
    beside.write_bytes(b"a change")  # or what was not there comes
    os.utime(beside, ns=(0, before.mtime_ns + 1))
    changed = stamped(path)
    with pytest.raises(RequestError, match=r"'town\.gpkg' was changed"):
        require_unchanged_files([before])
    beside.write_bytes(b"another change")
    with pytest.raises(RequestError, match=r"'town\.gpkg' was changed"):
        require_unchanged_files([changed])
    require_unchanged_files([stamped(path)])
    os.truncate(beside, 0)
    os.utime(beside, ns=(0, 0))
    assert stamped(path) != changed


def test_file_that_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg-wal").write_bytes(b"x")
    assert stamp_file("", tmp_path / "a.gpkg", "a.gpkg", DATABASE_ENDINGS) is None


@each_row("ending", [".shp", ".dbf", ".PRJ", ".cpg"])
def test_stamp_of_a_shapefile_covers_the_files_beside_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "a.shp"
    for name in (path, path.with_suffix(".dbf")):
        name.write_bytes(b"some")
    before = stamp_file("", path, "a.shp", SHAPEFILE_ENDINGS)
    (tmp_path / "b.dbf").write_bytes(b"of another one")
    assert stamp_file("", path, "a.shp", SHAPEFILE_ENDINGS) == before
    path.with_suffix(ending).write_bytes(b"more")
    os.utime(path.with_suffix(ending), ns=(0, before.mtime_ns + 1 if before else 0))
    assert stamp_file("", path, "a.shp", SHAPEFILE_ENDINGS) != before


def test_stamp_of_a_geodatabase_covers_its_files_but_not_who_looks_at_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gdb"
    path.mkdir()
    table = path / "a00000009.gdbtable"
    table.write_bytes(b"rows")
    before = stamp_file("", path, "a.gdb")
    assert before is not None
    (path / "HOST.1.sr.lock").write_bytes(b"somebody has it open")
    os.utime(path, ns=(0, 0))
    assert stamp_file("", path, "a.gdb") == before
    table.write_bytes(b"other rows")
    assert stamp_file("", path, "a.gdb") != before
