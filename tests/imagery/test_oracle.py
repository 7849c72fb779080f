"""The oracle against facts worked out by hand, and against the expected labels of the real data."""

import csv
import json
import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pyproj import Transformer
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from oracle import ChipRule, chip, covered_cells, whole_image
from rasters import (
    NORTH_UP,
    SOUTH_UP,
    box_around,
    box_with_hole,
    make_raster,
    multi_part,
    random_values,
    rotated,
    to_map,
    triangle_through_centres,
)
from tables import each_row

SHARED = Path(__file__).parents[3] / "shared"
EXIF_ORIENTATION = 0x0112


def ramp(height: int = 8, width: int = 8, dtype: str = "uint16") -> NDArray[Any]:
    """Return one band, `(1, height, width)`, whose cell at (row, column) is 10 * row + column + 1."""
    rows, columns = np.indices((height, width))
    return (10 * rows + columns + 1)[np.newaxis].astype(dtype)


def cut(path: Path | Sequence[Path], shape: BaseGeometry, rule: ChipRule) -> NDArray[np.float32]:
    """Return the first band of the chip of a geometry in pixel coordinates of a `NORTH_UP` image."""
    values, status = chip([path] if isinstance(path, Path) else path, to_map(shape), rule)
    assert status == "ok"
    assert values is not None
    assert values.dtype == np.float32
    return np.asarray(values[0])


def status_of(path: Path | Sequence[Path], shape: BaseGeometry, rule: ChipRule) -> str:
    """Return why a geometry in pixel coordinates of a `NORTH_UP` image has no chip."""
    values, status = chip([path] if isinstance(path, Path) else path, to_map(shape), rule)
    assert values is None
    return status


