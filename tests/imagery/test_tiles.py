"""Which cells of an image are there: by nodata, mask, alpha and palette, and because their values are numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rasterio.enums import ColorInterp

from processes.errors import ImageError
from processes.imagery.image import Image, open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from rasters import make_raster, random_values
from tables import each_row

SHAPE = (12, 15)
HOLE = np.zeros(SHAPE, bool)
HOLE[3:9, 2:7] = True
"""The cells that are not there."""
LEAST_FLOAT32 = -3.4028234663852886e38


def opened(path: Path) -> Image:
    return open_image(FileSource(path, path.name), 10**9)


def read(path: Path, bands: Sequence[int] | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return all cells of the bands that a model takes, or of all but alpha, and which of them are there."""
    image = opened(path)
    bands = image.data_bands if bands is None else tuple(bands)
    with gdal_settings(), TileReader([image], [BandSelection(bands)]) as tiles:
        cells = np.zeros((len(bands), image.grid.height, image.grid.width), tiles.dtype)
        valid = np.zeros(cells.shape[1:], bool)
        tiles.cut(0, (0, 0, image.grid.width, image.grid.height), cells, valid)
    return cells, valid


def with_alpha(
    path: Path, bands: int, dtype: str, place: int | None = None, opaque: float = 200, **options: Any
) -> NDArray[Any]:
    """Write an image one of whose bands is alpha, 0 in the hole, and return its cells, alpha too.

    Args:
        path: where to.
        bands: how many there are, alpha too.
        dtype: of all of them.
        place: of the alpha band, from 0; None = the last.
        opaque: what alpha is elsewhere.
        **options: of `make_raster`.
    """
    place = bands - 1 if place is None else place
    values = random_values((bands, *SHAPE), dtype)
    values[place] = np.where(HOLE, 0, opaque)
    make_raster(path, values=values, photometric="minisblack", **options)
    with rasterio.open(path, "r+") as image:
        image.colorinterp = [
            ColorInterp.alpha if band == place else ColorInterp.gray if band == 0 else ColorInterp.undefined
            for band in range(bands)
        ]
    return values


ALPHA: list[tuple[str, int, str, dict[str, Any]]] = [
    # what is odd in it, bands with alpha, type, how it is written
    ("two bands", 2, "uint8", {}),
    ("floats", 4, "float32", {"opaque": 0.01}),
    ("doubles", 2, "float64", {"opaque": 1.0}),
    ("signed", 4, "int16", {}),
    ("32 bits", 2, "uint32", {"opaque": 2**31}),
    ("16 bits, nearly transparent", 4, "uint16", {"opaque": 1}),
    ("three bands", 3, "uint8", {}),
    ("five bands", 5, "uint16", {}),  # case alpha-not-seen
    ("nine bands", 9, "uint8", {}),
    ("alpha comes first", 4, "uint8", {"place": 0}),
    ("alpha amid", 5, "float32", {"place": 2}),
    ("with a nodata value", 4, "uint8", {"nodata": 0}),
    ("a nodata value that is alpha's", 4, "uint8", {"nodata": 200}),
    ("not a number is nodata", 4, "float32", {"nodata": np.nan}),
    ("in strips, compressed", 5, "uint16", {"tiled": False, "blocksize": 5, "compress": "deflate"}),
    ("bands apart", 5, "uint8", {"interleave": "band"}),
]


@each_row(("odd", "bands", "dtype", "options"), ALPHA)
def test_alpha_of_any_image_says_which_cells_are_there(
    tmp_path: Path, odd: str, bands: int, dtype: str, options: dict[str, Any]
) -> None:
    values = with_alpha(tmp_path / "a.tif", bands, dtype, **options)
    place = options.get("place", bands - 1)
    cells, valid = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(valid, ~HOLE, odd)
    np.testing.assert_array_equal(cells, np.delete(values, place, axis=0), odd)


@each_row(("odd", "bands", "dtype", "options"), ALPHA)
def test_a_band_that_is_taken_masks_nothing_though_it_is_called_alpha(
    tmp_path: Path, odd: str, bands: int, dtype: str, options: dict[str, Any]
) -> None:
    values = with_alpha(tmp_path / "a.tif", bands, dtype, **options)
    taken = [options.get("place", bands - 1), 0 if options.get("place") != 0 else 1]
    cells, valid = read(tmp_path / "a.tif", taken)
    expected = np.ones(SHAPE, bool)
    if (nodata := options.get("nodata")) is not None and not np.isnan(nodata):
        expected = (values != nodata).any(axis=0)
    np.testing.assert_array_equal(valid, expected, odd)
    np.testing.assert_array_equal(cells, values[taken], odd)


def test_alpha_of_png_and_a_mask_beside_alpha(tmp_path: Path) -> None:
    picture = random_values((*SHAPE, 4))
    picture[..., 3] = np.where(HOLE, 0, 1)
    for mode, channels in (("RGBA", [0, 1, 2, 3]), ("LA", [0, 3])):
        PillowImage.fromarray(np.ascontiguousarray(picture[..., channels]), mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read(tmp_path / "a.png")[1], ~HOLE, mode)
    with_alpha(tmp_path / "b.tif", 5, "uint8")
    mask = np.ones(SHAPE, bool)
    mask[10:] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "b.tif", "r+") as image:
        image.write_mask(mask)
    np.testing.assert_array_equal(read(tmp_path / "b.tif")[1], ~HOLE & mask)
    np.testing.assert_array_equal(read(tmp_path / "b.tif", [4, 0])[1], mask)


