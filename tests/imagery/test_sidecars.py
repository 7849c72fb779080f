"""What lies beside an image is found in any folder, and a folder is not listed for each image in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from processes.errors import ImageError
from processes.imagery import sidecars
from processes.imagery.image import open_image
from processes.imagery.sidecars import listing_of
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from rasters import make_raster
from tables import each_row

TICK_S = 0.02
"""Longer than a tick of the clock of files."""
CROWD = 1001
"""Names that are too many for GDAL's list."""
WORLD_FILE = "0.5\n0\n0\n-0.5\n400000.25\n4999999.75\n"
_OF_BANDS = [f'<PAMRasterBand band="{band}"><NoDataValue>7</NoDataValue></PAMRasterBand>' for band in (1, 2, 3)]
PAM = f"<PAMDataset>{''.join(_OF_BANDS)}</PAMDataset>"
_RPC_OF_AXES = [f"{axis}_{kind}" for axis in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT") for kind in ("OFF", "SCALE")]
_RPC_PARTS = [f"{axis}_{part}" for axis in ("LINE", "SAMP") for part in ("NUM", "DEN")]
_RPC_NAMES = [*_RPC_OF_AXES, *(f"{part}_COEFF_{number}" for part in _RPC_PARTS for number in range(1, 21))]
RPC = "".join(f"{name}: 1\n" for name in _RPC_NAMES)


@pytest.fixture
def opened_with(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return how GDAL was told to list, of each opening of an image, and let folders count as settled at once."""
    found = list[str | None]()
    original = rasterio.open

    def noting(*arguments: Any, **options: Any) -> Any:
        if rasterio.env.hasenv():
            found.append(rasterio.env.getenv().get("GDAL_DISABLE_READDIR_ON_OPEN"))
        return original(*arguments, **options)

    monkeypatch.setattr("processes.imagery.source.rasterio.open", noting)
    monkeypatch.setattr(sidecars, "_SETTLED_NS", 0)
    return found


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the folders that are listed from now on."""
    found, original = list[str](), os.scandir

    def noting(path: Any = ".") -> Iterator[os.DirEntry[str]]:
        found.append(str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", noting)
    return found


def write_beside(path: Path, ending: str) -> None:
    """Write what lies beside an image: an ending that begins with the image's goes behind its whole name."""
    beside = path.with_name(path.name + ending.removeprefix(".tif") if ".tif." in ending else path.stem + ending)
    kind = ending.lower()
    if kind == ".tif.msk":
        mask = np.full((1, 48, 64), 255, np.uint8)
        mask[:, 10:20, 10:20] = 0
        with rasterio.open(beside, "w", driver="GTiff", width=64, height=48, count=1, dtype="uint8") as dataset:
            dataset.write(mask)
            dataset.update_tags(INTERNAL_MASK_FLAGS_1="2")
    elif kind == ".tif.ovr":
        with rasterio.open(path) as dataset:
            cells = dataset.read(out_shape=(dataset.count, 24, 32))
        with rasterio.open(beside, "w", driver="GTiff", width=32, height=24, count=len(cells), dtype="uint8") as half:
            half.write(cells)
    else:
        beside.write_text({".tif.aux.xml": PAM, "_rpc.txt": RPC}.get(kind, WORLD_FILE))


def facts(dataset: DatasetReader) -> dict[str, Any]:
    """Return what may come from beside an image."""
    with dataset:
        return {
            "transform": dataset.transform,
            "nodata": dataset.nodata,
            "masks": dataset.mask_flag_enums,
            "overviews": dataset.overviews(1),
            "rpcs": dataset.rpcs is not None,
            "files": sorted(Path(file).name for file in dataset.files),
            "valid": dataset.read_masks().tolist(),
        }


def both(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what this project finds of an image, and what GDAL finds by itself."""
    with gdal_settings():
        return facts(FileSource(path, path.name).open()), facts(rasterio.open(path, driver="GTiff"))


@each_row("crowded", [False, True])
@each_row(
    "ending",
    [
        ".tif.msk",
        ".tif.MSK",
        ".tif.aux.xml",
        ".tif.ovr",
        ".tif.OVR",
        ".tfw",
        ".TFW",
        ".tifw",
        ".wld",
        "_RPC.TXT",
        "_rpc.txt",
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_put_beside_an_image_is_found_as_gdal_finds_it(
    ending: str, crowded: bool, tmp_path: Path, opened_with: list[str | None]
) -> None:
    for number in range(3):
        make_raster(tmp_path / f"{number}.tif", crs=None, seed=number)
    for number in range(CROWD if crowded else 0):
        (tmp_path / f"{number}.txt").touch()
    time.sleep(TICK_S)
    opened_with.clear()
    found, expected = both(tmp_path / "1.tif")
    assert found == expected
    assert opened_with[0] == ("TRUE" if crowded else "EMPTY_DIR")
    write_beside(tmp_path / "1.tif", ending)
    time.sleep(TICK_S)
    before, (found, expected) = expected, both(tmp_path / "1.tif")
    assert found == expected
    assert found != before, "it has no effect"
    assert both(tmp_path / "2.tif")[0] == both(tmp_path / "2.tif")[1]


def valid_cells(path: Path) -> NDArray[np.bool_]:
    image = open_image(FileSource(path, path.name), 10**9)
    cells, valid = np.zeros((3, 48, 64), np.uint8), np.zeros((48, 64), bool)
    with gdal_settings(), TileReader([image], [BandSelection((0, 1, 2))]) as tiles:
        tiles.cut(0, (0, 0, 64, 48), cells, valid)
    return valid


@each_row("ending", [".tif.msk", ".tif.MSK", ".tif.aux.xml"])
@pytest.mark.usefixtures("opened_with")
def test_cells_follow_what_is_put_beside_the_image_between_two_readings(ending: str, tmp_path: Path) -> None:
    for number in range(3):
        path = make_raster(tmp_path / f"{number}.tif", seed=number)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.full((3, 10, 10), 7, np.uint8), window=((10, 20), (10, 20)))
    time.sleep(TICK_S)
    assert valid_cells(path).all()
    write_beside(path, ending)
    time.sleep(TICK_S)
    assert not valid_cells(path)[10:20, 10:20].any()


@each_row(("name", "driver"), [("a.tif", "GTiff"), ("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.jp2", "JP2OpenJPEG")])
@each_row("beside", ["", ".aux.xml", ".msk"])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_cells_without_their_reference_are_the_same(name: str, driver: str, beside: str, tmp_path: Path) -> None:
    path = make_raster(tmp_path / name, driver=driver, crs=None if driver in ("PNG", "JPEG") else "EPSG:32633")
    if beside == ".msk":
        write_beside(path.with_suffix(".tif") if driver == "GTiff" else make_raster(tmp_path / "b.tif"), ".tif.msk")
        if driver != "GTiff":
            (tmp_path / "b.tif.msk").rename(path.with_name(f"{name}.msk"))
    elif beside:
        path.with_name(f"{name}{beside}").write_text(PAM)
    with gdal_settings():
        source = FileSource(path, name)
        with source.open() as whole, source.open_cells() as cells:
            assert np.array_equal(whole.read(), cells.read())
            assert np.array_equal(whole.read_masks(), cells.read_masks())
            assert (whole.nodatavals, whole.mask_flag_enums) == (cells.nodatavals, cells.mask_flag_enums)
            assert whole.colorinterp == cells.colorinterp
            assert driver != "GTiff" or cells.transform == Affine.identity(), "its place is looked for"


@each_row("opening", [FileSource.open, FileSource.open_cells])
def test_a_file_of_overviews_that_is_named_beside_an_image_is_refused(
    opening: Callable[[FileSource], DatasetReader], tmp_path: Path
) -> None:
    path = make_raster(tmp_path / "a.tif")
    named = '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">b.tif</MDI></Metadata>'
    path.with_name("a.tif.aux.xml").write_text(f"<PAMDataset>{named}</PAMDataset>")
    with gdal_settings(), pytest.raises(ImageError, match="names a file of overviews"):
        opening(FileSource(path, "a.tif"))


def test_a_folder_is_listed_once_for_all_its_images(
    tmp_path: Path, opened_with: list[str | None], listings: list[str]
) -> None:
    for number in range(20):
        make_raster(tmp_path / f"{number}.tif", seed=number)
    time.sleep(TICK_S)
    opened_with.clear()
    for number in range(20):
        valid_cells(tmp_path / f"{number}.tif")
    assert listings.count(str(tmp_path)) <= 2  # a period may have ended
    assert opened_with == ["EMPTY_DIR"] * 40


def test_a_folder_with_other_files_is_left_to_gdal(tmp_path: Path, opened_with: list[str | None]) -> None:
    path = make_raster(tmp_path / "a.tif")
    (tmp_path / "DIM_a.XML").touch()
    time.sleep(TICK_S)
    opened_with.clear()
    valid_cells(path)
    assert opened_with == [None, None]


def test_a_folder_that_was_changed_just_now_is_left_to_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_raster(tmp_path / "a.tif")
    changed_ns = tmp_path.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed_ns + 2 * 10**9)
    assert not listing_of(tmp_path).options
    monkeypatch.setattr(time, "time_ns", lambda: changed_ns + 4 * 10**9)
    assert listing_of(tmp_path).options == {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    assert not listing_of(tmp_path / "none").options