def shifted(columns: float, rows: float) -> Affine:
    """Return the transform of a grid that starts at this pixel of a `NORTH_UP` image."""
    return Affine(NORTH_UP.a, 0, NORTH_UP.c + columns * NORTH_UP.a, 0, NORTH_UP.e, NORTH_UP.f + rows * NORTH_UP.e)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return an 8 x 8 image of one band, a ramp."""
    return make_raster(tmp_path / "ramp.tif", values=ramp())


# Fixed size


@each_row(
    ("centre", "size", "origin"),
    [(3, 2, 2), (3.5, 2, 2), (4.5, 2, 4), (3, 3, 2), (4, 3, 2), (2, 3, 0), (3.49, 2, 2), (3.51, 2, 3), (2.2, 1, 2)],
)
def test_fixed_window_starts_at_half_to_even_of_centre_minus_half(
    image: Path, centre: float, size: int, origin: int
) -> None:
    found = cut(image, box_around(centre, 4, 1, 1), ChipRule(size, 2))
    assert np.array_equal(found, ramp()[0, 3:5, origin : origin + size])


@each_row(("centre", "origin"), [(3.5000004, 2), (3.500001, 3), (4.4999996, 4), (4.499999, 3)])
def test_pixel_coordinates_are_rounded_to_a_millionth_first(image: Path, centre: float, origin: int) -> None:
    found = cut(image, shapely.Point(centre, 4), ChipRule(2, 2))
    assert np.array_equal(found, ramp()[0, 3:5, origin : origin + 2])


def test_fixed_window_is_centred_on_the_bounding_box_not_the_centroid(image: Path) -> None:
    triangle = shapely.Polygon([(0, 0), (6, 0), (0, 6)])
    assert np.array_equal(cut(image, triangle, ChipRule(2, 2)), ramp()[0, 2:4, 2:4])


def test_width_goes_along_columns_and_height_along_rows(image: Path) -> None:
    assert np.array_equal(cut(image, shapely.Point(4, 4), ChipRule(4, 2)), ramp()[0, 3:5, 2:6])


def test_chip_over_the_edge_is_zero_padded(image: Path) -> None:
    found = cut(image, shapely.Point(0, 8), ChipRule(4, 4))
    expected = np.zeros((4, 4))
    expected[:2, 2:] = [[61, 62], [71, 72]]
    assert np.array_equal(found, expected)


def test_window_that_only_touches_the_edge_is_outside(image: Path) -> None:
    assert status_of(image, shapely.Point(-1, 4), ChipRule(2, 2)) == "outside-image"
    assert status_of(image, shapely.Point(-0.5, 4), ChipRule(2, 2)) == "outside-image"
    assert cut(image, shapely.Point(-0.4, 4), ChipRule(2, 2)).tolist() == [[0, 31], [0, 41]]


def test_centre_on_the_far_edge_may_round_out_of_the_image(image: Path) -> None:
    assert status_of(image, shapely.Point(8, 4), ChipRule(1, 1)) == "outside-image"


def test_geometry_far_away_is_outside(image: Path) -> None:
    assert status_of(image, box_around(500, 500, 3, 3), ChipRule(4, 4)) == "outside-image"


@each_row("geometry", [None, shapely.Polygon(), shapely.MultiPolygon(), shapely.Point()])
def test_geometry_without_coordinates_is_empty(image: Path, geometry: BaseGeometry | None) -> None:
    assert chip([image], geometry, ChipRule(2, 2)) == (None, "empty-geometry")


def test_geometry_collection_is_refused(image: Path) -> None:
    with pytest.raises(ValueError, match="GeometryCollection"):
        chip([image], shapely.GeometryCollection([shapely.Point(1, 1)]), ChipRule(2, 2))


def test_heights_are_ignored(image: Path) -> None:
    flat = to_map(shapely.box(3, 3, 5, 5))
    values, _ = chip([image], shapely.force_3d(flat, 99), ChipRule(2, 2))
    assert values is not None
    assert np.array_equal(values[0], ramp()[0, 3:5, 3:5])


@each_row(("size", "cell_size", "covered"), [(2, 1.0, 4), (3, 0.75, 4), (1, 1.25, 2), (1, 1.75, 4)])
def test_cell_size_makes_the_window_cover_rounded_native_cells(
    image: Path, size: int, cell_size: float, covered: int
) -> None:
    found = cut(image, shapely.Point(4, 4), ChipRule(size, size, cell_size=cell_size))
    start = 4 - covered // 2
    native = ramp(dtype="float32")[0, start : start + covered, start : start + covered]
    expected = Image.fromarray(native).resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(found, np.asarray(expected))


def test_cell_size_covers_at_least_one_cell(image: Path) -> None:
    found = cut(image, shapely.Point(4.5, 4.5), ChipRule(2, 2, cell_size=0.01))
    assert np.array_equal(found, np.full((2, 2), 45))


def test_cell_size_counts_along_each_axis(tmp_path: Path) -> None:
    flat = Affine(0.5, 0, 500_000, 0, -1, 5_000_000)
    path = make_raster(tmp_path / "flat.tif", values=ramp(), transform=flat)
    values, _ = chip([path], to_map(shapely.Point(4, 4), flat), ChipRule(2, 2, cell_size=1))
    native = ramp(dtype="float32")[0, 3:5, 2:6]
    assert values is not None
    assert np.array_equal(values[0], np.asarray(Image.fromarray(native).resize((2, 2), Image.Resampling.BILINEAR)))


# Variable size and resampling


@each_row(
    ("low", "high", "columns"),
    [(1.2, 3.7, (1, 4)), (2, 4, (2, 4)), (2.0000004, 3.9999996, (2, 4)), (1.999999, 4, (1, 4)), (3.1, 3.2, (3, 4))],
)
def test_variable_window_is_the_smallest_of_whole_cells(
    image: Path, low: float, high: float, columns: tuple[int, int]
) -> None:
    width = columns[1] - columns[0]
    found = cut(image, shapely.box(low, 2, high, 4), ChipRule(width, 2, fixed=False))
    assert np.array_equal(found, ramp()[0, 2:4, slice(*columns)])


def test_variable_window_of_an_upright_line_is_one_cell_wide(image: Path) -> None:
    found = cut(image, shapely.LineString([(3, 2), (3, 4)]), ChipRule(1, 2, fixed=False))
    assert np.array_equal(found, [[24], [34]])


def test_variable_window_of_a_point_falls_back_to_fixed_size(image: Path) -> None:
    fixed, variable = ChipRule(2, 2, cell_size=1), ChipRule(2, 2, fixed=False, cell_size=1)
    point = shapely.MultiPoint([(4, 4), (4.0000003, 4)])
    assert np.array_equal(cut(image, point, variable), cut(image, point, fixed))


def test_cell_size_has_no_effect_on_variable_windows(image: Path) -> None:
    found = cut(image, shapely.box(2, 2, 4, 4), ChipRule(2, 2, fixed=False, cell_size=3))
    assert np.array_equal(found, ramp()[0, 2:4, 2:4])


def test_enlarging_is_bilinear(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "pair.tif", values=np.array([[[100, 200]]], np.uint8))
    assert cut(path, shapely.box(0, 0, 2, 1), ChipRule(4, 1, fixed=False)).tolist() == [[100, 125, 175, 200]]


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "four.tif", values=np.array([[[7, 14, 21, 70]]], np.uint8))
    found = cut(path, shapely.box(0, 0, 4, 1), ChipRule(2, 1, fixed=False))
    assert found[0] == pytest.approx([(3 * 7 + 3 * 14 + 21) / 7, (14 + 3 * 21 + 3 * 70) / 7])


def test_nodata_becomes_zero_before_resampling(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "pair.tif", values=np.array([[[100, 200]]], np.uint8), nodata=200)
    assert cut(path, shapely.box(0, 0, 2, 1), ChipRule(4, 1, fixed=False)).tolist() == [[100, 75, 25, 0]]


def test_whole_image_is_resampled(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "pair.png", values=np.array([[[100, 200]]], np.uint8), crs=None, driver="PNG")
    assert whole_image(path, ChipRule(4, 1, fixed=False)).tolist() == [[[100, 125, 175, 200]]]
    assert whole_image(path, ChipRule(2, 1)).tolist() == [[[100, 200]]]


def test_whole_image_is_zero_where_it_has_no_data(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", values=ramp(), nodata=99, nodata_boxes=[(0, 0, 8, 7)])
    found = whole_image(path, ChipRule(8, 8))[0]
    assert not found[:7].any()
    assert np.array_equal(found[7], ramp()[0, 7])


# Blackening


def cells(*rows: str) -> NDArray[np.bool_]:
    """Return a mask from rows of `#` (kept) and `.`."""
    return np.array([[mark == "#" for mark in row] for row in rows])


def covered(shape: BaseGeometry, width: int = 6, height: int = 6) -> NDArray[np.bool_]:
    """Return the cells that a shape keeps of the grid's upper left corner."""
    return covered_cells(shape, Window(0, 0, width, height))


