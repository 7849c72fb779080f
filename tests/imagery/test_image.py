"""What an image is: turned as EXIF says, with colours for places in a palette, a reference from the files beside it."""

from __future__ import annotations

import codecs
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps
from rasterio.control import GroundControlPoint
from rasterio.enums import WktVersion

import oracle
from conftest import MakePackage
from processes.classify.planning.bands import select_bands
from processes.errors import ImageError, RequestError
from processes.imagery.chips import ChipReader, Placement
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image, open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from processes.model.catalog import Catalog, Model
from rasters import NORTH_UP, make_raster, random_values
from service import models_checked_here
from tables import each_row

EXIF_ORIENTATION = 0x0112
WORLD_FILE = "0.5\n0\n0\n-0.5\n500000.25\n4999999.75\n"


def opened(path: Path) -> Image:
    return open_image(FileSource(path, path.name), 10**9)


def cells_of(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Return a whole image as the network would get it; in its own size, all bands, where nothing else is said."""
    image = opened(path)
    width, height = size or (image.grid.width, image.grid.height)
    window = np.array([[0, 0, image.grid.width, image.grid.height]], np.int32)
    placement = Placement(np.zeros(1, np.int32), window)
    with gdal_settings(), TileReader([image], [BandSelection(image.data_bands)]) as tiles:
        reader = ChipReader(tiles, placement, ChipRule(width, height, False, None), None, None)
        return np.asarray(reader.read(np.zeros(1, np.int64)).chips[0], np.float32)


@each_row("orientation", range(1, 9))
def test_a_jpeg_is_seen_as_exif_turns_it(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.jpg"
    plain = PillowImage.fromarray(np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8))
    exif = PillowImage.Exif()
    exif[EXIF_ORIENTATION] = orientation
    plain.save(path, exif=exif, quality=95)
    with PillowImage.open(path) as stored:
        upright = ImageOps.exif_transpose(stored)
    seen = cells_of(path, upright.size)
    np.testing.assert_allclose(
        seen, np.moveaxis(np.asarray(upright, np.float32), -1, 0), atol=2
    )  # JPEG decoders differ
    resized = oracle.whole_image(path, oracle.ChipRule(16, 8))
    np.testing.assert_allclose(cells_of(path, (16, 8)), resized, atol=1e-3)


def turned(path: Path, orientation: int, values: NDArray[Any]) -> Path:
    """Save cells `(bands, height, width)` as a TIFF or PNG that states an orientation; Pillow cannot write them all."""
    if path.suffix == ".png":
        exif = PillowImage.Exif()
        exif[EXIF_ORIENTATION] = orientation
        PillowImage.fromarray(np.moveaxis(values, 0, -1).squeeze()).save(path, exif=exif)
        return path
    make_raster(path, values=values, crs=None, nodata=77)
    content = bytearray(path.read_bytes())
    # GDAL writes a tag for the nodata value, whose place a tag of orientation takes.
    directory = struct.unpack_from("<I", content, 4)[0]
    entries = [
        (struct.pack("<HHIHH", EXIF_ORIENTATION, 3, 1, orientation, 0), True) if tag == 42113 else (entry, False)
        for entry in (bytes(content[place : place + 12]) for place in _entries(content, directory))
        for tag in struct.unpack_from("<H", entry)
    ]
    assert any(is_new for _, is_new in entries)
    ordered = sorted((entry for entry, _ in entries), key=lambda entry: struct.unpack_from("<H", entry))
    content[directory + 2 : directory + 2 + 12 * len(ordered)] = b"".join(ordered)
    path.write_bytes(content)
    return path


def _entries(content: bytearray, directory: int) -> range:
    (count,) = struct.unpack_from("<H", content, directory)
    return range(directory + 2, directory + 2 + 12 * count, 12)


@each_row(
    ("name", "bands", "dtype"),
    [  # case turned-tiff-png, and what Pillow has no mode for
        ("a.tif", 3, "uint8"),
        ("a.png", 3, "uint8"),
        ("a.png", 1, "uint8"),
        ("a.png", 4, "uint8"),
        ("a.tif", 1, "uint16"),
        ("a.tif", 5, "uint16"),
        ("a.tif", 3, "float32"),
    ],
)
def test_a_tiff_and_a_png_are_seen_as_they_state(tmp_path: Path, name: str, bands: int, dtype: str) -> None:
    values = random_values((bands, 6, 10), dtype)
    expected = values[[0, 1, 2]] if name == "a.png" and bands == 4 else values
    for orientation in range(1, 9):
        path = turned(tmp_path / name, orientation, values)
        # EXIF 2.3: which edges of the picture the first row and the first column are.
        upright = {
            1: expected,
            2: expected[:, :, ::-1],
            3: expected[:, ::-1, ::-1],
            4: expected[:, ::-1],
            5: expected.transpose(0, 2, 1),
            6: np.rot90(expected, -1, (1, 2)),
            7: np.rot90(expected, 2, (1, 2)).transpose(0, 2, 1),
            8: np.rot90(expected, 1, (1, 2)),
        }[orientation]
        if name == "a.png":
            with PillowImage.open(path) as stored:
                pillow = np.asarray(ImageOps.exif_transpose(stored)).reshape(*upright.shape[1:], -1)[
                    ..., : len(upright)
                ]
            np.testing.assert_array_equal(np.moveaxis(pillow, -1, 0), upright)
        np.testing.assert_array_equal(cells_of(path, upright.shape[:0:-1]), upright.astype(np.float32))


def test_a_tiff_and_a_png_with_a_reference_are_not_turned(tmp_path: Path) -> None:
    for name, world in (("a.tif", ".tfw"), ("a.png", ".pgw")):
        (tmp_path / world).mkdir()
        path = turned(tmp_path / world / name, 6, random_values((3, 6, 10)))
        assert opened(path).orientation == 6
        path.with_suffix(world).write_text(WORLD_FILE)
        assert opened(path).orientation == 6  # a place without a CRS is none
        path.with_suffix(".prj").write_text(rasterio.CRS.from_epsg(32633).to_wkt())
        assert opened(path).orientation == 1


@each_row("mode", ["L", "RGB", "RGBA", "P"])
def test_a_truncated_png_is_refused(tmp_path: Path, mode: str) -> None:
    # GDAL 3.12 reads a small one whole without an error and gives noise; seen with 0.3.0.
    picture = PillowImage.fromarray(random_values((40, 50, 4)), "RGBA").convert(mode)
    picture.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for share in (0.4, 0.9, 0.99):
        (tmp_path / "a.png").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ImageError, match=r"image 'a\.png' cannot be opened: it is not a sound GeoTIFF"):
            opened(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(ImageError, match=r"image 'a\.png' cannot be opened"):
        opened(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", ["0", "9", "upright"])
def test_an_orientation_that_exif_does_not_know_turns_nothing(tmp_path: Path, orientation: str) -> None:
    path = tmp_path / "photo.jpg"
    PillowImage.new("RGB", (8, 6)).save(path)
    with rasterio.open(path, "r+") as dataset:  # into the .aux.xml beside it
        dataset.update_tags(EXIF_Orientation=orientation)
    assert opened(path).orientation == 1


def test_a_jpeg_with_a_reference_is_not_turned(tmp_path: Path) -> None:
    path = tmp_path / "ortho.jpg"
    exif = PillowImage.Exif()
    exif[EXIF_ORIENTATION] = 6
    PillowImage.new("RGB", (8, 6)).save(path, exif=exif)
    assert opened(path).orientation == 6
    path.with_suffix(".jgw").write_text(WORLD_FILE)
    path.with_suffix(".prj").write_text(rasterio.CRS.from_epsg(32633).to_wkt())
    assert opened(path).orientation == 1
    assert opened(path).is_georeferenced


@each_row(
    ("prj", "encoding"),
    [
        ("a.prj", "utf-8-sig"),  # case sidecars
        ("a.tif.prj", "ascii"),
        ("a.tif.PRJ", "utf-8-sig"),
        ("a.PRJ", "utf-16"),
        ("a.prj", "utf-16-le"),
        ("a.prj", "utf-16-be"),
    ],
)
@each_row("world", [".tfw", ".TFW", ".tifw", ".wld"])
def test_a_prj_of_every_spelling_and_encoding(tmp_path: Path, prj: str, encoding: str, world: str) -> None:
    path = make_raster(tmp_path / "a.tif", crs=None, transform=None)
    path.with_suffix(world).write_text(WORLD_FILE)
    crs = rasterio.CRS.from_epsg(32633)
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    path.with_name(prj).write_bytes(mark + crs.to_wkt(version=WktVersion.WKT1_ESRI).encode(encoding))
    assert rasterio.CRS.from_wkt(opened(path).grid.crs_wkt) == crs


def test_a_prj_whose_name_has_letters_of_an_old_code_page(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", crs=None, transform=None)
    path.with_suffix(".tfw").write_text(WORLD_FILE)
    text = rasterio.CRS.from_epsg(32633).to_wkt(version=WktVersion.WKT1_ESRI)
    path.with_suffix(".prj").write_bytes(text.replace("WGS_1984_UTM_Zone_33N", "Réseau géodésique").encode("cp1252"))
    found = pyproj.CRS.from_wkt(opened(path).grid.crs_wkt or "")
    assert pyproj.CRS.from_epsg(32633).is_exact_same(found) or found.to_epsg(min_confidence=20) == 32633


def test_a_prj_of_the_whole_name_comes_before_one_of_the_stem(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", crs=None, transform=None)
    path.with_suffix(".tfw").write_text(WORLD_FILE)
    path.with_name("a.prj").write_text(rasterio.CRS.from_epsg(32632).to_wkt())
    path.with_name("a.tif.prj").write_text(rasterio.CRS.from_epsg(32633).to_wkt())
    assert rasterio.CRS.from_wkt(opened(path).grid.crs_wkt).to_epsg() == 32633


@each_row(
    ("name", "driver", "world", "ending"),
    [
        ("a.tif", "GTiff", "a.tfwx", ".tfwx"),  # case sidecars
        ("a.jpg", "JPEG", "a.jgwx", ".jgwx"),
        ("a.jpeg", "JPEG", "a.jgwx", ".jgwx"),
        ("a.png", "PNG", "a.PGWX", ".pgwx"),
        ("a.jp2", "JP2OpenJPEG", "a.j2wx", ".j2wx"),
        ("a.tiff", "GTiff", "a.tiffwx", ".tiffwx"),
        ("a.tif", "GTiff", "a.wldx", ".wldx"),
    ],
)
def test_an_approximate_world_file_is_named(tmp_path: Path, name: str, driver: str, world: str, ending: str) -> None:
    path = make_raster(tmp_path / name, driver=driver, crs=None, transform=None, tiled=False)
    path.with_name(world).write_text(WORLD_FILE)
    path.with_suffix(".prj").write_text(rasterio.CRS.from_epsg(32633).to_wkt())
    with pytest.raises(ImageError, match=rf"image '{name}' has an approximate reference only, in the {ending} file"):
        opened(path)


def test_an_approximate_world_file_beside_a_reference_of_the_image_is_not_read(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif")
    path.with_suffix(".tfwx").write_text(WORLD_FILE)
    assert opened(path).grid.transform == NORTH_UP


@pytest.mark.parametrize("morphed", [False, True], ids=["WKT", "Esri's WKT"])
@pytest.mark.parametrize(
    ("name", "driver", "world"),
    [("a.jpg", "JPEG", ".jgw"), ("a.jpg", "JPEG", ".wld"), ("a.png", "PNG", ".pgw"), ("a.tif", "GTiff", ".tfw")],
)
def test_a_world_file_and_a_prj_give_the_reference(
    tmp_path: Path, name: str, driver: str, world: str, morphed: bool
) -> None:
    path = make_raster(tmp_path / name, driver=driver, crs=None, transform=None)
    assert not opened(path).is_georeferenced
    path.with_suffix(world).write_text(WORLD_FILE)
    assert not opened(path).is_georeferenced  # a place without a CRS is none
    crs = rasterio.CRS.from_epsg(32633)
    dialect = WktVersion.WKT1_ESRI if morphed else WktVersion.WKT2
    path.with_suffix(".prj").write_text(crs.to_wkt(version=dialect))
    image = opened(path)
    assert rasterio.CRS.from_wkt(image.grid.crs_wkt) == crs
    assert image.grid.transform[:6] == (0.5, 0, 500000, 0, -0.5, 5000000)


def test_a_prj_that_names_no_crs_is_refused(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.png", driver="PNG", crs=None, transform=None)
    path.with_suffix(".pgw").write_text(WORLD_FILE)
    path.with_suffix(".prj").write_bytes(b"\xff nonsense")
    with pytest.raises(ImageError, match=r"image 'a.png': the .prj file beside it names no CRS"):
        opened(path)


def test_ground_control_points_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    points = [GroundControlPoint(row, column, 15 + column / 99, 45 - row / 99) for row in (0, 8) for column in (0, 8)]
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", gcps=points, crs="EPSG:4326"
    ) as dataset:
        dataset.write(np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(ImageError, match="ground control points"):
        opened(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_places_in_a_palette_become_colours(tmp_path: Path, dtype: str, with_alpha: bool) -> None:
    path = tmp_path / "classes.tif"
    rng = np.random.default_rng(3)
    places = rng.integers(0, 200 if dtype == "uint8" else 40_000, (12, 10)).astype(dtype)
    colors = {int(place): (*rng.integers(0, 256, 3).tolist(), 255) for place in np.unique(places)}
    count = 2 if with_alpha else 1
    profile = {"driver": "GTiff", "width": 10, "height": 12, "count": count, "dtype": dtype, "photometric": "palette"}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(places, 1)
        dataset.write_colormap(1, colors)
        if with_alpha:
            dataset.write(np.full_like(places, 255), 2)
            dataset.colorinterp = [rasterio.enums.ColorInterp.palette, rasterio.enums.ColorInterp.alpha]
    expected = np.array([[colors[int(place)][:3] for place in row] for row in places], np.float32)
    image = opened(path)
    assert (image.bands, image.ranges) == (3, ((0, 255),) * 3)
    np.testing.assert_array_equal(cells_of(path), np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize(
    ("name", "driver", "internal"),
    [("a.tif", "GTiff", True), ("a.tif", "GTiff", False), ("a.jpg", "JPEG", True), ("a.png", "PNG", False)],
)
def test_masked_cells_are_zero(tmp_path: Path, name: str, driver: str, internal: bool) -> None:
    path = make_raster(tmp_path / name, driver=driver)
    mask = np.random.default_rng(4).integers(0, 2, (48, 64), np.uint8) * 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    assert path.with_name(f"{name}.msk").exists() == (not internal)
    with rasterio.open(path) as dataset:
        expected = np.where(mask != 0, dataset.read(), 0)
    np.testing.assert_array_equal(cells_of(path), expected)


@each_row(("bands", "dtype"), zip(range(1, 14), itertools.cycle(["uint8", "int16", "float32"]), strict=False))
def test_one_to_thirteen_bands(tmp_path: Path, bands: int, dtype: str) -> None:
    path = make_raster(tmp_path / "a.tif", bands=bands, dtype=dtype)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(cells_of(path), dataset.read().astype(np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_jpeg_2000(tmp_path: Path, dtype: str, bands: int) -> None:
    path = make_raster(tmp_path / "a.jp2", driver="JP2OpenJPEG", dtype=dtype, bands=bands)
    image = opened(path)
    assert image.is_georeferenced
    assert image.grid.transform == NORTH_UP
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(
            cells_of(path), dataset.read([band + 1 for band in image.data_bands]).astype(np.float32)
        )


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"descriptions": ("Blue", "green", "RED")}, (2, 1, 0)),
        ({"photometric": "RGB"}, (0, 1, 2)),
        ({"photometric": "RGB", "descriptions": ("", "Red", "")}, None),  # then there are two of red, and no green
        ({"driver": "PNG"}, (0, 1, 2)),
        ({"bands": 1, "photometric": "palette", "colormap": {0: (1, 2, 3, 255)}}, (0, 1, 2)),
        ({"dtype": "uint16"}, None),
    ],
    ids=["descriptions", "colours", "a description before a colour", "PNG", "palette", "nothing"],
)
def test_bands_are_found_by_name(
    tmp_path: Path, make_package: MakePackage, changes: dict[str, Any], taken: tuple[int, ...] | None
) -> None:
    package = make_package(ExtractBands=["Red", "Green", "Blue"])
    with models_checked_here():
        model = Catalog((package.parent,), tmp_path / "state", 2**30).model(package.name)
    image = opened(make_raster(tmp_path / "a.tif", **changes))
    if taken is None:
        with pytest.raises(RequestError, match=r"has no band '(Red|Green)'"):
            select_bands([image], [""], model)
    else:
        assert select_bands([image], [""], model) == [BandSelection(taken)]


def test_an_alpha_band_that_a_model_could_take_is_told(tmp_path: Path, make_package: MakePackage) -> None:
    package = make_package(ExtractBands=None)
    with models_checked_here():
        model = Catalog((package.parent,), tmp_path / "state", 2**30).model(package.name)
    image = opened(make_raster(tmp_path / "a.tif", bands=2, alpha=True))
    with pytest.raises(
        RequestError, match=r"has 2 bands beside alpha, the model .* takes 3; ExtractBands .* name the alpha band too"
    ):
        select_bands([image], [""], model)


def in_range(model: Model, paths: list[Path]) -> list[NDArray[np.float32]]:
    """Return whole images as a model with a DataRange gets them, cells in float32."""
    images = [opened(path) for path in paths]
    selections = select_bands(images, [""] * len(images), model)
    found = []
    with gdal_settings(), TileReader(images, selections) as tiles:
        for position, image in enumerate(images):
            cells = np.zeros((3, image.grid.height, image.grid.width), np.float32)
            valid = np.zeros(cells.shape[1:], bool)
            tiles.cut(position, (0, 0, image.grid.width, image.grid.height), cells, valid)
            found.append(np.where(valid, cells, 0))
    return found


@pytest.fixture
def ranged(make_package: MakePackage, tmp_path: Path) -> Model:
    """Return a model that takes three bands in another order, mapped to -1 to 3."""
    package = make_package(ExtractBands=[2, 0, 1], DataRange=[-1, 3])
    with models_checked_here():
        return Catalog((package.parent,), tmp_path / "state", 2**30).model(package.name)


@pytest.mark.parametrize(
    ("dtype", "statistics", "own"),
    [
        ("uint8", None, (0, 255)),
        ("int8", None, (-128, 127)),
        ("uint16", None, (0, 65535)),
        ("int16", None, (-32768, 32767)),
        ("uint16", (12.5, 812.5), (12.5, 812.5)),
        ("float32", (-3, 1000.25), (-3, 1000.25)),
        ("float64", (0, 1e-3), (0, 1e-3)),
        ("int16", (5, 5), (-32768, 32767)),  # a range without width is none
    ],
)
def test_each_band_s_own_range_becomes_the_model_s(
    tmp_path: Path, ranged: Model, dtype: str, statistics: tuple[float, float] | None, own: tuple[float, float]
) -> None:
    path = make_raster(tmp_path / "a.tif", dtype=dtype, statistics=statistics, nodata=7)
    with rasterio.open(path) as dataset:
        share = (dataset.read([3, 1, 2]).astype(np.float64) - own[0]) / (own[1] - own[0])
        expected = np.where(dataset.dataset_mask() != 0, share * 4 - 1, 0)
    np.testing.assert_allclose(in_range(ranged, [path])[0], expected, rtol=1e-6, atol=1e-6)


@each_row(
    ("name", "driver", "dtype", "nbits", "own"),
    [
        ("a.tif", "GTiff", "uint16", 12, (0, 4095)),  # case nbits-datarange
        ("a.jp2", "JP2OpenJPEG", "uint16", 12, (0, 4095)),
        ("a.jp2", "JP2OpenJPEG", "int16", 12, (-2048, 2047)),
        ("a.jp2", "JP2OpenJPEG", "uint8", 7, (0, 127)),
        ("a.tif", "GTiff", "uint8", 4, (0, 15)),
        ("a.tif", "GTiff", "uint32", 24, (0, 2**24 - 1)),
        ("a.tif", "GTiff", "uint16", 9, (0, 511)),
    ],
)
def test_the_bits_that_a_file_states_are_its_range(
    tmp_path: Path, ranged: Model, name: str, driver: str, dtype: str, nbits: int, own: tuple[int, int]
) -> None:
    lossless: dict[str, Any] = {"reversible": "YES", "quality": 100} if driver == "JP2OpenJPEG" else {}
    values = np.random.default_rng(1).integers(own[0], own[1], (3, 20, 30)).astype(dtype)
    path = make_raster(tmp_path / name, driver=driver, values=values, nbits=nbits, tiled=False, **lossless)
    assert opened(path).ranges == (own,) * 3
    expected = (values[[2, 0, 1]].astype(np.float64) - own[0]) / (own[1] - own[0]) * 4 - 1
    np.testing.assert_allclose(in_range(ranged, [path])[0], expected, rtol=1e-6, atol=1e-6)


def test_statistics_and_types_win_over_bits_that_say_nothing_new(tmp_path: Path) -> None:
    stated = make_raster(tmp_path / "a.tif", dtype="uint16", nbits=12, statistics=(3, 4))
    assert opened(stated).ranges == ((3, 4),) * 3
    path = make_raster(tmp_path / "b.tif", dtype="uint16", bands=1)
    for nbits, own in (
        ("16", (0, 65535)),
        ("0", (0, 65535)),
        ("-3", (0, 65535)),
        ("many", (0, 65535)),
        ("11", (0, 2047)),
    ):
        path.with_name("b.tif.aux.xml").write_text(
            '<PAMDataset><PAMRasterBand band="1"><Metadata domain="IMAGE_STRUCTURE">'
            f'<MDI key="NBITS">{nbits}</MDI></Metadata></PAMRasterBand></PAMDataset>'
        )
        assert opened(path).ranges == (own,), nbits


def test_scale_and_offset_are_not_applied_and_told(tmp_path: Path) -> None:
    for name, scales, offsets, told in (
        ("none", (1, 1), (0, 0), False),
        ("scale", (1, 1e-4), (0, 0), True),
        ("offset", (1, 1), (-1000, 0), True),
        ("both", (0.1, 0.1), (3, 3), True),
    ):
        path = make_raster(tmp_path / f"{name}.tif", bands=2, dtype="uint16")
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = scales, offsets
            stored = dataset.read()
        assert opened(path).warnings == (("scale and offset are not applied",) if told else ()), name
        np.testing.assert_array_equal(cells_of(path), stored)


def with_compression(path: Path, number: int) -> Path:
    """Write a TIFF whose tag of compression has another number."""
    make_raster(path, compress="deflate")
    content = path.read_bytes()
    assert content.count(struct.pack("<HHIH", 259, 3, 1, 8)) == 1
    path.write_bytes(content.replace(struct.pack("<HHIH", 259, 3, 1, 8), struct.pack("<HHIH", 259, 3, 1, number)))
    return path


@each_row(
    ("number", "name"),
    [  # case codec-missing, and others that rasterio's wheels do not have
        (50002, "JPEG XL"),
        (52546, "JPEG XL"),
        (34712, "JPEG 2000"),
        (33003, "JPEG 2000"),
        (34661, "JBIG"),
        (34892, "lossy JPEG"),
        (61234, "TIFF compression 61234"),
    ],
)
def test_a_compression_that_cannot_be_decoded_is_named(tmp_path: Path, number: int, name: str) -> None:
    path = with_compression(tmp_path / "a.tif", number)
    with pytest.raises(ImageError, match=f"image 'a.tif' is compressed with {name}, which this server cannot decode"):
        opened(path)


@each_row("frame", [0xC5, 0xF7], ids=["hierarchical", "JPEG-LS"])
def test_a_variant_of_jpeg_that_cannot_be_decoded_is_named(tmp_path: Path, frame: int) -> None:
    path = make_raster(tmp_path / "a.jpg", driver="JPEG", crs=None, tiled=False)
    path.write_bytes(path.read_bytes().replace(b"\xff\xc0", bytes([0xFF, frame]), 1))
    with pytest.raises(ImageError, match="is compressed with a variant of JPEG, which this server cannot decode"):
        opened(path)


@each_row(("number", "name"), [(6, "old-style JPEG"), (34887, "LERC"), (32809, "ThunderScan")])
def test_a_compression_that_shows_at_the_first_cell_is_named(tmp_path: Path, number: int, name: str) -> None:
    path = with_compression(tmp_path / "a.tif", number)
    with pytest.raises(ImageError, match=f"truncated or broken, or of a variant of {name} that this server cannot"):
        cells_of(path)


def test_ranges_are_those_of_each_band_and_image(tmp_path: Path, ranged: Model) -> None:
    paths = [make_raster(tmp_path / name, dtype="float32", statistics=(0, 1)) for name in ("a.tif", "b.tif")]
    ranges = [[(0, 1), (-10, 10), (5, 6)], [(0, 2), (0, 4), (0, 8)]]
    for path, of_bands in zip(paths, ranges, strict=True):
        with rasterio.open(path, "r+") as dataset:
            for band, (low, high) in enumerate(of_bands, 1):
                dataset.update_tags(band, STATISTICS_MINIMUM=low, STATISTICS_MAXIMUM=high)
    for path, found in zip(paths, in_range(ranged, paths), strict=True):
        with rasterio.open(path) as dataset:
            for cells, band in zip(found, (3, 1, 2), strict=True):
                low, high = ranges[paths.index(path)][band - 1]
                expected = (dataset.read(band).astype(np.float64) - low) / (high - low) * 4 - 1
                np.testing.assert_allclose(cells, expected, rtol=1e-6)


def test_a_palette_s_range_is_that_of_colours(tmp_path: Path, ranged: Model) -> None:
    colors = {place: (place, 255 - place, 7, 255) for place in range(256)}
    path = make_raster(tmp_path / "a.tif", bands=1, colormap=colors, statistics=(3, 4), photometric="palette")
    found = in_range(ranged, [path])[0]
    with rasterio.open(path) as dataset:
        places = dataset.read(1)
    expected = np.stack([np.full(places.shape, 7.0), places, 255.0 - places]) / 255 * 4 - 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fractions_without_statistics_are_refused(tmp_path: Path, ranged: Model) -> None:
    path = make_raster(tmp_path / "a.tif", dtype="float32")
    with pytest.raises(RequestError, match=r"image 'a.tif': band 3 holds fractions and has no statistics"):
        in_range(ranged, [path])
