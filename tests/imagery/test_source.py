"""Image sources: how they travel with a plan, and how their change is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from affine import Affine

from processes.errors import RequestError
from processes.imagery.grid import Grid
from processes.imagery.source import FileSource, require_unchanged
from rasters import make_raster


def test_a_file_of_the_run_itself_is_kept_with_the_plan(tmp_path: Path) -> None:
    folder, kept = tmp_path / "opened", dict[str, Path]()
    source = FileSource(folder / "inline-1.png", "image-1").save(folder, kept.__setitem__)
    assert kept == {"opened-inline-1.png": folder / "inline-1.png"}
    assert (
        source.locate(lambda name: tmp_path / "fetched" / name, None).path
        == tmp_path / "fetched" / "opened-inline-1.png"
    )


def test_any_other_file_is_read_where_it_lies(tmp_path: Path) -> None:
    source, kept = FileSource(tmp_path / "a.tif", "a.tif"), dict[str, Path]()
    assert source.save(tmp_path / "opened", kept.__setitem__).locate(Path, None) == source
    assert not kept


def test_a_changed_file_is_named_as_the_request_names_it(tmp_path: Path) -> None:
    source = FileSource(make_raster(tmp_path / "a.tif"), "a.tif")
    stamp = source.stamp("/inputs/image/href")
    assert stamp is not None
    require_unchanged([source.named("a.tif-2")], [stamp])
    os.utime(source.path, ns=(0, 0))
    require_unchanged([FileSource(tmp_path / "b.tif", "b.tif")], [stamp])
    with pytest.raises(RequestError, match=r"'a\.tif' was changed"):
        require_unchanged([source.named("a.tif-2")], [stamp])


def test_a_grid_without_reference_has_no_crs() -> None:
    with pytest.raises(ValueError, match="no CRS"):
        _ = Grid(Affine.identity(), 4, 4).crs
