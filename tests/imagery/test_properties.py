"""Windows of chips against exact fractions, for any grid and box, by the contract's words.

"Pixel coordinates are rounded to 1e-6 cells before anything else; what is derived from them is rounded to 1e-6 again
before `round`, which is half-to-even." So a pixel coordinate is a whole number of millionths, here `micros`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from processes.imagery.grid import (
    ChipRule,
    Grid,
    centred_windows,
    covering_windows,
    holds_centre,
    overlaps,
    pixel_boxes,
)

MICRO: Final = 10**6
NOISE: Final = 1e-9
"""In cells: what the last digits of a map coordinate may be off by."""

type MicroBox = tuple[int, int, int, int]
"""min column, min row, max column, max row, in millionths of a cell."""

exactly = settings(derandomize=True, deadline=None, max_examples=120)

# Ties of `round` lie at whole and half cells, so most coordinates are there or one or two millionths beside.
_near_ties = st.builds(
    lambda halves, beside: halves * MICRO // 2 + beside, st.integers(-400, 9000), st.sampled_from([0, 0, 0, 1, -1, 2])
)
coordinates = st.one_of(_near_ties, st.integers(-300 * MICRO, 5000 * MICRO))

sizes = st.one_of(st.just(0), st.just(2), _near_ties, st.integers(0, 300 * MICRO)).map(abs)
boxes = st.lists(
    st.builds(lambda x, y, w, h: (x, y, x + w, y + h), coordinates, coordinates, sizes, sizes), min_size=1, max_size=12
)
chip_sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Draw a grid: north-up, south-up or turned by any angle, cells from tiny to huge, square or not."""
    cell = draw(st.sampled_from([0.5, 1.0, 0.3, 1 / 3, 10.0, 1e-5, 2.7e-9, 1000.0, 1e6]))
    tall = cell * draw(st.sampled_from([1.0, 1.0, 0.25, 3.7]))
    turned = math.radians(draw(st.sampled_from([0.0, 0.0, 0.0, 17.0, 45.0, 90.0, 200.5])))
    sign = draw(st.sampled_from([-1, 1]))
    # Further from the origin doubles don't tell millionths of a cell apart.
    x, y = (draw(st.integers(-(10**6), 10**6)) * cell for _ in range(2))
    cosine, sine = (1.0, 0.0) if turned == 0 else (math.cos(turned), math.sin(turned))
    transform = Affine(cell * cosine, -sign * tall * sine, x, cell * sine, sign * tall * cosine, y)
    return Grid(transform, draw(st.integers(1, 4000)), draw(st.integers(1, 4000)))


