"""Chips equal a slow, plain reference that reads each one by rasterio alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

import oracle
from processes.crs import CrsTransform, crs_from_text, parse_crs
from processes.imagery.chips import ChipReader
from processes.imagery.grid import ChipRule, Grid, holds_centre
from processes.imagery.image import open_image
from processes.imagery.mosaic import Mosaic
from processes.imagery.outline import polygon_masks
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from rasters import (
    NORTH_UP,
    SOUTH_UP,
    box_around,
    box_with_hole,
    make_raster,
    multi_part,
    rotated,
    to_map,
    triangle_through_centres,
)

Chip = tuple[NDArray[np.float32] | None, str]

FIXED = oracle.ChipRule(16, 12)
VARIABLE = oracle.ChipRule(16, 12, fixed=False)
BLACKENED = oracle.ChipRule(16, 12, blacken=True)
BLACKENED_VARIABLE = oracle.ChipRule(16, 12, fixed=False, blacken=True)
RULES = pytest.mark.parametrize(
    "rule",
    [FIXED, VARIABLE, BLACKENED, BLACKENED_VARIABLE],
    ids=["fixed", "variable", "blackened", "blackened-variable"],
)
WIDTH, HEIGHT = 64, 48


def cut(
    paths: Sequence[Path], shapes: Sequence[Any], rule: oracle.ChipRule, crs: str | None = None, batch: int = 3
) -> list[Chip]:
    """Cut chips as the service does, in the oracle's form."""
    images = [open_image(FileSource(path, path.name), 10**12) for path in paths]
    geometries = np.array(shapes, dtype=object)
    if crs is not None:
        geometries = CrsTransform(parse_crs(crs), images[0].grid.crs).geometries(geometries)
    mosaic = Mosaic(images)
    ours = ChipRule(rule.width, rule.height, rule.fixed, rule.cell_size)
    placement = mosaic.place(geometries, ours)
    empty = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    chips: list[Chip] = [(None, "empty-geometry" if missing else "outside-image") for missing in empty]
    selections = [BandSelection(image.data_bands if rule.bands is None else rule.bands) for image in images]
    footprints = (lambda rows: geometries[rows]) if rule.blacken else None
    with gdal_settings(), TileReader(images, selections) as tiles:
        reader = ChipReader(tiles, placement, ours, footprints, mosaic.neighbours if len(images) > 1 else None)
        order = tiles.reading_order(placement.image, placement.windows)
        for start in range(0, len(order), batch):
            found = reader.read(order[start : start + batch])
            for place, row in enumerate(found.rows):
                if found.touched[place]:
                    chip = found.chips[place].astype(np.float32)
                    chips[row] = (chip, "ok") if found.valid[place] else (None, "nodata")
    return chips


def agree(paths: Sequence[Path], shapes: Sequence[Any], rule: oracle.ChipRule, crs: str | None = None) -> list[str]:
    """Assert that each chip is the oracle's, and return the statuses."""
    statuses = []
    for shape, (chip, status) in zip(shapes, cut(paths, shapes, rule, crs), strict=True):
        expected, expected_status = oracle.chip(paths, shape, rule, crs)
        assert status == expected_status, shape
        if expected is not None:
            assert chip is not None
            exact = rule.fixed and rule.cell_size is None
            np.testing.assert_allclose(
                chip, expected, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-4, err_msg=str(shape)
            )
        statuses.append(status)
    return statuses


def around(column: float, row: float, width: float, height: float) -> Any:
    """Return a box by its centre in pixel coordinates of the default grid."""
    return to_map(box_around(column, row, width, height))


def everywhere(transform: Affine = NORTH_UP) -> list[Any]:
    """Return objects of every kind at every kind of place of a WIDTH x HEIGHT image."""
    places = [
        (32, 24),
        (0, 0),
        (WIDTH, HEIGHT),
        (3.2, 20.7),
        (61.5, 2),
        (30, 47.5),
        (-4, 20),
        (-30, 5),
        (70, 60),
        (31.5, 23.5),
        (8, 40),
    ]
    shapes: list[Any] = [to_map(shapely.box(x - 5.3, y - 3.1, x + 5.2, y + 4.4), transform) for x, y in places]
    shapes += [to_map(shapely.Point(x, y), transform) for x, y in places]
    shapes += [to_map(shapely.LineString([(x, y), (x + 7.5, y + 3)]), transform) for x, y in places]
    tiny = [to_map(shapely.box(x + 0.6, y + 0.6, x + 0.9, y + 0.9), transform) for x, y in places]
    wide = to_map(shapely.box(-20, -20, WIDTH + 20, HEIGHT + 20), transform)
    return [*shapes, *tiny, wide, None, shapely.Polygon(), to_map(shapely.MultiPoint([(10, 10), (20, 15)]), transform)]