def test_alpha_that_is_no_number_hides_its_cell(tmp_path: Path) -> None:
    with_alpha(tmp_path / "a.tif", 3, "float32", opaque=np.nan)
    assert not read(tmp_path / "a.tif")[1].any()


def test_with_a_nodata_value_a_cell_is_there_where_any_of_its_bands_is(tmp_path: Path) -> None:
    values = random_values((4, *SHAPE))
    values[3, HOLE] = 0  # water in near infrared; rasterio's dataset_mask asks this band alone
    values[:, 0, 0] = 0
    expected = np.ones(SHAPE, bool)
    expected[0, 0] = False
    for photometric in ("rgb", "minisblack"):
        path = make_raster(tmp_path / f"{photometric}.tif", values=values, nodata=0, photometric=photometric)
        np.testing.assert_array_equal(read(path)[1], expected, photometric)


# Palettes


def saved_palette(path: Path, transparency: object, entries: int = 6, **options: Any) -> Path:
    """Save a picture of places in a palette; Pillow is its other reader."""
    places = np.random.default_rng(2).integers(0, entries, SHAPE).astype(np.uint8)
    picture = PillowImage.fromarray(places, "L").convert("P")
    picture.putpalette(random_values((entries, 3), seed=3).tobytes())
    picture.putdata(places.ravel().tolist())
    picture.save(path, transparency=transparency, **options)
    return path


@each_row(
    ("transparency", "entries"),
    [
        (bytes([0, 0, 0, 255, 255, 255]), 6),  # case palette-transparent
        (bytes([255, 0]), 6),  # fewer than there are colours
        (0, 6),
        (bytes([1, 254, 128]), 6),  # somewhat transparent is there
        (bytes([0] * 6), 6),
        (bytes(range(256)), 256),
        (bytes([0, 255]), 2),  # of one bit
        (bytes([0, 0, 0, 9]), 4),  # of two bits
    ],
)
def test_transparent_colours_of_a_palette_are_no_cells(tmp_path: Path, transparency: object, entries: int) -> None:
    path = saved_palette(tmp_path / "a.png", transparency, entries)
    with PillowImage.open(path) as picture:
        colors = np.moveaxis(np.asarray(picture.convert("RGBA")), -1, 0)
    cells, valid = read(path)
    np.testing.assert_array_equal(valid, colors[3] != 0)
    np.testing.assert_array_equal(cells, colors[:3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_palette_s_alpha_band_and_nodata_value(tmp_path: Path, dtype: str) -> None:
    places = np.random.default_rng(2).integers(0, 6, SHAPE).astype(dtype)
    colors = {place: (place * 9, 7, 250 - place, 255) for place in range(6)}
    alpha = np.where(HOLE, 0, 77).astype(dtype)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "dtype": dtype, "photometric": "palette"}
    for name, count, nodata in (("alpha", 2, None), ("nodata", 1, 4), ("both", 2, 4)):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path, "w", count=count, nodata=nodata, **profile) as image:
            image.write(places, 1)
            image.write_colormap(1, colors)
            if count == 2:
                image.write(alpha, 2)
                image.colorinterp = [ColorInterp.palette, ColorInterp.alpha]
        expected = np.ones(SHAPE, bool)
        if count == 2:
            expected &= ~HOLE
        if nodata is not None:
            expected &= places != nodata  # GDAL makes the colour of the nodata value transparent
        np.testing.assert_array_equal(read(path)[1], expected, name)


@each_row("mode", ["L", "RGB", "I;16"])
def test_the_one_transparent_colour_of_a_png_without_palette(tmp_path: Path, mode: str) -> None:
    values = random_values((*SHAPE, 3) if mode == "RGB" else SHAPE, "uint16" if mode == "I;16" else "uint8")
    values[HOLE] = 7
    PillowImage.fromarray(values).save(tmp_path / "a.png", transparency=(7, 7, 7) if mode == "RGB" else 7)
    expected = (values != 7).any(axis=-1) if mode == "RGB" else values != 7
    np.testing.assert_array_equal(read(tmp_path / "a.png")[1], expected)


# Cells that are no numbers


@each_row(
    ("dtype", "cell", "nodata"),
    [
        ("float32", np.nan, None),  # case nan-undeclared
        ("float32", np.nan, -9999),
        ("float32", np.nan, np.nan),
        ("float64", np.nan, None),
        ("float32", np.inf, None),
        ("float64", -np.inf, -9999),
        ("float32", LEAST_FLOAT32, None),  # what Esri's tools write for nodata
        ("float32", -3.4028230607370965e38, None),
        ("float64", -1.7976931348623157e308, None),
        ("float64", 1e39, None),  # no 32-bit float
        ("float16", np.inf, None),
        ("float16", np.nan, None),
    ],
)
def test_a_cell_that_is_no_number_in_a_band_that_is_taken_is_none(
    tmp_path: Path, dtype: str, cell: float, nodata: float | None
) -> None:
    values = random_values((3, *SHAPE), "float32").astype(dtype)
    values[1, HOLE] = cell
    path = make_raster(tmp_path / "a.tif", values=values, nodata=nodata)
    cells, valid = read(path)
    np.testing.assert_array_equal(valid, ~HOLE)
    np.testing.assert_array_equal(cells[:, valid], values[:, valid])
    assert read(path, [2, 0])[1].all()
    assert not read(path, [0, 1])[1].all()


