"""Tiles of images for a web map, beside what rasterio's own warped images have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from processes.crs.web_mercator import WORLD_METRES, TileAddress
from processes.imagery.image import open_image
from processes.imagery.map_tiles import TILE_PX, ShownImage, draw, shown_image, zooms
from processes.imagery.source import FileSource
from rasters import SOUTH_UP, make_raster, rotated


def shown(path: Path) -> ShownImage:
    image = open_image(FileSource(path, path.name), 10**9)
    return shown_image(image, image.data_bands)


def tile_at(item: ShownImage, zoom: int) -> TileAddress:
    """Return the tile that the centre of an image is in."""
    box = item.box
    return TileAddress(zoom, int((box.west + box.east) / 2 * 2**zoom), int((box.north + box.south) / 2 * 2**zoom))


def drawn(item: ShownImage, address: TileAddress) -> NDArray[np.uint8]:
    picture = np.zeros((4, TILE_PX, TILE_PX), np.uint8)
    draw(item, address, picture)
    return picture


def warped(path: Path, address: TileAddress, bands: Any = (1, 2, 3)) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a tile by the nearest cells of rasterio's WarpedVRT, and where there are any."""
    side = WORLD_METRES / 2**address.zoom
    place = Affine(
        side / TILE_PX,
        0,
        address.column * side - WORLD_METRES / 2,
        0,
        -side / TILE_PX,
        WORLD_METRES / 2 - address.row * side,
    )
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset,
            crs="EPSG:3857",
            transform=place,
            width=TILE_PX,
            height=TILE_PX,
            resampling=Resampling.nearest,
            add_alpha=True,
        ) as image,
    ):
        return image.read(bands), image.read(image.count) > 0


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "south up": {"transform": SOUTH_UP},
    "rotated": {"transform": rotated(30)},
    "geographic": {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 15, 0, -1e-4, 45)},
    "in strips": {"tiled": False, "blocksize": 4},
    "nodata": {"nodata": 0, "nodata_boxes": [(10, 10, 20, 12)]},
    "mask": {"mask": np.arange(48 * 64).reshape(48, 64) % 640 > 99},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closer", [0, 2])
def test_a_tile_has_the_cells_that_lie_there(tmp_path: Path, kind: str, closer: int) -> None:
    path = make_raster(tmp_path / "a.tif", **KINDS[kind])
    item = shown(path)
    address = tile_at(item, zooms(item)[1] + closer)
    picture = drawn(item, address)
    cells, there = warped(path, address)
    assert there.sum() > 1000
    assert (picture[3] > 0)[there].mean() > 0.97
    assert (picture[3] == 0)[~there].mean() > 0.97
    both = there & (picture[3] > 0)
    assert (picture[:3, both] == cells[:, both]).all(axis=0).mean() > 0.95  # the rest are edges of cells


def test_of_an_alpha_band_only_what_is_opaque_is_shown(tmp_path: Path) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[10:30, 5:40] = 255
    item = shown(make_raster(tmp_path / "a.tif", alpha=alpha))
    address = tile_at(item, zooms(item)[1])
    whole = drawn(shown(make_raster(tmp_path / "b.tif")), address)
    share = (drawn(item, address)[3] > 0).sum() / (whole[3] > 0).sum()
    assert share == pytest.approx(20 * 35 / (48 * 64), rel=0.1)


def test_a_palette_is_shown_in_its_colours(tmp_path: Path) -> None:
    values = np.tile(np.array([[1, 2]], np.uint8).repeat(32, axis=1), (1, 48, 1))
    colours = {1: (255, 0, 0, 255), 2: (0, 0, 255, 255), 3: (0, 0, 0, 0)}
    item = shown(make_raster(tmp_path / "a.tif", values=values, colormap=colours))
    picture = drawn(item, tile_at(item, zooms(item)[1]))
    assert {tuple(color) for color in picture[:3, picture[3] > 0].T.tolist()} == {(255, 0, 0), (0, 0, 255)}


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_cells_of_more_than_a_byte_are_stretched(tmp_path: Path, dtype: str) -> None:
    values = np.tile(np.linspace(1000, 1500, 64).astype(dtype), (1, 48, 1))
    item = shown(make_raster(tmp_path / "a.tif", values=values))
    picture = drawn(item, tile_at(item, zooms(item)[1]))
    grey = picture[0, picture[3] > 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert (picture[0] == picture[2]).all()


def test_statistics_say_what_is_black_and_white(tmp_path: Path) -> None:
    values = np.full((1, 48, 64), 1250, np.uint16)
    item = shown(make_raster(tmp_path / "a.tif", values=values, statistics=(1000, 1500)))
    picture = drawn(item, tile_at(item, zooms(item)[1]))
    assert set(picture[0, picture[3] > 0].tolist()) == {128}


def test_a_cell_that_is_no_number_is_transparent(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 1, (3, 48, 64)).astype(np.float32)
    values[1, :, :32] = np.nan
    item = shown(make_raster(tmp_path / "a.tif", values=values))
    picture = drawn(item, tile_at(item, zooms(item)[1]))
    whole = drawn(shown(make_raster(tmp_path / "b.tif")), tile_at(item, zooms(item)[1]))
    assert (picture[3] > 0).sum() == pytest.approx((whole[3] > 0).sum() / 2, rel=0.1)


def test_what_is_drawn_first_stays(tmp_path: Path) -> None:
    first = shown(make_raster(tmp_path / "a.tif", values=np.full((3, 48, 64), 50, np.uint8)))
    second = shown(
        make_raster(
            tmp_path / "b.tif",
            values=np.full((3, 48, 64), 90, np.uint8),
            transform=Affine(0.5, 0, 500_015, 0, -0.5, 5_000_000),
        )
    )
    address = tile_at(first, zooms(first)[1])
    picture = drawn(first, address)
    draw(second, address, picture)
    assert {50, 90} == set(np.unique(picture[0, picture[3] == 255]).tolist())
    assert (picture[0][drawn(first, address)[3] == 255] == 50).all()


def test_a_tile_far_away_is_not_read(tmp_path: Path) -> None:
    item = shown(make_raster(tmp_path / "a.tif"))
    (tmp_path / "a.tif").unlink()
    assert not drawn(item, TileAddress(8, 3, 3)).any()


def test_a_large_image_without_overviews_is_shown_from_near_only(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    options = {"driver": "GTiff", "width": 16384, "height": 16384, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    tiling = {"tiled": True, "blockxsize": 512, "blockysize": 512, "SPARSE_OK": True}
    with rasterio.open(path, "w", transform=Affine(1, 0, 500_000, 0, -1, 5_000_000), **options, **tiling) as image:
        image.write(np.full((3, 512, 512), 200, np.uint8), window=((8192, 8704), (8192, 8704)))
    first, last = zooms(shown(path))
    assert 12 <= first < last <= 17
    assert not drawn(shown(path), tile_at(shown(path), first - 2)).any()
    assert drawn(shown(path), tile_at(shown(path), first)).any()
    with rasterio.open(path, "r+") as image:
        image.build_overviews([2, 4, 8, 16, 32], Resampling.nearest)
    assert zooms(shown(path))[0] == 0
    assert drawn(shown(path), tile_at(shown(path), first - 2)).any()
