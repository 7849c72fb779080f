"""Large chips: the means of blocks equal those of a plain read, at once and in parts, of images whole and sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from processes.imagery.chips import Batch, ChipReader, Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image, open_image
from processes.imagery.large_chips import PartialChip
from processes.imagery.mosaic import Mosaic
from processes.imagery.outline import polygon_masks
from processes.imagery.pillow_resampling import resample
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from rasters import NORTH_UP, random_values, to_map
from tables import each_row

SIDE = (1500, 1300)
"""(width, height) of the images."""
RULE = ChipRule(12, 10, False, None)
STORED = [(0, 0, 300, 200), (700, 500, 512, 300), (1400, 1200, 100, 100)]
"""Column, row, width, height of what sparse images hold."""


def make(path: Path, parts: Sequence[tuple[int, int, int, int]] = STORED, seed: int = 0, **options: Any) -> Path:
    """Write an image that holds some parts only."""
    profile = {
        "driver": "GTiff", "width": SIDE[0], "height": SIDE[1], "count": 2, "dtype": "uint8", "sparse_ok": True,
        "tiled": True, "blockxsize": 128, "blockysize": 128, "crs": "EPSG:32633", "transform": NORTH_UP,
    } | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for column, row, width, height in parts:
            values = random_values((2, height, width), str(profile["dtype"]), seed)
            dataset.write(values, window=Window(column, row, width, height))
    return path


def plain_chip(cells: NDArray[Any], valid: NDArray[np.bool_], window: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return the chip of a window of the one image, from all its cells."""
    column, row, width, height = window
    whole = np.zeros((len(cells), height, width))
    inside = (slice(max(row, 0), row + height), slice(max(column, 0), column + width))
    part = (slice(max(0, -row), SIDE[1] - row), slice(max(0, -column), SIDE[0] - column))
    whole[:, *part] = np.where(valid, cells, 0)[:, *inside]
    across, down = width // (8 * RULE.width), height // (8 * RULE.height)
    rows, columns = np.arange(0, height, down), np.arange(0, width, across)
    sums = np.add.reduceat(np.add.reduceat(whole, rows, axis=1), columns, axis=2)
    counts = np.minimum(down, height - rows)[:, None] * np.minimum(across, width - columns)
    return resample(sums / counts, (RULE.width, RULE.height), (0, 0, width / across, height / down))