def test_cells_that_are_large_numbers_are_there(tmp_path: Path) -> None:
    for dtype, cell in (("float32", 3.3e38), ("float64", -3.3e38), ("float16", -65504), ("float32", 1e-45)):
        path = make_raster(tmp_path / f"{dtype}.tif", values=np.full((1, *SHAPE), cell, dtype))
        assert read(path)[1].all(), dtype


# Cells that are lost


def damaged(path: Path, damage: Callable[[bytearray, int, int], None], **options: Any) -> Path:
    """Write an image of 2 x 2 tiles, and damage the bytes of its last one: from an offset, so many."""
    rows, columns = np.indices((512, 512))
    smooth = np.stack([rows // 3, columns // 3, (rows + columns) // 5]) + random_values((3, 512, 512)) // 16
    make_raster(path, values=smooth.astype(np.uint8), blocksize=256, interleave="pixel", **options)
    with rasterio.open(path) as image:
        offset, size = (int(image.get_tag_item(f"BLOCK_{name}_1_1", "TIFF", bidx=1)) for name in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    damage(content, offset, size)
    path.write_bytes(content)
    return path


def zeroed(content: bytearray, offset: int, size: int) -> None:
    content[offset + size // 2 : offset + size] = bytes(size - size // 2)


def overwritten(content: bytearray, offset: int, size: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 60, np.uint8).tobytes()
    content[offset + size // 2 : offset + size // 2 + 60] = noise


def emptied(content: bytearray, offset: int, size: int) -> None:
    content[offset : offset + size] = bytes(size)


def cut_off(content: bytearray, offset: int, size: int) -> None:
    del content[offset + size // 2 :]


@each_row(
    ("compress", "damage", "options"),
    [
        ("jpeg", zeroed, {}),  # grey in silence until 0.3.0: GDAL only warns
        ("jpeg", overwritten, {}),
        ("jpeg", emptied, {"photometric": "ycbcr"}),
        ("jpeg", zeroed, {"photometric": "ycbcr"}),
        ("jpeg", cut_off, {}),
        ("packbits", overwritten, {}),
        ("packbits", zeroed, {}),
        ("lzw", zeroed, {}),
        ("deflate", overwritten, {}),
        ("zstd", zeroed, {}),
        ("lerc", overwritten, {}),
        (None, cut_off, {}),
    ],
)
def test_a_tile_whose_bytes_are_damaged_is_an_error(
    tmp_path: Path, compress: str | None, damage: Callable[[bytearray, int, int], None], options: dict[str, Any]
) -> None:
    path = damaged(tmp_path / "a.tif", damage, compress=compress, **options)
    with pytest.raises(ImageError, match=r"image 'a\.tif' cannot be read: it is truncated or broken"):
        read(path)


def test_a_tile_that_is_not_in_the_file_is_no_damage(tmp_path: Path) -> None:
    for compress in ("jpeg", "deflate"):
        path = tmp_path / f"{compress}.tif"
        profile = {"driver": "GTiff", "width": 512, "height": 256, "count": 1, "dtype": "uint8", "sparse_ok": True}
        with rasterio.open(path, "w", tiled=True, compress=compress, **profile) as image:
            image.write(np.full((256, 256), 90, np.uint8), 1, window=((0, 256), (0, 256)))
        cells, valid = read(path)
        assert valid.all()
        assert cells[0, :, 256:].max() == 0
        np.testing.assert_allclose(cells[0, :, :256], 90, atol=1)


@each_row(("dtype", "nodata"), [("float32", -9999.0), ("uint8", 0)])
def test_nodata_says_nothing_of_alpha(tmp_path: Path, dtype: str, nodata: float) -> None:
    values = random_values((4, *SHAPE), dtype)
    values[:3, HOLE] = nodata
    values[:3, ~HOLE] = np.maximum(values[:3, ~HOLE], 1)
    values[3] = 200
    make_raster(tmp_path / "a.tif", values=values, photometric="RGB", nodata=nodata)
    with rasterio.open(tmp_path / "a.tif", "r+") as image:
        image.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    _, valid = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(valid, ~HOLE)


@each_row("cut", [0.5, 0.9])
def test_jpeg_2000_that_ends_early_is_refused_whatever_its_blocks(tmp_path: Path, cut: float) -> None:
    path = tmp_path / "a.jp2"
    make_raster(path, width=256, height=256, driver="JP2OpenJPEG", crs=None, blockxsize=64, blockysize=64)
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(ImageError, match=r"a\.jp2"):
        read(path)
