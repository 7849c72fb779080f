"""What a plan costs to read, and how it is cut into sections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from processes.classify.planning.cutting import MAX_SECTIONS, cut_sections, require_readable, seconds_of_section
from processes.errors import LimitError
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.imagery.chips import Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import open_image
from processes.imagery.mosaic import Mosaic
from processes.imagery.reading_cost import reading_cost
from processes.imagery.source import FileSource
from processes.imagery.tiles import BandSelection
from rasters import NORTH_UP

SIDE = 51_200
WHOLE = (0, 0, SIDE, SIDE)


def plan_of(path: Path, windows: Sequence[Sequence[int]], stored: int = 0, images: int = 1, **rule: Any) -> ChipPlan:
    """Return a plan of windows of an image of 100 x 100 blocks, of which the first ones of a row are in the file."""
    profile = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "sparse_ok": True, "tiled": True,
        "blockxsize": 512, "blockysize": 512, "crs": "EPSG:32633", "transform": NORTH_UP, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        if stored:
            dataset.write(np.ones((1, 512, stored * 512), np.uint8), window=Window(0, 0, stored * 512, 512))
    opened = [open_image(FileSource(path, f"{number}"), 10**12) for number in range(images)]
    placement = Placement(np.zeros(len(windows), np.int32), np.array(windows, np.int32))
    mosaic = Mosaic(opened) if images > 1 else None
    chip_rule = ChipRule(**({"width": 64, "height": 64, "fixed_size": False, "cell_size": None} | rule))
    return ChipPlan(opened, [BandSelection((0,))] * images, chip_rule, placement, mosaic, None)


def test_blocks_that_are_not_in_the_file_cost_nothing(tmp_path: Path) -> None:
    assert reading_cost(plan_of(tmp_path / "a.tif", [WHOLE])).total == 0
    cost = reading_cost(plan_of(tmp_path / "b.tif", [WHOLE] * 3, stored=10))
    assert (cost.windows.tolist(), cost.total) == ([10 * 512 * 512] * 3, 30 * 512 * 512)


def test_small_windows_share_their_tiles_and_large_ones_do_not(tmp_path: Path) -> None:
    small = [(column, 0, 64, 64) for column in range(20_000)]
    plan = plan_of(tmp_path / "a.tif", small, stored=100, fixed_size=True)
    assert reading_cost(plan).total == 40 * 512 * 512  # 40 blocks in a row
    with pytest.raises(LimitError, match=r"GB of cells to read for one request: .* max_read_gb = 1000"):
        require_readable(plan_of(tmp_path / "b.tif", [(0, 0, SIDE, 1024)] * 50_000, stored=100), 1000)


def test_cells_that_other_images_fill_are_counted(tmp_path: Path) -> None:
    cost = reading_cost(plan_of(tmp_path / "a.tif", [WHOLE], images=3))
    assert cost.total == 2 * SIDE * SIDE


def test_large_chips_come_last_and_are_cut_by_what_is_read_for_them(tmp_path: Path) -> None:
    windows = [(0, 0, SIDE, SIDE), *[(column, 0, 64, 64) for column in range(1000)], (0, 0, SIDE, 30_000)]
    plan = plan_of(tmp_path / "a.tif", windows, stored=100)
    order = reading_order(plan)
    assert sorted(order[-2:].tolist()) == [0, 1001]
    done = np.zeros(len(order), bool)
    done[:100] = True
    sections = cut_sections(plan, order, done, 100, 4)
    assert np.concatenate(sections).tolist() == order[100:].tolist()
    assert [len(section) for section in sections[:8]] == [113] * 4 + [112] * 4  # 9 s of work, 1.2 s each
    assert [len(section) for section in sections[8:]] == [1, 1]


def test_whole_images_are_sections_of_their_own_where_reading_takes_long(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a.tif", [WHOLE] * 4)
    order = reading_order(plan)
    assert [len(section) for section in cut_sections(plan, order, np.zeros(4, bool), 0, 4)] == [1, 2, 1]
    done = np.array([True, False, False, False])
    assert len(cut_sections(plan, order, done, 0.25, 4)) == 3


def test_work_that_seems_to_be_very_slow_is_not_cut_into_a_section_for_each_object(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a.tif", [(column % SIDE, 0, 64, 64) for column in range(50_000)], stored=100)
    sections = cut_sections(plan, reading_order(plan), np.zeros(50_000, bool), 0.1, 4)
    assert [len(section) for section in sections] == [5] * MAX_SECTIONS


def test_short_work_is_cut_into_short_sections() -> None:
    assert [round(seconds_of_section(left_s, 4), 2) for left_s in (0.1, 1, 4, 25, 100, 10_000)] == [
        0.3,
        0.4,
        0.8,
        2,
        4,
        4,
    ]
    assert seconds_of_section(25, 0) == 0