def test_centres_on_right_and_upper_edges_are_in_on_left_and_lower_edges_out() -> None:
    kept = cells("....", ".##.", ".##.", "....")
    assert np.array_equal(covered(shapely.box(0.5, 1.5, 2.5, 3.5), 4, 4), kept)
    assert np.array_equal(covered(shapely.box(0.5, 1.5, 2.5, 3.5).reverse(), 4, 4), kept)


def test_centres_on_slanted_edges_follow_the_same_rule() -> None:
    upper_left = cells(".####.", ".###..", ".##...", ".#....", "......", "......")
    assert np.array_equal(covered(triangle_through_centres(0, 0, 4)), upper_left)
    lower_right = shapely.Polygon([(4.5, 0.5), (4.5, 4.5), (0.5, 4.5)])
    assert np.array_equal(covered(lower_right), cells("......", "....#.", "...##.", "..###.", "......", "......"))


def test_a_hole_s_edges_are_edges_of_what_is_left() -> None:
    ring = box_with_hole(shapely.box(0.5, 0.5, 5.5, 5.5), shapely.box(1.5, 1.5, 3.5, 3.5))
    kept = cells(".#####", ".#..##", ".#..##", ".#####", ".#####", "......")
    assert np.array_equal(covered(ring), kept)
    assert np.array_equal(covered(ring.reverse()), kept)


def test_hole_and_its_filling_cover_each_centre_once() -> None:
    whole, hole = shapely.box(0.5, 0.5, 5.5, 5.5), triangle_through_centres(1, 1, 3)
    left = covered(box_with_hole(whole, hole))
    assert not (left & covered(hole)).any()
    assert np.array_equal(left | covered(hole), covered(whole))


def test_parts_count_as_their_union() -> None:
    overlapping = multi_part(shapely.box(0, 0, 3, 3), shapely.box(1, 1, 4, 4))
    assert np.array_equal(covered(overlapping, 4, 4), cells("###.", "####", "####", ".###"))
    touching = multi_part(shapely.box(0, 0, 1.5, 2), shapely.box(1.5, 0, 4, 2))
    assert np.array_equal(covered(touching, 4, 2), cells("####", "####"))


def test_a_part_fills_another_part_s_hole() -> None:
    ring = box_with_hole(shapely.box(0, 0, 4, 4), shapely.box(1, 1, 3, 3))
    assert covered(multi_part(ring, shapely.box(0.9, 0.9, 3.1, 3.1)), 4, 4).all()
    assert np.array_equal(covered(multi_part(ring, shapely.box(6, 0, 7, 1)), 4, 4), covered(ring, 4, 4))


def test_polygon_without_a_centre_keeps_the_cell_of_its_representative_point() -> None:
    tiny = cells("....", "...#", "....", "....")
    assert np.array_equal(covered(shapely.box(3.1, 1.1, 3.3, 1.2), 4, 4), tiny)
    sliver = shapely.box(0.1, 1.1, 3.9, 1.3)
    assert np.array_equal(covered(sliver, 4, 4), cells("....", "..#.", "....", "...."))


def test_parts_without_a_centre_keep_one_cell_together_and_none_beside_a_part_with_one() -> None:
    small, other = shapely.box(0.1, 0.1, 0.2, 0.2), shapely.box(3.1, 3.1, 3.3, 3.4)
    assert covered(multi_part(small, other), 4, 4).sum() == 1
    assert np.array_equal(covered(multi_part(small, shapely.box(2, 2, 3, 3)), 4, 4).nonzero(), ([2], [2]))


