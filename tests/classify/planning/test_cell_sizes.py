"""A model that was trained on other cell sizes is told of, in the units of the image that it is used on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from affine import Affine

from conftest import definition
from processes.classify.planning.cell_sizes import cell_size_warnings
from processes.classify.planning.sources import Sources
from processes.imagery.image import open_image
from processes.imagery.source import FileSource
from processes.model.arguments import ModelArguments
from processes.model.catalog import Model
from processes.model.definition import parse_definition
from rasters import make_raster
from tables import each_row

UTM, WEB, DEGREES, FEET = "EPSG:32633", "EPSG:3857", "EPSG:4326", "EPSG:2263"
PLACES = {UTM: (500_000, 5_500_000), WEB: (1_670_000, 6_380_000), DEGREES: (15, 49.65), FEET: (980_000, 200_000)}
"""Corners at 49.65 degrees north, but for the last at 40.7."""


def warnings(folder: Path, crs: str, cell_size: float, **keys: Any) -> list[str]:
    x, y = PLACES[crs]
    path = make_raster(
        folder / "a.tif", width=9, height=9, crs=crs, transform=Affine(cell_size, 0, x, 0, -cell_size, y)
    )
    read = parse_definition(json.dumps(definition(**keys)).encode())
    model = Model("m", path.parent, path, "", read, "none", 3, (8, 8), None)
    image = open_image(FileSource(path, "a.tif"), 2**40)
    arguments = ModelArguments(None, 0, False, False)
    return cell_size_warnings(Sources([image], ["/inputs/image"], None, model, arguments))


def limits(low: Any, high: Any, **reference: Any) -> dict[str, Any]:
    """Return both limits as Esri writes them."""
    beside = {"spatialReference": reference} if reference else {}
    return {"MinCellSize": {"x": low, "y": low, **beside}, "MaxCellSize": {"x": high, "y": high, **beside}}


@each_row(
    ("crs", "cell_size", "keys"),
    [
        (UTM, 0.3, {}),
        (UTM, 0.3, limits(0.3, 0.3)),
        (UTM, 0.3, limits(0.29999999, 0.30000001)),
        (UTM, 0.301, limits(0.3, 0.3)),  # rounded when it was written
        (UTM, 0.3, limits(0.3, 0.3, wkid=32633)),
        (
            UTM,
            0.3,
            limits(0.3 / 0.6475, 0.3 / 0.6475, wkid=102100, latestWkid=3857),
        ),  # Web Mercator stretches by 1 / cos
        (WEB, 0.3 / 0.6475, limits(0.3, 0.3, wkid=32633)),
        (UTM, 1, limits(9e-6, 9e-6, wkid=4326)),
        (DEGREES, 9e-6, limits(1, 1, wkid=32633)),
        (FEET, 1, limits(0.3048, 0.3048, wkid=26918)),
        (UTM, 0.3048, limits(1, 1, wkid=102718, latestWkid=2263)),
        (UTM, 0.3, limits(0.3, 0.3, wkid=999_999)),  # no CRS that PROJ knows: the numbers as they are
        (UTM, 0.3, limits(0.3, 0.3, wkt="nonsense")),
        (UTM, 5, {"MinCellSize": 1}),
        (UTM, 0.5, {"MaxCellSize": 1}),
    ],
)
def test_cell_sizes_that_are_the_same_are_not_told(
    tmp_path: Path, crs: str, cell_size: float, keys: dict[str, Any]
) -> None:
    assert warnings(tmp_path, crs, cell_size, **keys) == []


@each_row(
    ("crs", "cell_size", "keys", "shown"),
    [
        (UTM, 0.31, limits(0.3, 0.3), "0.3 to 0.3"),
        (UTM, 0.1, limits(0.3, 0.6), "0.3 to 0.6"),
        (UTM, 0.9, {"MinCellSize": 1}, "1 to any"),
        (UTM, 1.1, {"MaxCellSize": 1}, "0 to 1"),
        (UTM, 0.3, limits(0.3, 0.3, wkid=3857), "0.194"),
        (UTM, 1, limits(1, 1, wkid=2263), "0.3048"),
        (DEGREES, 1e-5, limits(0.3, 0.3, wkid=32633), "2.69"),
    ],
)
def test_other_cell_sizes_are_told_in_the_image_s_units(
    tmp_path: Path, crs: str, cell_size: float, keys: dict[str, Any], shown: str
) -> None:
    (warning,) = warnings(tmp_path, crs, cell_size, **keys)
    assert warning.startswith(f"the cell size {cell_size:g} of image 'a.tif' lies outside the model's range, ")
    assert shown in warning