@RULES
def test_chips_of_every_kind_at_every_place(tmp_path: Path, rule: oracle.ChipRule) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT)
    statuses = agree([path], everywhere(), rule)
    assert {"ok", "outside-image", "empty-geometry"} <= set(statuses)


@RULES
@pytest.mark.parametrize(
    "transform", [SOUTH_UP, rotated(30), rotated(-75)], ids=["south-up", "30-degrees", "-75-degrees"]
)
def test_chips_of_turned_images(tmp_path: Path, rule: oracle.ChipRule, transform: Affine) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, transform=transform)
    agree([path], everywhere(transform), rule)


@pytest.mark.parametrize(
    ("dtype", "bands"),
    [
        *[("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint8", 8), ("int8", 3), ("uint16", 8), ("int16", 1)],
        *[("uint32", 4), ("int32", 3), ("float32", 4), ("float32", 1), ("float64", 8)],
    ],
)
def test_chips_of_every_cell_type_and_band_count(tmp_path: Path, dtype: str, bands: int) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, dtype=dtype, bands=bands)
    agree([path], everywhere()[::2], BLACKENED)
    agree([path], everywhere()[:12], VARIABLE)


@pytest.mark.parametrize(
    "layout",
    [
        {"tiled": True, "blocksize": 16, "width": 200, "height": 150},
        {"tiled": True, "blocksize": 256, "width": 700, "height": 600},
        {"tiled": True, "blocksize": 512, "width": 1300, "height": 1100},
        {"tiled": False, "width": 300, "height": 200},
        {"tiled": False, "blocksize": 7, "width": 300, "height": 200},
        {"tiled": True, "blocksize": 512, "width": 1300, "height": 1100, "compress": "deflate", "interleave": "pixel"},
    ],
    ids=["16", "256", "512", "strips", "strips-of-7", "512-pixel-interleaved"],
)
def test_chips_of_every_block_layout(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = make_raster(tmp_path / "a.tif", **layout)
    rng = np.random.default_rng(1)
    places = rng.uniform((-10, -10), (layout["width"] + 10, layout["height"] + 10), (60, 2))
    seams = [(x, y) for x in (256, 512, 1024, 16) for y in (256, 512, 1024, 14)]
    shapes = [around(x, y, *rng.uniform(1, 40, 2)) for x, y in [*places, *seams]]
    agree([path], shapes, FIXED)
    agree([path], shapes, BLACKENED_VARIABLE)


@pytest.mark.parametrize(
    ("rule", "dtype", "nodata"),
    [
        (FIXED, "uint8", 0),
        (VARIABLE, "uint8", 0),
        (BLACKENED, "uint8", 0),
        (BLACKENED_VARIABLE, "uint8", 0),
        (BLACKENED_VARIABLE, "int16", -9999),
        (FIXED, "float32", float("nan")),
        (BLACKENED, "float64", -1.7e308),
    ],
)
def test_nodata_cells_are_zero(tmp_path: Path, rule: oracle.ChipRule, dtype: str, nodata: float) -> None:
    boxes = [(0, 0, 20, 20), (30, 20, 34, 48), (50, 0, 64, 30)]
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, dtype=dtype, nodata=nodata, nodata_boxes=boxes)
    statuses = agree([path], [*everywhere(), around(8, 8, 3, 3), around(57, 12, 2, 2)], rule)
    assert "nodata" in statuses


@RULES
def test_cells_that_a_mask_band_hides_are_zero(tmp_path: Path, rule: oracle.ChipRule) -> None:
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[5:30, 10:40] = False
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, mask=mask)
    assert "nodata" in agree([path], [*everywhere(), around(25, 17, 4, 4)], rule)


