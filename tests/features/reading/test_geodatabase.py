"""File geodatabases in, as GDAL writes them, and nothing that does not belong to one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely

from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading.files import read_layer
from processes.settings import Limits
from tables import each_row

BOXES = [shapely.box(x, 5_500_000, x + 10, 5_500_020) for x in (500_000, 500_100, 500_200)]
COLUMNS: dict[str, Any] = {
    "house": np.array([7, 8, 9], np.int32),
    "area": np.array([1.5, 2.25, -3.0]),
    "street": np.array(["Elm", "Ötztal 漢", None], object),
}


def write(
    path: Path, layer: str = "houses", geometry_type: str = "Polygon", geometries: Any = BOXES, **columns: Any
) -> Path:
    table = pa.table(
        {**(columns or COLUMNS), "shape": pa.array(shapely.to_wkb(np.array(geometries, object)), pa.binary())}
    )
    pyogrio.write_arrow(
        table, path, layer=layer, driver="OpenFileGDB", geometry_name="shape", geometry_type=geometry_type, crs="EPSG:32633",
        append=path.exists(),
    )  # fmt: skip
    return path


def read(path: Path, layer: str | None = None, **limits: int) -> Layer:
    return read_layer(path, path.name, layer, Limits(**limits))


def test_a_layer_is_read_with_its_objectids(tmp_path: Path) -> None:
    found = read(write(tmp_path / "town.gdb"))
    assert found.crs is not None
    assert found.ids is not None
    assert found.geometry is not None
    assert (found.name, found.crs.to_epsg(), found.warnings) == ("houses", 32633, ())
    assert found.ids.to_pylist() == [1, 2, 3]
    assert found.attributes.to_pydict() == {name: values.tolist() for name, values in COLUMNS.items()}
    geometries = shapely.from_wkb(found.geometry.to_pylist())
    assert [shape.equals(box) for shape, box in zip(geometries, BOXES, strict=True)] == [True] * 3


def test_an_object_without_geometry_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "town.gdb", geometries=[BOXES[0], None, BOXES[2]])
    found = read(path)
    assert found.ids is not None
    assert found.geometry is not None
    assert found.ids.to_pylist() == [1, 2, 3]
    assert found.geometry.to_pylist()[1] is None


def test_one_of_several_layers_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "town.gdb")
    write(path, "trees", "Point", [shapely.Point(500_000, 5_500_000)], kind=np.array([4]))
    assert read(path, "trees").attributes.column("kind").to_pylist() == [4]
    with pytest.raises(LayerError, match="has 2 layers, pick one with #layer=name: 'houses', 'trees'"):
        read(path)
    with pytest.raises(LayerError, match="no layer 'roads'; there are: 'houses', 'trees'"):
        read(path, "roads")


def test_a_crs_is_not_named(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="this file says its own CRS"):
        read_layer(write(tmp_path / "town.gdb"), "town.gdb", None, Limits(), crs="EPSG:4326")


def test_too_many_objects(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="max_objects = 2"):
        read(write(tmp_path / "town.gdb"), max_objects=2)


def test_only_its_own_plain_files_are_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "town.gdb")
    os.mkfifo(path / "a0000ffff.gdbtable")
    os.mkfifo(path / "pipe")
    (path / "other.shp").write_bytes(b"")
    (path / "a00000fff.gdbtable").symlink_to("/dev/zero")
    assert read(path).attributes.num_rows == 3


def test_links_in_place_of_its_files_lead_nowhere(tmp_path: Path) -> None:
    other = write(tmp_path / "other.gdb")
    path = tmp_path / "town.gdb"
    path.mkdir()
    for part in other.iterdir():
        (path / part.name).symlink_to(part)
    with pytest.raises(LayerError, match="is no file geodatabase: the folder has none of its files"):
        read(path)


@each_row("ending", [".gdbtable", ".gdbtablx"])
def test_what_ends_early_is_refused(tmp_path: Path, ending: str) -> None:
    """GDAL takes a table that has not even its fields, and one whose rows have no places, for an empty one."""
    path = write(tmp_path / "town.gdb")
    (index,) = path.glob("*.spx")  # only what has geometries has one
    part = index.with_suffix(ending)
    whole = part.read_bytes()
    for cut in (0, 20, 41, 100, len(whole) // 2, len(whole) - 25):
        part.write_bytes(whole[:cut])
        with pytest.raises(LayerError, match=r"cannot be read"):
            read(path)


def test_an_empty_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "town.gdb").mkdir()
    with pytest.raises(LayerError, match="is no file geodatabase"):
        read(tmp_path / "town.gdb")