def test_centres_elsewhere_in_the_grid_keep_a_window_black() -> None:
    corner = shapely.Polygon([(0, 0), (6, 0), (6, 0.6), (0.6, 0.6), (0.6, 6), (0, 6)])
    assert not covered_cells(corner, Window(2, 2, 2, 2)).any()
    assert not covered_cells(shapely.box(-3, -3, -1, -1), Window(0, 0, 4, 4)).any()


@each_row(
    "shape",
    [
        shapely.Point(1, 1),
        shapely.MultiPoint([(1, 1), (2, 3)]),
        shapely.LineString([(0, 0), (3, 2)]),
        shapely.Polygon([(0.5, 0.5), (2.5, 2.5), (3.5, 3.5)]),
        shapely.Polygon([(0, 1.5), (3, 1.5), (0, 1.5)]),
    ],
)
def test_shapes_without_area_blacken_nothing(shape: BaseGeometry) -> None:
    assert covered(shape).all()


def test_part_without_area_adds_no_cell_to_a_part_with_one() -> None:
    flat = shapely.Polygon([(0, 3.5), (5, 3.5), (2, 3.5)])
    assert np.array_equal(covered(multi_part(flat, shapely.box(0, 0, 1, 1))).nonzero(), ([0], [0]))


def exactly_in(ring: NDArray[np.int64], step: int, column: int, row: int) -> bool:
    """Return whether a ring of corners in 1/step cells holds a cell's centre, in exact arithmetic.

    A centre counts as if it lay slightly to the left and, far more slightly still, downwards.
    """
    x, y = Fraction(2 * column + 1, 2) * step, Fraction(2 * row + 1, 2) * step
    inside = False
    for (x1, y1), (x2, y2) in pairwise(ring.tolist()):
        if min(y1, y2) <= y < max(y1, y2):
            inside ^= x1 + (y - y1) * (x2 - x1) / Fraction(y2 - y1) < x
    return inside


@each_row("seed", range(20))
def test_covered_cells_agree_with_exact_arithmetic(seed: int) -> None:
    rng, step = np.random.default_rng(seed), 2
    while True:
        corners = rng.integers(0, 6 * step, (rng.integers(3, 7), 2))
        corners = np.concatenate([corners, corners[:1]])
        expected = np.array([[exactly_in(corners, step, c, r) for c in range(6)] for r in range(6)])
        polygon = shapely.Polygon(corners / step)
        if polygon.is_valid and expected.any():
            break
    assert np.array_equal(covered(polygon), expected)