@pytest.mark.parametrize(
    ("rule", "bands"), [(FIXED, 1), (VARIABLE, 3), (BLACKENED, 3), (BLACKENED_VARIABLE, 1), (FIXED, 3)]
)
def test_transparent_cells_are_zero_and_alpha_is_no_band(tmp_path: Path, rule: oracle.ChipRule, bands: int) -> None:
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, 20:40] = 0
    alpha[20:30, 20:40] = 128
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, bands=bands, alpha=alpha)
    agree([path], everywhere(), rule)


HOLES = (slice(10, 30), slice(20, 44))
"""Rows and columns of cells that are not there."""


def image_with_holes(path: Path, kind: str, seed: int = 0) -> Path:
    """Write an image whose cells in `HOLES` are not there: transparent, no numbers, or in the palette transparent."""
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "seed": seed}
    if kind == "numbers":
        path = make_raster(path, dtype="float32", bands=3, **size)
        with rasterio.open(path, "r+") as image:
            cells = image.read()
            cells[1, *HOLES] = np.nan
            cells[2, 12, 22] = np.inf
            image.write(cells)
        return path
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[HOLES] = 0
    if kind == "alpha":
        return make_raster(path, bands=4, dtype="uint16", alpha=alpha, photometric="minisblack", **size)
    places = np.random.default_rng(seed).integers(2, 9, (1, HEIGHT, WIDTH)).astype(np.uint8)
    places[0, *HOLES] = places[0, *HOLES] % 2
    colors = {place: (place * 20, 255 - place, 7, 0 if place < 2 else 255) for place in range(9)}
    return make_raster(path, values=places, driver="PNG", colormap=colors, tiled=False)


@RULES
@pytest.mark.parametrize("kind", ["numbers", "alpha", "palette"])
def test_cells_that_are_not_there_are_zero_and_other_images_fill_them(
    tmp_path: Path, rule: oracle.ChipRule, kind: str
) -> None:
    first = image_with_holes(tmp_path / "a", kind)
    shapes = [*everywhere()[::3], around(33, 20, 4, 4), around(30, 18, 60, 40), around(32, 24, 6, 6)]
    assert "nodata" in agree([first], shapes, rule)
    second = image_with_holes(tmp_path / "b", kind, seed=1)
    with rasterio.open(second, "r+") as image:
        image.transform = NORTH_UP @ Affine.translation(15, 4)
    assert "nodata" not in agree([first, second], [around(33, 20, 4, 4), around(30, 18, 60, 40)], rule)


def test_blackening_follows_outlines_of_every_kind(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT)
    rng = np.random.default_rng(3)
    outer, hole, other = (
        shapely.box(20.5, 10.5, 40.5, 30.5),
        shapely.box(25.5, 15.5, 30.5, 20.5),
        shapely.box(35, 25, 45, 35),
    )
    slanted = shapely.Polygon([(33, 22), (38, 22), (35.5, 27)])
    parts = [
        box_with_hole(outer, hole, slanted),
        triangle_through_centres(20, 10, 15),
        multi_part(outer, other),
        multi_part(hole, other),
    ]
    shapes: list[Any] = [to_map(part) for part in parts]
    for step in (0.5, 0.25, 1e-3):
        for _ in range(25):
            corners = np.round(rng.uniform((10, 8), (54, 40), (rng.integers(3, 9), 2)) / step) * step
            outline = shapely.convex_hull(shapely.MultiPoint(corners))
            if outline.area > 0:
                shapes.append(to_map(outline))
    for rule in (BLACKENED, BLACKENED_VARIABLE, oracle.ChipRule(64, 64, blacken=True)):
        agree([path], shapes, rule)


@RULES
def test_features_of_another_crs_are_transformed_vertex_by_vertex(tmp_path: Path, rule: oracle.ChipRule) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT)
    with rasterio.open(path) as dataset:
        to_lonlat = CrsTransform(crs_from_text(dataset.crs.to_wkt()), parse_crs("EPSG:4326"))
    shapes = to_lonlat.geometries(np.array(everywhere(), dtype=object))
    agree([path], list(shapes), rule, "EPSG:4326")


