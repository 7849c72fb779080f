"""What is wrong with the places of objects is told: degrees that are none, objects far from images, rough ways."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine

from layers import make_layer
from odd_crs import unknown_datum
from processes.classify.planning.coordinates import DegreesCheck, far_warning, unknown_shift_warnings, way_warnings
from processes.crs import parse_crs
from processes.errors import LayerError
from processes.imagery.image import Image, open_image
from processes.imagery.source import FileSource
from rasters import make_raster
from tables import each_row

BOX = shapely.box(500_000, 2_999_000, 500_001, 2_999_001)


def checked(crs: str, *slices: Sequence[Any]) -> list[str]:
    check, start = DegreesCheck(parse_crs(crs)), 0
    for shapes in slices:
        check.add(start, np.array(shapes, dtype=object))
        start += len(shapes)
    return check.warnings()


@each_row(
    ("crs", "shapes"),
    [
        ("OGC:CRS84", [shapely.Point(7, 50), shapely.Point(-180, -90), None, shapely.Point()]),
        ("OGC:CRS84", [shapely.Point(359, 90), shapely.Point(-360, 0), shapely.Point(7, 90 + 1e-9)]),
        ("EPSG:4807", [shapely.Point(399, 99)]),  # in grads
        ("EPSG:32617", [BOX]),
        ("OGC:CRS84", [None, shapely.Polygon()]),
        ("OGC:CRS84", []),
    ],
)
def test_degrees_are_taken_as_they_are(crs: str, shapes: list[Any]) -> None:
    assert checked(crs, shapes) == []


@each_row(
    ("crs", "shapes", "words"),
    [
        # case coordinates-not-degrees, 0.3.0
        (
            "OGC:CRS84",
            [shapely.Point(500_020, 2_999_980), None],
            "is CRS84, but none .* feature 1 lies at 500020, 2999980",
        ),
        ("OGC:CRS84", [None, BOX], "feature 2 lies at 500000, 2999000"),
        ("EPSG:4269", [shapely.Point(50, 91)], r"NAD83 \(EPSG:4269\)"),
        ("OGC:CRS84", [shapely.Point(361, 5)], "361, 5"),
        ("EPSG:4807", [shapely.Point(0, 101)], "0, 101"),
        ("OGC:CRS84", [shapely.Point(np.inf, 5)], "inf, 5"),
    ],
)
def test_coordinates_of_which_none_can_be_degrees_are_refused(crs: str, shapes: list[Any], words: str) -> None:
    with pytest.raises(LayerError, match=words):
        checked(crs, shapes)


def test_some_coordinates_that_cannot_be_degrees_are_counted() -> None:
    found = checked("OGC:CRS84", [shapely.Point(7, 50), None], [shapely.Point(7, 90.1), BOX])
    assert found == [
        "2 features have coordinates that cannot be longitude and latitude in CRS84; the first is feature 3, at 7, 90.1"
    ]


def image(path: Path, crs: Any = "EPSG:26917", transform: Affine | None = None) -> Image:
    grid = transform or Affine(0.3, 0, 453_642.5, 0, -0.3, 3_063_015.6)
    return open_image(FileSource(make_raster(path, crs=crs, transform=grid), path.name), 10**9)


def test_objects_that_meet_no_image_are_told_with_both_boxes(tmp_path: Path) -> None:
    images = [image(tmp_path / "a.tif"), image(tmp_path / "b.tif", transform=Affine(1, 0, 453_700, 0, -1, 3_063_000))]
    corners = [item.grid.window_corners(0, 0, 64, 48) for item in images]
    to_crs84 = pyproj.Transformer.from_crs(26917, "OGC:CRS84", always_xy=True)
    x, y = to_crs84.transform(*np.concatenate(corners).T)
    told = ", ".join(f"{number:.10g}" for number in (x.min(), y.min(), x.max(), y.max()))
    swapped = make_layer([shapely.Point(27.69, -81.47), None, shapely.Point(27.6901, -81.4701)], crs="OGC:CRS84")
    found = far_warning(swapped, np.array([0, 2]), images)
    assert f"objects lie within [27.69, -81.4701, 27.6901, -81.47], the images within [{told}]" in found
    assert "in CRS84" in found
    assert found.endswith("with x and y exchanged they would meet: is latitude before longitude?")
    far = far_warning(make_layer([shapely.Point(7, 50)], crs="EPSG:4258"), np.array([0]), images)
    assert "(west, south, east, north in ETRS89 (EPSG:4258))" in far
    assert "exchanged" not in far


@each_row(
    ("layer_crs", "crs", "cell", "words"),
    [
        ("EPSG:4267", "EPSG:26917", 0.3, "is good to 14 m, and a cell of image 'a.tif' has 0.3 m"),  # case nad27-silent
        ("EPSG:4267", "EPSG:26917", 13.9, "14 m"),
        ("EPSG:4267", "EPSG:26917", 14.1, None),
        ("OGC:CRS84", "EPSG:26917", 0.3, "from CRS84 to NAD83 / UTM zone 17N (EPSG:26917) is good to 4 m"),
        ("OGC:CRS84", "EPSG:26917", 5, None),
        ("OGC:CRS84", "EPSG:32617", 0.3, None),
        ("EPSG:26917", "EPSG:26917", 0.3, None),
        ("EPSG:4267", "EPSG:26917+5703", 0.3, "14 m"),
        ("EPSG:4267", "EPSG:4269", 1e-6, "14 m"),  # a tenth of a metre
        ("EPSG:4267", "EPSG:4269", 2e-4, None),  # some twenty metres
        ("EPSG:4267", "EPSG:2236", 1.0, "a cell of image 'a.tif' has 0.305 m"),  # in feet
    ],
)
def test_a_way_that_is_worse_than_a_cell_is_told(
    tmp_path: Path, layer_crs: str, crs: str, cell: float, words: str | None
) -> None:
    known = pyproj.CRS(crs)
    x, y = pyproj.Transformer.from_crs("EPSG:4269", known.to_2d(), always_xy=True).transform(-81.47, 27.69)
    used = pyproj.Transformer.from_crs(layer_crs, known.to_2d(), always_xy=True)
    used.transform(*used.transform(x, y, direction="INVERSE"))
    there = image(tmp_path / "a.tif", known.to_wkt(), Affine(cell, 0, x - 32 * cell, 0, -cell, y + 24 * cell))
    found = way_warnings(parse_crs(layer_crs), [there])
    assert len(found) == (words is not None)
    if words is not None:
        assert words in found[0]
        accuracy = used.get_last_used_operation().accuracy
        assert f"is good to {accuracy:g} m" in found[0]


def test_the_worst_of_the_ways_is_told_once(tmp_path: Path) -> None:
    images = [
        image(tmp_path / f"{n}.tif", transform=Affine(n, 0, 453_642.5, 0, -n, 3_063_015.6)) for n in range(20, 2, -1)
    ]
    (found,) = way_warnings(parse_crs("EPSG:4267"), images)
    assert "image '4.tif'" in found
    assert "us_noaa_" in found


def test_a_datum_without_a_known_shift_is_told(tmp_path: Path) -> None:
    crs = unknown_datum("bessel")
    there = image(tmp_path / "a.tif", crs.to_wkt(), Affine(1, 0, 3_500_000, 0, -1, 5_500_000))
    (found,) = way_warnings(parse_crs("OGC:CRS84"), [there])
    assert "no datum shift from CRS84 to 'unknown' is known" in found
    assert way_warnings(crs, [there]) == []
    (found,) = unknown_shift_warnings(crs, parse_crs("OGC:CRS84"), [there])
    assert "no datum shift from 'unknown' to CRS84 is known" in found
    assert unknown_shift_warnings(crs, None, [there]) == []
    assert unknown_shift_warnings(parse_crs("EPSG:31467"), parse_crs("OGC:CRS84"), [there]) == []