@each_row("seed", range(10))
def test_covered_cells_of_any_polygon_are_those_whose_centre_it_contains(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(4, 15, 9)
    star = shapely.Polygon(np.column_stack([20 + radii * np.cos(angles), 20 + radii * np.sin(angles)]).round(6))
    hole = shapely.Polygon(star.exterior.coords).buffer(-1.7)
    shape = star.difference(hole)
    rows, columns = np.indices((40, 40)) + 0.5
    expected = shapely.contains_xy(shape, columns, rows)
    assert expected.any()
    assert np.array_equal(covered(shape, 40, 40), expected)


def test_blackened_cells_are_zero_and_a_chip_without_others_is_nodata(image: Path) -> None:
    rule = ChipRule(4, 4, blacken=True)
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = ramp()[0, 3:5, 3:5]
    assert np.array_equal(cut(image, shapely.box(3, 3, 5, 5), rule), expected)
    frame = box_with_hole(shapely.box(0, 0, 8, 8), shapely.box(1, 1, 7, 7))
    assert status_of(image, frame, rule) == "nodata"


def test_outline_within_half_a_millionth_of_a_centre_runs_through_it(image: Path) -> None:
    found = cut(image, shapely.box(2.4999996, 2.5000004, 5.4999996, 5.4999996), ChipRule(4, 4, blacken=True))
    kept = cells(".###", ".###", ".###", "....")
    assert np.array_equal(found, np.where(kept, ramp()[0, 2:6, 2:6], 0))


def test_blackening_leaves_a_tiny_polygon_its_cell(image: Path) -> None:
    found = cut(image, shapely.box(3.6, 3.6, 3.7, 3.7), ChipRule(3, 3, blacken=True))
    assert found.sum() == found[1, 1] == 34


def test_blackening_comes_before_resampling(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "pair.tif", values=np.full((1, 2, 2), 100, np.uint8))
    corner = shapely.Polygon([(0, 0), (1, 0), (1, 1.2), (2, 1.2), (2, 2), (0, 2)])
    found = cut(path, corner, ChipRule(4, 2, fixed=False, blacken=True))
    assert found.tolist() == [[100, 75, 25, 0], [100, 100, 100, 100]]


def test_blackening_counts_in_the_image_s_own_grid(tmp_path: Path) -> None:
    shape, rule = shapely.box(1.5, 2.5, 4.5, 5.5), ChipRule(6, 6, blacken=True)
    for name, transform in (("south", SOUTH_UP), ("turned", rotated(30))):
        path = make_raster(tmp_path / f"{name}.tif", values=ramp(), transform=transform)
        values, _ = chip([path], to_map(shape, transform), rule)
        assert values is not None
        rows, columns = np.nonzero(values[0])
        assert (set(rows + 1), set(columns)) == ({2, 3, 4}, {2, 3, 4})


# Nodata, bands, types


@each_row("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_values_of_any_type_come_as_float32(tmp_path: Path, dtype: str) -> None:
    values = random_values((2, 20, 30), dtype, seed=3)
    path = make_raster(tmp_path / "a.tif", values=values)
    found, _ = chip([path], to_map(shapely.Point(12, 9)), ChipRule(8, 6))
    assert found is not None
    assert np.array_equal(found, values[:, 6:12, 8:16].astype(np.float32))


@each_row(("dtype", "nodata"), [("uint8", 0), ("int16", -9999), ("float32", np.nan), ("float64", -1.7e308)])
def test_nodata_cells_are_zero(tmp_path: Path, dtype: str, nodata: float) -> None:
    path = make_raster(tmp_path / "a.tif", width=8, height=8, dtype=dtype, nodata=nodata, nodata_boxes=[(0, 0, 4, 8)])
    values, status = chip([path], to_map(shapely.Point(4, 4)), ChipRule(4, 4))
    assert status == "ok"
    assert values is not None
    assert not values[:, :, :2].any()
    assert values[:, :, 2:].all()


def test_chip_of_nothing_but_nodata_is_nodata(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", values=ramp(), nodata=0, nodata_boxes=[(0, 0, 6, 8)])
    assert status_of(path, shapely.Point(3, 4), ChipRule(2, 2)) == "nodata"
    assert status_of(path, shapely.Point(0, 4), ChipRule(2, 2)) == "nodata"


def test_a_polygon_over_nothing_but_nodata_is_nodata_when_blackened(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", values=ramp(), nodata=0, nodata_boxes=[(0, 0, 4, 8)])
    shape = shapely.box(2, 2, 4, 6)
    assert status_of(path, shape, ChipRule(4, 4, blacken=True)) == "nodata"
    assert cut(path, shape, ChipRule(4, 4)).any()


def test_a_cell_is_valid_where_any_band_is(tmp_path: Path) -> None:
    values = np.array([[[0, 0]], [[5, 0]]], np.uint8)
    path = make_raster(tmp_path / "a.tif", values=values, nodata=0)
    assert status_of(path, shapely.Point(1.5, 0.5), ChipRule(1, 1)) == "nodata"
    found, status = chip([path], to_map(shapely.Point(0.5, 0.5)), ChipRule(1, 1))
    assert status == "ok"
    assert found is not None
    assert found.ravel().tolist() == [0, 5]


def test_internal_mask_and_alpha_say_what_is_valid(tmp_path: Path) -> None:
    valid = np.indices((8, 8)).sum(axis=0) % 2 == 0
    expected = np.where(valid, ramp(dtype="uint8")[0], 0)[2:6, 2:6]
    masked = make_raster(tmp_path / "mask.tif", values=ramp(dtype="uint8"), mask=valid)
    opaque = make_raster(tmp_path / "alpha.tif", values=ramp(dtype="uint8"), alpha=np.where(valid, 255, 0).astype("u1"))
    for path in (masked, opaque):
        values, _ = chip([path], to_map(shapely.Point(4, 4)), ChipRule(4, 4))
        assert values is not None
        assert np.array_equal(values, expected[np.newaxis])


@each_row("bands", range(1, 9))
def test_all_bands_but_alpha_are_taken(tmp_path: Path, bands: int) -> None:
    values = random_values((bands, 8, 8))
    values[:, 3, 3] = 0
    plain = make_raster(tmp_path / "plain.tif", values=values)
    opaque = make_raster(tmp_path / "alpha.tif", values=values, alpha=True)
    for path in (plain, opaque):
        assert np.array_equal(whole_image(path, ChipRule(8, 8)), values)


def test_bands_are_picked_in_order(tmp_path: Path) -> None:
    values = random_values((4, 8, 8))
    path = make_raster(tmp_path / "a.tif", values=values)
    found, _ = chip([path], to_map(shapely.Point(4, 4)), ChipRule(8, 8, bands=(3, 0)))
    assert found is not None
    assert np.array_equal(found, values[[3, 0]])
    with pytest.raises(ValueError, match="4"):
        chip([path], to_map(shapely.Point(4, 4)), ChipRule(8, 8, bands=(0, 4)))


def test_palette_becomes_red_green_blue(tmp_path: Path) -> None:
    colours = {0: (1, 2, 3, 255), 1: (40, 50, 60, 255)}
    path = make_raster(tmp_path / "a.tif", values=np.array([[[0, 1]]], np.uint8), colormap=colours)
    assert whole_image(path, ChipRule(2, 1)).tolist() == [[[1, 40]], [[2, 50]], [[3, 60]]]


@pytest.mark.parametrize(("statistics", "expected"), [((10, 20), [0, 1, 2.5]), (None, [10 / 255, 20 / 255, 35 / 255])])
def test_data_range_maps_the_bands_own_range_without_clipping(
    tmp_path: Path, statistics: tuple[float, float] | None, expected: list[float]
) -> None:
    path = make_raster(tmp_path / "a.tif", values=np.array([[[10, 20, 35]]], np.uint8), statistics=statistics)
    assert whole_image(path, ChipRule(3, 1, data_range=(0, 1)))[0, 0] == pytest.approx(expected)


def test_cells_without_data_are_zero_after_the_data_range(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", values=np.array([[[0, 255]]], np.uint8), nodata=255)
    assert whole_image(path, ChipRule(2, 1, data_range=(-1, 1))).tolist() == [[[-1, 0]]]


def test_float_without_statistics_has_no_data_range(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", dtype="float32")
    with pytest.raises(ValueError, match="float32"):
        whole_image(path, ChipRule(2, 2, data_range=(0, 1)))


@each_row("orientation", range(1, 9))
def test_exif_orientation_of_a_jpeg_is_applied(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(np.moveaxis(random_values((3, 10, 16)), 0, -1))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    picture.save(tmp_path / "plain.jpg")
    picture.save(tmp_path / "turned.jpg", exif=exif)
    plain = whole_image(tmp_path / "plain.jpg", ChipRule(16, 10)).astype(np.uint8)
    upright = Image.fromarray(np.moveaxis(plain, 0, -1))
    upright.getexif()[EXIF_ORIENTATION] = orientation
    expected = np.moveaxis(np.asarray(ImageOps.exif_transpose(upright)), -1, 0)
    assert np.array_equal(whole_image(tmp_path / "turned.jpg", ChipRule(*expected.shape[:0:-1])), expected)


# Grids and reference systems


@each_row("transform", [NORTH_UP, SOUTH_UP, rotated(30), rotated(-115.5)])
def test_chip_is_cut_in_the_image_s_own_grid(tmp_path: Path, transform: Affine) -> None:
    path = make_raster(tmp_path / "a.tif", values=ramp(), transform=transform)
    values, _ = chip([path], to_map(shapely.Point(5, 3), transform), ChipRule(4, 2))
    assert values is not None
    assert np.array_equal(values[0], ramp()[0, 2:4, 3:7])


def test_bounding_box_is_taken_in_the_rotated_grid(tmp_path: Path) -> None:
    turned = rotated(45)
    path = make_raster(tmp_path / "a.tif", values=ramp(), transform=turned)
    values, _ = chip([path], to_map(shapely.box(2, 3, 4, 6), turned), ChipRule(2, 3, fixed=False))
    assert values is not None
    assert np.array_equal(values[0], ramp()[0, 3:6, 2:4])


def test_features_in_another_crs_are_transformed_in_x_y_order(image: Path) -> None:
    shape, rule = box_around(4.3, 3.4, 2, 2), ChipRule(4, 4)
    to_degrees = Transformer.from_crs("EPSG:32633", "OGC:CRS84", always_xy=True)
    degrees = shapely.transform(to_map(shape), lambda xy: np.column_stack(to_degrees.transform(xy[:, 0], xy[:, 1])))
    for crs in ("OGC:CRS84", "EPSG:4326"):
        values, status = chip([image], degrees, rule, crs)
        assert status == "ok"
        assert values is not None
        assert np.array_equal(values[0], cut(image, shape, rule))


def test_geometry_that_its_crs_cannot_place_is_outside(image: Path) -> None:
    nowhere = shapely.Point(float("inf"), 5)
    assert chip([image], nowhere, ChipRule(2, 2)) == (None, "outside-image")


# Mosaics


def test_cells_beyond_the_image_come_from_the_others(tmp_path: Path) -> None:
    whole = random_values((1, 8, 16), "uint16")
    left = make_raster(tmp_path / "l.tif", values=whole[:, :, :8])
    right = make_raster(tmp_path / "r.tif", values=whole[:, :, 8:], transform=shifted(8, 0))
    for order in ([left, right], [right, left]):
        assert np.array_equal(cut(order, shapely.Point(8.9, 4), ChipRule(6, 8)), whole[0, :, 6:12])


def test_overlap_belongs_to_the_first_image_whose_extent_holds_the_centre(tmp_path: Path) -> None:
    first, second = random_values((1, 8, 8), seed=1), random_values((1, 8, 8), seed=2)
    a = make_raster(tmp_path / "a.tif", values=first)
    b = make_raster(tmp_path / "b.tif", values=second, transform=shifted(4, 0))
    rule = ChipRule(4, 4)
    assert np.array_equal(cut([a, b], shapely.Point(6, 4), rule), first[0, 2:6, 4:8])
    assert np.array_equal(cut([b, a], shapely.Point(6, 4), rule), second[0, 2:6, 0:4])
    # On the first image's edge: still its own, the rest from the second.
    edge = cut([a, b], shapely.Point(8, 4), rule)
    assert np.array_equal(edge, np.hstack([first[0, 2:6, 6:8], second[0, 2:6, 4:6]]))
    beyond = cut([a, b], shapely.Point(8.1, 4), rule)
    assert np.array_equal(beyond, second[0, 2:6, 2:6])


def test_nodata_cells_come_from_the_next_image_that_has_them(tmp_path: Path) -> None:
    first, second, third = (random_values((2, 8, 8), seed=seed) for seed in (1, 2, 3))
    a = make_raster(tmp_path / "a.tif", values=first, nodata=0, nodata_boxes=[(2, 2, 4, 4)])
    b = make_raster(tmp_path / "b.tif", values=second, nodata=0, nodata_boxes=[(3, 3, 2, 2)])
    c = make_raster(tmp_path / "c.tif", values=third, nodata=0, nodata_boxes=[(4, 4, 1, 1)])
    third[:, 4, 4] = 0
    expected = first.copy()
    expected[:, 2:6, 2:6] = second[:, 2:6, 2:6]
    expected[:, 3:5, 3:5] = third[:, 3:5, 3:5]
    values, _ = chip([a, b, c], to_map(shapely.Point(4, 4)), ChipRule(8, 8))
    assert values is not None
    assert np.array_equal(values, expected)
    assert not values[:, 4, 4].any()


def test_filling_cells_are_those_that_hold_the_centre(tmp_path: Path) -> None:
    fine = make_raster(tmp_path / "fine.tif", values=ramp(4, 4))
    coarse_grid = Affine(1.5, 0, NORTH_UP.c + 2, 0, -1.5, NORTH_UP.f)
    coarse = make_raster(tmp_path / "coarse.tif", values=ramp(2, 2), transform=coarse_grid)
    found = cut([fine, coarse], shapely.Point(4, 2), ChipRule(8, 4))
    # A coarse cell has three by three fine ones; the fine grid's columns 4 to 7 lie in coarse columns 0 and 1.
    assert found[:, 4:].tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2], [11, 11, 11, 12]]


def test_window_that_reaches_an_image_without_its_centre_uses_that_image_s_grid(tmp_path: Path) -> None:
    far = make_raster(tmp_path / "far.tif", values=ramp(), transform=shifted(100, 0))
    near = make_raster(tmp_path / "near.tif", values=ramp(), transform=shifted(0.25, 0))
    # In the near image's grid the centre is at -0.75: the window starts at round(-2.75) = -3 and reaches column 0.
    assert cut([far, near], shapely.Point(-0.5, 4), ChipRule(4, 1)).tolist() == [[0, 0, 0, 41]]
    assert status_of([far, near], shapely.Point(-3, 4), ChipRule(4, 1)) == "outside-image"


def test_chip_with_its_centre_on_one_image_s_edge_may_come_from_another_alone(tmp_path: Path) -> None:
    left = make_raster(tmp_path / "l.tif", values=ramp())
    right = make_raster(tmp_path / "r.tif", values=ramp(), transform=shifted(8, 0))
    assert cut([left, right], shapely.Point(8, 4.5), ChipRule(1, 1)).tolist() == [[41]]


def test_images_of_different_crs_or_band_count_are_no_mosaic(tmp_path: Path, image: Path) -> None:
    other_zone = make_raster(tmp_path / "zone.tif", values=ramp(), crs="EPSG:32634")
    more_bands = make_raster(tmp_path / "bands.tif", width=8, height=8)
    for other in (other_zone, more_bands):
        with pytest.raises(ValueError, match="different"):
            chip([image, other], to_map(shapely.Point(4, 4)), ChipRule(2, 2))


# The factory


@each_row(
    "layout",
    [
        {"blocksize": 16},
        {"blocksize": 16, "compress": "deflate"},
        {"blocksize": 5, "tiled": False},
        {"overviews": (2, 4)},
        {"driver": "COG"},
        {"driver": "PNG"},
        {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"},
    ],
)
def test_layout_and_format_leave_a_chip_as_it_is(tmp_path: Path, layout: dict[str, Any]) -> None:
    plain = make_raster(tmp_path / "plain.tif", width=50, height=40, seed=5)
    other = make_raster(tmp_path / "other", width=50, height=40, seed=5, **layout)
    shape, rule = shapely.box(3.3, 4.4, 30.1, 31.9), ChipRule(24, 20, fixed=False)
    assert np.array_equal(cut(other, shape, rule), cut(plain, shape, rule))


# Real data


class Classifier:
    """A shared model: its chip rule, and labels with confidences for chips."""

    def __init__(self, name: str) -> None:
        """Load the model of this folder below the shared models."""
        folder = shared("models", name)
        self.definition = json.loads((folder / f"{name}.emd").read_text(encoding="utf-8"))
        model_file = folder / self.definition["ModelFile"]
        self.session = onnxruntime.InferenceSession(model_file, providers=["CPUExecutionProvider"])

    @property
    def rule(self) -> ChipRule:
        """Return how the model wants its chips."""
        emd = self.definition
        fixed, blacken = bool(emd["CropSizeFixed"]), bool(emd["BlackenAroundFeature"])
        return ChipRule(emd["ImageWidth"], emd["ImageHeight"], fixed, blacken, tuple(emd["ExtractBands"]))

    def classify(self, chips: Sequence[NDArray[np.float32] | None]) -> list[tuple[str, float]]:
        """Return (label, confidence) of each chip."""
        stats = self.definition["Normalization"]
        mean, std = (np.array(stats[key])[:, np.newaxis, np.newaxis] for key in ("mean", "std"))
        batch = np.stack([(values * stats["scale"] - mean) / std for values in chips if values is not None])
        (logits,) = self.session.run(None, {"input": batch.astype(np.float32)})
        powers = np.exp(np.float64(logits) - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        names = [entry["Name"] for entry in self.definition["Classes"]]
        return [(names[row.argmax()], float(row.max())) for row in probabilities]


def shared(*names: str) -> Path:
    """Return a path below the shared folder; without it the test is skipped, in CI it fails."""
    if not SHARED.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the shared folder with the real data is not there")
    return SHARED.joinpath(*names)


def read_objects(path: Path) -> dict[str, BaseGeometry]:
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return {str(f["properties"]["OBJECTID"]): shapely.geometry.shape(f["geometry"]) for f in features}


def require_expected(
    found: dict[str, tuple[str, float]], path: Path, key: str, tolerance: float, every: int = 1
) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::every]
    expected = {row[key]: (row["ClassLabel"], float(row["Confidence"])) for row in rows}
    assert found.keys() == expected.keys()
    assert {name: label for name, (label, _) in found.items()} == {k: label for k, (label, _) in expected.items()}
    assert max(abs(found[name][1] - expected[name][1]) for name in found) <= tolerance


def classify_objects(
    model: Classifier, images: Sequence[Path], objects: Path, every: int = 1
) -> dict[str, tuple[str, float]]:
    geometries = dict(list(read_objects(objects).items())[::every])
    chips = [chip(images, geometry, model.rule) for geometry in geometries.values()]
    assert {status for _, status in chips} == {"ok"}
    return dict(zip(geometries, model.classify([values for values, _ in chips]), strict=True))


def crs_code(path: Path) -> int:
    with rasterio.open(path) as image:
        return int(image.crs.to_epsg())


@pytest.mark.parametrize("zone", [26910, 26911])
def test_naip_trees_get_the_expected_labels(zone: int) -> None:
    folder = shared("data", "naip_trees")
    images = [path for path in sorted(folder.glob("*.tif")) if crs_code(path) == zone]
    found = classify_objects(Classifier("urban-tree-naip"), images, folder / f"objects_{zone}.geojson")
    require_expected(found, folder / f"expected_{zone}.csv", "OBJECTID", 1e-4)


@pytest.mark.parametrize(("name", "tolerance"), [("tree-leaf-crown", 1e-4), ("tree-leaf-box", 2e-4)])
def test_neon_crowns_get_the_expected_labels(name: str, tolerance: float) -> None:
    folder = shared("data", "neon_crowns")
    objects = folder / "crowns_test_32617.geojson"
    every = 5  # all of them are those of the service, in `test_real_data.py`
    found = classify_objects(Classifier(name), sorted(folder.glob("*.tif")), objects, every)
    require_expected(found, folder / f"expected_{name}.csv", "OBJECTID", tolerance, every)


def test_neon_crown_images_get_the_expected_labels() -> None:
    folder, model = shared("data", "neon_crown_images"), Classifier("tree-leaf-box")
    images = sorted(folder.glob("*.png"))
    labels = model.classify([whole_image(path, model.rule) for path in images])
    found = {path.name: label for path, label in zip(images, labels, strict=True)}
    require_expected(found, folder / "expected_tree-leaf-box.csv", "ImageID", 2e-4)