@pytest.mark.parametrize("cell_size", [0.1, 0.3, 0.45, 2.0])
def test_cell_size_widens_the_window_around_the_same_centre(tmp_path: Path, cell_size: float) -> None:
    path = make_raster(
        tmp_path / "a.tif", width=WIDTH, height=HEIGHT, transform=Affine(0.3, 0, 500000, 0, -0.3, 5000000)
    )
    shapes = everywhere(Affine(0.3, 0, 500000, 0, -0.3, 5000000))
    agree([path], shapes, oracle.ChipRule(16, 12, cell_size=cell_size))
    agree([path], shapes, oracle.ChipRule(16, 12, fixed=False, cell_size=cell_size))


def test_bands_are_taken_in_the_order_asked_for(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, bands=8)
    agree([path], everywhere(), oracle.ChipRule(16, 12, bands=(7, 0, 3)))


@RULES
def test_objects_far_from_all_images_of_a_mosaic_have_no_chip(tmp_path: Path, rule: oracle.ChipRule) -> None:
    paths = [
        make_raster(tmp_path / f"{number}.tif", transform=NORTH_UP @ Affine.translation(number * WIDTH, 0))
        for number in range(3)
    ]
    place = shapely.Point(NORTH_UP @ (90 * WIDTH, 90))
    assert cut(paths, [place, None], rule) == [(None, "outside-image"), (None, "empty-geometry")]


@RULES
def test_mosaic_takes_missing_cells_from_the_next_image(tmp_path: Path, rule: oracle.ChipRule) -> None:
    move = Affine.translation
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[10:30, 40:] = False
    paths = [
        make_raster(tmp_path / "a.tif", width=WIDTH, height=HEIGHT, mask=mask, seed=1),
        make_raster(tmp_path / "b.tif", width=WIDTH, height=HEIGHT, transform=NORTH_UP @ move(50, 5), seed=2),
        make_raster(tmp_path / "c.tif", width=WIDTH, height=HEIGHT, transform=NORTH_UP @ move(-60.4, 30.6), seed=3),
        make_raster(
            tmp_path / "d.tif",
            width=WIDTH,
            height=HEIGHT,
            transform=NORTH_UP @ move(20, 40) @ Affine.scale(0.7),
            seed=4,
        ),
        make_raster(
            tmp_path / "e.tif",
            width=WIDTH,
            height=HEIGHT,
            transform=NORTH_UP @ move(4000, 40) @ Affine.rotation(20),
            seed=5,
        ),
    ]
    rng = np.random.default_rng(5)
    places = [*rng.uniform((-70, -10), (120, 90), (60, 2)), *rng.uniform((3990, 30), (4060, 90), (15, 2))]
    shapes = [around(x, y, *rng.uniform(0.5, 12, 2)) for x, y in places]
    for order in (paths, paths[::-1]):
        agree(order, shapes, rule)


def test_large_windows_reduced_in_blocks_are_near_the_exact_chip(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", width=1500, height=1100, nodata=0, nodata_boxes=[(100, 100, 700, 500)])
    rule = oracle.ChipRule(24, 20, fixed=False, blacken=True)
    shapes = [around(750, 550, 1490, 1090), to_map(shapely.Point(700, 500).buffer(480))]
    for shape, (chip, status) in zip(shapes, cut([path], shapes, rule), strict=True):
        expected, _ = oracle.chip([path], shape, rule)
        assert status == "ok"
        assert chip is not None
        assert expected is not None
        np.testing.assert_allclose(chip, expected, atol=1.3)  # of 255


def test_a_centre_on_the_edge_is_held_whatever_the_sum_s_last_digit() -> None:
    boxes = np.array([[-32.303104, 0, 64.303104, 8], [13, 0, 19, 8], [13, 0, 19.000001, 8], [-1, 0, 1, 0]], np.float64)
    assert holds_centre(boxes, Grid(NORTH_UP, 16, 8)).tolist() == [True, True, False, True]


def test_parts_are_united_in_the_chip_that_they_belong_to() -> None:
    two = multi_part(shapely.box(1, 1, 4, 4), shapely.box(3, 3, 7, 5))
    polygons = np.array([None, two, None, shapely.box(0, 0, 2, 9)], object)
    masks = polygon_masks(polygons, np.zeros((4, 2)), (8, 6))
    assert masks.sum(axis=(1, 2)).tolist() == [0, 9 + 8 - 1, 0, 12]
    alone = polygon_masks(np.array([None, two], object), np.zeros((2, 2)), (8, 6))
    np.testing.assert_array_equal(alone, masks[:2])