def on_map(grid: Grid, columns_rows: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the map coordinates nearest to exact pixel coordinates, `(n, 2)` fractions."""
    a, b, c, d, e, f = (Fraction(value) for value in grid.transform[:6])
    places = [(a * x + b * y + c, d * x + e * y + f) for x, y in columns_rows]
    return np.array([(float(x), float(y)) for x, y in places])


def shape_of(grid: Grid, box: MicroBox, noise: float = 0.0) -> shapely.MultiPoint:
    """Return a geometry in map coordinates whose pixel box this is, its coordinates off by some noise."""
    corners = [(Fraction(x, MICRO), Fraction(y, MICRO)) for x in box[::2] for y in box[1::2]]
    moved = [(x + Fraction(noise), y - Fraction(noise)) for x, y in corners]
    return shapely.MultiPoint(on_map(grid, np.array(moved, object)))


def as_floats(micros: list[MicroBox]) -> NDArray[np.float64]:
    """Return boxes as the package has them."""
    return np.round(np.array(micros, np.float64) / MICRO, 6)


def rounded(value: Fraction) -> int:
    """Round to 1e-6 and then to a whole number."""
    return round(Fraction(round(value * MICRO), MICRO))


def centred(box: MicroBox, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = Fraction(box[0] + box[2], 2 * MICRO), Fraction(box[1] + box[3], 2 * MICRO)
    return rounded(x - Fraction(size[0], 2)), rounded(y - Fraction(size[1], 2)), *size


def covering(box: MicroBox) -> tuple[int, int, int, int]:
    left, upper = box[0] // MICRO, box[1] // MICRO
    return left, upper, max(1, -(-box[2] // MICRO) - left), max(1, -(-box[3] // MICRO) - upper)


def listed(windows: NDArray[np.signedinteger[Any]]) -> list[tuple[int, ...]]:
    return [tuple(int(value) for value in window) for window in windows]


@exactly
@given(grids(), boxes)
def test_pixel_boxes_are_whole_millionths_of_a_cell(grid: Grid, micros: list[MicroBox]) -> None:
    shapes = np.array([shape_of(grid, box) for box in micros], object)
    assert np.array_equal(pixel_boxes(shapes, grid), as_floats(micros))


@exactly
@given(grids(), boxes, st.sampled_from([-NOISE, NOISE]))
def test_noise_in_the_last_digits_moves_nothing(grid: Grid, micros: list[MicroBox], noise: float) -> None:
    still, moved = (np.array([shape_of(grid, box, off) for box in micros], object) for off in (0, noise))
    assert np.array_equal(pixel_boxes(moved, grid), pixel_boxes(still, grid))
    for is_fixed in (True, False):
        rule = ChipRule(9, 4, is_fixed, None)
        before, after = (rule.windows(pixel_boxes(shapes, grid), grid) for shapes in (still, moved))
        assert np.array_equal(before, after)


@exactly
@given(boxes, chip_sizes)
def test_fixed_window_is_round_of_centre_minus_half(micros: list[MicroBox], size: tuple[int, int]) -> None:
    windows = listed(centred_windows(as_floats(micros), size))
    assert windows == [centred(box, size) for box in micros]
    for box, (column, row, width, height) in zip(micros, windows, strict=True):
        assert abs(Fraction(box[0] + box[2], 2 * MICRO) - column - Fraction(width, 2)) <= Fraction(1, 2) + Fraction(
            1, MICRO
        )
        assert abs(Fraction(box[1] + box[3], 2 * MICRO) - row - Fraction(height, 2)) <= Fraction(1, 2) + Fraction(
            1, MICRO
        )


@exactly
@given(boxes)
def test_variable_window_is_the_smallest_that_covers_the_box(micros: list[MicroBox]) -> None:
    windows = listed(covering_windows(as_floats(micros)))
    assert windows == [covering(box) for box in micros]
    for (x0, y0, x1, y1), (column, row, width, height) in zip(micros, windows, strict=True):
        assert column * MICRO <= x0 <= x1 <= (column + width) * MICRO
        assert row * MICRO <= y0 <= y1 <= (row + height) * MICRO
        assert width == 1 or (column + 1) * MICRO > x0
        assert width == 1 or (column + width - 1) * MICRO < x1


@exactly
@given(boxes, chip_sizes, st.integers(-300, 300), st.integers(-300, 300))
def test_windows_move_with_their_boxes(micros: list[MicroBox], size: tuple[int, int], right: int, down: int) -> None:
    # By even numbers: at a tie half-to-even goes up for odd and down for even cells.
    step = (2 * right, 2 * down, 2 * right, 2 * down)
    moved = as_floats([tuple(np.add(box, np.multiply(step, MICRO)).tolist()) for box in micros])
    by = np.array([2 * right, 2 * down, 0, 0])
    assert np.array_equal(centred_windows(moved, size), centred_windows(as_floats(micros), size) + by)
    assert np.array_equal(covering_windows(moved), covering_windows(as_floats(micros)) + by)


@exactly
@given(grids(), boxes, chip_sizes)
def test_variable_chips_of_single_points_are_fixed(grid: Grid, micros: list[MicroBox], size: tuple[int, int]) -> None:
    windows = listed(ChipRule(*size, False, None).windows(as_floats(micros), grid))
    assert windows == [centred(box, size) if box[:2] == box[2:] else covering(box) for box in micros]


@exactly
@given(
    st.sampled_from([0.1, 0.2, 0.3, 0.5, 1 / 3, 0.7, 1.0, 30.0, 1e-5]),
    st.sampled_from([0.1, 0.15, 0.3, 0.25, 0.5, 0.75, 1.0, 1.05, 2.5, 30.0, 1e-5, 1e-7]),
    chip_sizes,
    st.sampled_from([-1, 1]),
)
def test_cell_size_covers_round_of_size_times_share(
    native: float, wanted: float, size: tuple[int, int], sign: int
) -> None:
    grid = Grid(Affine(native, 0, 0, 0, sign * 2 * native, 0), 100, 100)
    # Decimals, as written: that 0.15 is no double must not matter.
    share = Fraction(str(wanted)) / (Fraction(1, 3) if native == 1 / 3 else Fraction(str(native)))
    cells = tuple(max(1, rounded(side * one)) for side, one in zip(size, (share, share / 2), strict=True))
    assert ChipRule(*size, True, wanted).native_size(grid) == cells


@exactly
@given(grids(), boxes, chip_sizes)
def test_overlaps_and_holds_centre(grid: Grid, micros: list[MicroBox], size: tuple[int, int]) -> None:
    windows = centred_windows(as_floats(micros), size)
    shared = [
        max(0, min(grid.width, x + w) - max(0, x)) * max(0, min(grid.height, y + h) - max(0, y))
        for x, y, w, h in listed(windows)
    ]
    assert overlaps(windows, grid).tolist() == [cells > 0 for cells in shared]
    held = [
        0 <= x0 + x1 <= 2 * MICRO * grid.width and 0 <= y0 + y1 <= 2 * MICRO * grid.height for x0, y0, x1, y1 in micros
    ]
    assert holds_centre(as_floats(micros), grid).tolist() == held