@pytest.fixture(params=["at once", "in parts"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Batch]:
    """Read a large chip, each part by a reader of its own."""
    monkeypatch.setattr("processes.imagery.large_chips._PART_PX", 256)
    monkeypatch.setattr("processes.imagery.large_chips._PART_CELLS", 20_000)

    def read(images: Sequence[Image], window: Sequence[int], footprint: Any = None, rescaling: Any = None) -> Batch:
        placement = Placement(np.zeros(1, np.int32), np.array([window], np.int32))
        selections = [BandSelection((0, 1), rescaling)] * len(images)
        parts: list[PartialChip] = []
        neighbours = Mosaic(images).neighbours if len(images) > 1 else None
        footprints = None if footprint is None else (lambda _: np.array([footprint], object))
        while not parts or parts[-1].end is not None:
            with gdal_settings(), TileReader(images, selections) as tiles:
                reader = ChipReader(tiles, placement, RULE, footprints, neighbours)
                start = parts[-1].end if parts else None
                parts.append(reader.read_part(0, start, lambda: request.param == "at once"))
                assert 0 <= parts[-1].share <= 1
                batch = reader.join(0, parts)
        assert (len(parts) > 1) == (request.param == "in parts")
        return batch

    return read


WHOLE = (0, 0, *SIDE)


@each_row(
    ("what", "options", "window"),
    [
        ("no nodata", {}, WHOLE),
        ("a part", {}, (200, 100, 1100, 1000)),
        ("beyond the edges", {}, (-300, -80, 2500, 1900)),
        ("nodata 0", {"nodata": 0}, WHOLE),
        ("nodata 7", {"nodata": 7}, WHOLE),
        ("floats", {"dtype": "float32", "nodata": -9999}, WHOLE),
        ("strips", {"tiled": False, "blockysize": 16, "dtype": "float64"}, WHOLE),
        ("large blocks", {"blockxsize": 512, "blockysize": 512}, WHOLE),
    ],
)
def test_large_chips_are_the_means_of_all_cells(
    tmp_path: Path, read: Callable[..., Batch], what: str, options: dict[str, Any], window: tuple[int, int, int, int]
) -> None:
    for name, parts in (("sparse", STORED), ("whole", [(0, 0, *SIDE)])):
        path = make(tmp_path / f"{name}.tif", parts, **options)
        with rasterio.open(path) as dataset:
            expected = plain_chip(dataset.read(), dataset.dataset_mask() != 0, window)
        found = read([open_image(FileSource(path, "a"), 10**9)], window)
        assert found.touched.all()
        assert found.valid.all()
        np.testing.assert_allclose(found.chips[0], expected, rtol=1e-6, atol=1e-5, err_msg=f"{what}, {name}")


def test_absent_cells_count_with_the_value_that_they_are_mapped_to(tmp_path: Path, read: Callable[..., Batch]) -> None:
    path = make(tmp_path / "a.tif")
    rescaling = ((1.0, 50.0), (2.0, -3.0))
    with rasterio.open(path) as dataset:
        cells = dataset.read() * np.array([1.0, 2.0])[:, None, None] + np.array([50.0, -3.0])[:, None, None]
    expected = plain_chip(cells, np.ones(SIDE[::-1], bool), (-40, 10, 1500, 1200))
    found = read([open_image(FileSource(path, "a"), 10**9)], (-40, 10, 1500, 1200), rescaling=rescaling)
    np.testing.assert_allclose(found.chips[0], expected, rtol=1e-6, atol=1e-4)


@each_row(
    "shape",
    [
        shapely.Point(700, 600).buffer(640),
        shapely.box(10, 10, 1490, 1290).difference(shapely.box(100, 100, 1400, 1200)),
        shapely.box(350, 850, 600, 1100),  # where nothing is stored
        shapely.Polygon([(0, 0), (1500, 1300), (1500, 100), (0, 1300)]),  # invalid: its edges cross
    ],
)
def test_blackening_of_sparse_images(tmp_path: Path, read: Callable[..., Batch], shape: Any) -> None:
    for nodata in (None, 0):
        path = make(tmp_path / f"{nodata}.tif", nodata=nodata)
        with rasterio.open(path) as dataset:
            cells, valid = dataset.read(), dataset.dataset_mask() != 0
        valid &= polygon_masks(np.array([shape], object), np.zeros((1, 2)), SIDE)[0]
        found = read([open_image(FileSource(path, "a"), 10**9)], WHOLE, to_map(shape))
        assert found.valid.tolist() == [valid.any()]
        np.testing.assert_allclose(found.chips[0], plain_chip(cells, valid, WHOLE), rtol=1e-6, atol=1e-5)


@each_row("nodata", [None, 0])
def test_a_sparse_image_is_filled_from_others(tmp_path: Path, read: Callable[..., Batch], nodata: int | None) -> None:
    """Of the second image some parts are stored, of the third all; both lie on the first one's grid."""
    moved = NORTH_UP @ Affine.translation(300, -200)
    paths = [
        make(tmp_path / "1.tif", nodata=nodata),
        make(tmp_path / "2.tif", [(128, 128, 512, 256)], seed=1, nodata=0, transform=moved),
        make(tmp_path / "3.tif", [(640, 640, 860, 660)], seed=2, nodata=0),
    ]
    cells, valid = np.zeros((2, *SIDE[::-1]), np.uint8), np.zeros(SIDE[::-1], bool)
    for number, path in enumerate(paths):
        with rasterio.open(path) as dataset:
            there = dataset.read()
            is_there = dataset.dataset_mask() != 0
        if number == 1:
            there, is_there = np.roll(there, (-200, 300), (1, 2)), np.roll(is_there, (-200, 300), (0, 1))
            is_there[-200:], is_there[:, :300] = False, False
        np.copyto(cells, there, where=is_there & ~valid)
        valid |= is_there
    found = read([open_image(FileSource(path, path.name), 10**9) for path in paths], WHOLE)
    np.testing.assert_allclose(found.chips[0], plain_chip(cells, valid, WHOLE), rtol=1e-6, atol=1e-5)


def test_absent_tiles_without_a_valid_cell_are_nodata(tmp_path: Path, read: Callable[..., Batch]) -> None:
    path = make(tmp_path / "a.tif", [(0, 0, 128, 128)], nodata=0)
    image = open_image(FileSource(path, "a"), 10**9)
    placement = Placement(np.zeros(1, np.int32), np.array([[300, 300, 1000, 1000]], np.int32))
    with gdal_settings(), TileReader([image], [BandSelection((0, 1))]) as tiles:
        batch = ChipReader(tiles, placement, RULE, None, None).read(np.arange(1))
        assert not tiles._tiles
    assert (batch.touched.tolist(), batch.valid.tolist()) == ([True], [False])
    assert not batch.chips.any()
