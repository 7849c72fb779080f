"""The whole tool over HTTP without features, against a slow, independent reference: each image is an object."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS, Transformer

from oracle import EXIF_ORIENTATION, place_of
from rasters import NORTH_UP, SOUTH_UP, make_raster, random_values, rotated, to_map
from service import link
from tool_oracle import CRS84, Feature, Request, expected_rows, extent_window
from tool_service import EXACT, GEOPACKAGE, MODELS, TABLE, Tool, request_body, start_tool, statuses

UTM = "EPSG:32633"
WIDTH, HEIGHT = 21, 14
CHANGED = 0.005
"""A probability that is this far from another shows that they are not of the same chip."""


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return start_tool(tmp_path_factory.getbasetemp() / "tool")


@pytest.fixture
def folder(tool: Tool, request: pytest.FixtureRequest) -> Path:
    """Return a folder of this test's own for its images."""
    return tool.folder(f"{len(list(tool.imagery.iterdir()))}-{request.node.originalname}")


def values_of(bands: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    return random_values((bands, HEIGHT, WIDTH), dtype, seed)


def valid_cells() -> NDArray[np.bool_]:
    """Return a mask, `(height, width)`, True = valid: all but a corner."""
    mask = np.ones((HEIGHT, WIDTH), np.bool_)
    mask[5:, 9:] = False
    return mask


def raster(name: str, bands: int = 3, dtype: str = "uint8", **options: Any) -> Callable[[Path], Path]:
    """Return a function that writes an image of this name into a folder."""
    return lambda folder: make_raster(folder / name, values=values_of(bands, dtype), **options)


def with_world_file(name: str, ending: str, esri: bool = True, **options: Any) -> Callable[[Path], Path]:
    """Return a function that writes an image whose reference is in the files beside it."""

    def write(folder: Path) -> Path:
        path = make_raster(folder / name, values=values_of(), crs=None, **options)
        write_reference(path, ending, esri)
        return path

    return write


def write_reference(path: Path, ending: str, esri: bool = True) -> None:
    """Write a world file, which has the centre of the first cell, and a `.prj`."""
    grid = rotated(20)
    x, y = grid.c + (grid.a + grid.b) / 2, grid.f + (grid.d + grid.e) / 2
    lines = [grid.a, grid.d, grid.b, grid.e, x, y]
    path.with_suffix(ending).write_text("\n".join(f"{value:.12f}" for value in lines) + "\n")
    path.with_suffix(".prj").write_text(CRS.from_user_input(UTM).to_wkt("WKT1_ESRI" if esri else "WKT1_GDAL"))


def with_mask_file(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Return a function that writes an image with a `.msk` beside it."""

    def write_both(folder: Path) -> Path:
        path = write(folder)
        apart = make_raster(folder / "mask", values=values_of(1), crs=None)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(apart, "r+") as image:
            image.write_mask(valid_cells())
        shutil.move(folder / "mask.msk", f"{path}.msk")
        apart.unlink()
        with rasterio.open(path) as image:
            assert (image.dataset_mask() == 0).any()
        return path

    return write_both


def palette(
    colours: int, dtype: str, name: str, transparent: int | None = None, **options: Any
) -> Callable[[Path], Path]:
    """Return a function that writes an image of one band whose values stand for colours."""
    rng = np.random.default_rng(5)
    table = {
        index: (red, green, blue, 0 if index == transparent else 255)
        for index, (red, green, blue) in enumerate(rng.integers(0, 256, (colours, 3)).tolist())
    }
    values = rng.integers(0, colours, (1, HEIGHT, WIDTH)).astype(dtype)
    if transparent is not None:
        values[0, 5:, 9:] = transparent
    return lambda folder: make_raster(folder / name, values=values, colormap=table, **options)


def one_band_without_data(folder: Path) -> Path:
    """Write an image in which some cells have the nodata value in one band only."""
    values = values_of()
    values[1, 3:9, 2:15] = 0
    values[:, 10:, :] = 0
    return make_raster(folder / "a.tif", values=values, nodata=0)


def with_infinities(folder: Path) -> Path:
    values = values_of(3, "float32")
    values[:, 2:6, 3:9] = np.nan
    return make_raster(folder / "a.tif", values=values, nodata=np.nan, statistics=(-1000, 1000))


def with_undeclared(folder: Path) -> Path:
    values = values_of(3, "float32")
    values[0, 2:6, 3:9], values[2, 8, 8] = np.nan, np.inf
    return make_raster(folder / "a.tif", values=values, statistics=(-1000, 1000))


def with_transparent_colours(folder: Path) -> Path:
    places = np.random.default_rng(5).integers(0, 6, (HEIGHT, WIDTH)).astype("uint8")
    picture = Image.fromarray(places, "L").convert("P")
    picture.putpalette(list(range(20, 200, 10)))
    picture.putdata(places.ravel().tolist())
    picture.save(folder / "a.png", transparency=bytes([0, 255, 0, 9]))
    return folder / "a.png"


OPACITY: Final = np.where(valid_cells(), np.random.default_rng(1).integers(1, 256, (HEIGHT, WIDTH)), 0).astype("uint8")
NAMES: Final = ("green", "red edge", "RED", "nearinfrared")

IMAGES: list[tuple[str, str, Callable[[Path], Path]]] = [
    # name, model, how it is written
    ("GeoTIFF", "fixed", raster("a.tif")),
    ("strips, compressed", "fixed", raster("a.tiff", tiled=False, blocksize=3, compress="deflate")),
    ("south-up", "fixed", raster("a.tif", transform=SOUTH_UP)),
    ("rotated", "tall", raster("a.tif", transform=rotated(33))),
    ("in degrees", "fixed", raster("a.tif", crs="EPSG:4326", transform=Affine(1e-4, 0, 9, 0, -2e-4, 50))),
    ("northing first", "fixed", raster("a.tif", crs="EPSG:31467", transform=Affine(1, 0, 3_500_000, 0, -1, 5_500_000))),
    ("internal mask", "fixed", raster("a.tif", mask=valid_cells())),
    ("nodata", "fixed", raster("a.tif", nodata=0, nodata_boxes=[(2, 3, 9, 5)])),
    ("nodata in one band", "fixed", one_band_without_data),
    ("nodata everywhere", "fixed", raster("a.tif", nodata=0, nodata_boxes=[(0, 0, WIDTH, HEIGHT)])),
    ("alpha, bands named", "fixed", raster("a.tif", alpha=OPACITY)),
    ("alpha, bands not named", "all-bands", raster("a.tif", alpha=OPACITY)),
    ("alpha as a band", "four-bands", raster("a.tif", alpha=OPACITY)),
    ("alpha beside four bands", "four-bands", raster("a.tif", 4, alpha=OPACITY)),
    ("alpha of floats", "fixed", raster("a.tif", 3, "float32", alpha=OPACITY)),
    ("alpha of PNG", "all-bands", raster("a.png", alpha=OPACITY, driver="PNG", crs=None)),
    ("fourth band that is no alpha", "four-bands", raster("a.tif", 4)),
    ("mask file of GeoTIFF", "fixed", with_mask_file(raster("a.tif"))),
    ("mask file of PNG", "fixed", with_mask_file(raster("a.png", driver="PNG", crs=None))),
    ("mask file of JPEG", "fixed", with_mask_file(raster("a.jpg", driver="JPEG", crs=None))),
    ("PNG", "fixed", raster("a.png", driver="PNG", crs=None)),
    ("JPEG", "all-bands", raster("a.jpeg", driver="JPEG", crs=None)),
    ("JPEG 2000", "fixed", raster("a.jp2", driver="JP2OpenJPEG")),
    ("JPEG 2000 without reference", "fixed", raster("a.jp2", driver="JP2OpenJPEG", crs=None)),
    ("palette of GeoTIFF", "fixed", palette(200, "uint8", "a.tif")),
    ("palette of PNG", "all-bands", palette(256, "uint8", "a.png", driver="PNG", crs=None)),
    ("palette of PNG, one colour transparent", "fixed", palette(9, "uint8", "a.png", 4, driver="PNG", crs=None)),
    ("palette of PNG, some transparent", "fixed", with_transparent_colours),
    ("palette of few colours", "reordered", palette(3, "uint8", "a.tif")),
    ("palette of 16 bits", "fixed", palette(65536, "uint16", "a.tif")),
    ("palette of 16 bits and few colours", "fixed", palette(300, "uint16", "a.tif")),
    ("palette with DataRange", "ranged", palette(200, "uint8", "a.tif")),
    ("16 bits", "ranged", raster("a.tif", 3, "uint16")),
    ("16 bits of PNG", "ranged", raster("a.png", 3, "uint16", driver="PNG", crs=None)),
    ("16 bits of JPEG 2000", "ranged", raster("a.jp2", 3, "uint16", driver="JP2OpenJPEG")),
    ("signed", "ranged", raster("a.tif", 3, "int16", statistics=(-7, 31000.5))),
    ("float", "ranged", raster("a.tif", 3, "float32", statistics=(-1000, 1000))),
    ("float64", "ranged", raster("a.tif", 3, "float64", statistics=(-900, 1100))),
    ("not a number", "ranged", with_infinities),
    ("not a number, undeclared", "ranged", with_undeclared),
    ("12 bits", "ranged", raster("a.tif", 3, "uint16", nbits=12)),
    ("one band", "one-band", raster("a.tif", 1)),
    ("one band of 13", "one-band", raster("a.tif", 13)),
    ("13 bands", "thirteen-bands", raster("a.tif", 13, "uint16")),
    ("13 bands and alpha", "thirteen-bands", raster("a.tif", 13, alpha=OPACITY)),
    ("bands by description", "named", raster("a.tif", 4, descriptions=NAMES)),
    ("world file of GeoTIFF", "fixed", with_world_file("a.tif", ".tfw")),
    ("world file of JPEG", "fixed", with_world_file("a.jpg", ".jgw", driver="JPEG")),
    ("world file of PNG", "fixed", with_world_file("a.png", ".pgw", esri=False, driver="PNG")),
    ("world file by its plain name", "fixed", with_world_file("a.png", ".wld", driver="PNG")),
    ("world file of JPEG 2000", "fixed", with_world_file("a.jp2", ".j2w", driver="JP2OpenJPEG")),
    ("variable chips", "variable", raster("a.tif")),
    ("blackening model", "black-box", raster("a.tif")),
    ("larger than 16 chips", "fixed", lambda folder: make_raster(folder / "a.tif", width=127, height=9)),
    ("one cell", "fixed", lambda folder: make_raster(folder / "a.tif", width=1, height=1)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "write"), [row[1:] for row in IMAGES], ids=[row[0] for row in IMAGES])
def test_images_of_all_kinds(tool: Tool, folder: Path, model: str, write: Callable[[Path], Path]) -> None:
    path = write(folder)
    rows = tool.check(Request([path]), model)
    assert statuses(rows) in ({"ok": 1}, {"nodata": 1})
    if rows[0].crs is not None:
        inside = to_map(shapely.Point(9, 7), place_of(path).transform)
        request = Request([path], [Feature(4, inside, {"n": 1})], rows[0].crs)
        assert CRS.from_wkt(rows[0].crs).to_epsg() is None or tool.check(crs_named(request), model)


@pytest.mark.parametrize("name", ["GeoTIFF", "rotated", "in degrees", "northing first", "nodata everywhere"])
def test_images_with_a_reference_in_a_geopackage(tool: Tool, folder: Path, name: str) -> None:
    ((model, write),) = (row[1:] for row in IMAGES if row[0] == name)
    tool.check(Request([write(folder)]), model, media_type=GEOPACKAGE)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "alpha of PNG", "16 bits of PNG"])
def test_images_without_a_reference_in_a_table(tool: Tool, folder: Path, name: str) -> None:
    ((model, write),) = (row[1:] for row in IMAGES if row[0] == name)
    tool.check(Request([write(folder)], class_scores=True, label_field="Then"), model, media_type=TABLE)


def crs_named(request: Request) -> Request:
    """Return the request with its features' CRS as GeoJSON names it."""
    return replace(request, features_crs=f"EPSG:{CRS.from_wkt(request.features_crs).to_epsg()}")


@pytest.mark.parametrize(
    ("model", "write"),
    [
        ("named", raster("a.tif", 4, descriptions=("red", "green", "blue", "nir"))),
        ("named", raster("a.tif", 4)),
        ("four-bands", raster("a.tif", 3)),
        ("four-bands", palette(9, "uint8", "a.tif")),
        ("all-bands", raster("a.tif", 4)),
        ("all-bands", raster("a.tif", 2)),
        ("all-bands", raster("a.tif", 2, alpha=OPACITY)),
        ("thirteen-bands", raster("a.tif", 12, alpha=OPACITY)),
    ],
)
def test_images_without_the_bands(tool: Tool, folder: Path, model: str, write: Callable[[Path], Path]) -> None:
    response = tool.execute(request_body(Request([write(folder)]), model))
    assert response.status_code == 400, response.text


# EXIF orientation


def save_turned(path: Path, orientation: int) -> Path:
    """Save a JPEG of random blocks of 4 x 4 cells, so that its compression leaves them alone."""
    blocks = np.kron(np.random.default_rng(2).integers(0, 256, (5, 8)), np.ones((8, 8))).astype("uint8")
    picture = Image.fromarray(np.stack([blocks, blocks[:, ::-1], 255 - blocks], axis=-1))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    picture.save(path, exif=exif, quality=95, subsampling=0)
    return path


@pytest.mark.parametrize("orientation", range(9))
def test_exif_orientation_of_a_jpeg_without_a_reference(tool: Tool, folder: Path, orientation: int) -> None:
    request = Request([save_turned(folder / "a.jpg", orientation)], class_scores=True)
    (row,) = tool.check(request, "coarse")
    (upright,) = expected_rows(replace(request, images=[save_turned(folder / "b.jpg", 1)]), MODELS["coarse"])
    gap = max(abs(row.properties[f"Score_{name}"] - upright.properties[f"Score_{name}"]) for name in ("oak", "pine"))
    assert (gap > CHANGED) == (orientation not in (0, 1))


@pytest.mark.parametrize("orientation", [2, 6])
def test_exif_orientation_where_only_a_part_of_the_reference_is_there(
    tool: Tool, folder: Path, orientation: int
) -> None:
    path = save_turned(folder / "a.jpg", orientation)
    write_reference(path, ".jgw")
    path.with_suffix(".prj").unlink()
    (row,) = tool.check(Request([path], class_scores=True), "coarse")
    assert row.crs is None


@pytest.mark.parametrize("orientation", [2, 6])
def test_exif_orientation_is_not_applied_where_there_is_a_reference(tool: Tool, folder: Path, orientation: int) -> None:
    path = save_turned(folder / "a.jpg", orientation)
    write_reference(path, ".jgw")
    (row,) = tool.check(Request([path], class_scores=True), "coarse")
    assert row.crs is not None


# Which images, and what they are called


def test_ids_and_order_are_those_of_the_input(tool: Tool, folder: Path) -> None:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    paths = [
        make_raster(folder / place, values=values_of(seed=n), transform=rotated(n), crs=crs)
        for n, (place, crs) in enumerate([
            ("two/b.tif", UTM), ("two/a.tif", "EPSG:32632"), ("one/a.tif", UTM), ("one/c.tif", "EPSG:3857"),
        ])
    ]  # fmt: skip
    rows = tool.check(Request(paths, class_scores=True), "fixed")
    assert [row.properties["ImageID"] for row in rows] == ["b.tif", "a.tif", "a.tif-2", "c.tif"]
    assert tool.check(Request(paths, separate=True, cell_size=3), "fixed") == tool.check(Request(paths), "fixed")


def test_a_folder_is_the_images_in_it_by_name(tool: Tool, folder: Path) -> None:
    names = ["b.tif", "B.tif", "a.png", "Ä.tif", "a10.tif", "a2.jpg", "c.JPG"]
    drivers = {".png": "PNG", ".jpg": "JPEG"}
    paths = {}
    for seed, name in enumerate(names):
        driver = drivers.get(Path(name).suffix.lower(), "GTiff")
        paths[name] = make_raster(folder / name, values=values_of(seed=seed), crs=None, driver=driver)
    with_mask_file(lambda folder: folder / "b.tif")(folder)
    (folder / "note.txt").write_text("no image")
    request = Request([paths[name] for name in sorted(names)])
    rows = tool.check(request, "fixed", image=link(folder))
    assert [row.properties["ImageID"] for row in rows] == ["B.tif", "a.png", "a10.tif", "a2.jpg", "b.tif", "c.JPG", "Ä.tif"]  # fmt: skip


def test_inline_images_count_by_themselves(tool: Tool, folder: Path) -> None:
    kinds = {"image/png": ("a.png", "PNG"), "image/jpeg": ("a.jpg", "JPEG"), "image/tiff": ("a.tif", "GTiff")}
    paths, sent = [], []
    for seed, (media_type, (name, driver)) in enumerate(kinds.items()):
        paths.append(make_raster(folder / name, values=values_of(seed=seed), crs=None, driver=driver))
        text = base64.b64encode(paths[-1].read_bytes()).decode()
        sent.append({"value": text, "encoding": "base64", "mediaType": media_type})
    names = ["image-1", "a.png", "image-2", "image-3"]
    request = Request([paths[0], paths[0], *paths[1:]], names=names)
    rows = tool.check(request, "fixed", image=[sent[0], link(paths[0]), *sent[1:]])
    assert [row.properties["ImageID"] for row in rows] == names


def test_both_kinds_at_once_are_refused(tool: Tool, folder: Path) -> None:
    paths = [raster("a.tif")(folder), raster("b.tif", crs=None)(folder)]
    response = tool.execute(request_body(Request(paths), "fixed"))
    assert response.status_code == 400
    assert "a.tif" in response.json["detail"]
    assert "b.tif" in response.json["detail"]


@pytest.mark.parametrize("model", ["fixed", "multi"])
@pytest.mark.parametrize("crs", [None, UTM])
def test_options_of_the_model(tool: Tool, folder: Path, model: str, crs: str | None) -> None:
    paths = [make_raster(folder / f"{seed}.tif", width=8, height=8, crs=crs, seed=seed) for seed in range(12)]
    request = Request(
        paths, label_field="Then", class_scores=True, score_threshold=0.5, test_time_augmentation=True
    )  # fmt: skip
    rows = tool.check(request, model, EXACT)
    labels = {row.properties["Then"] for row in rows}
    assert {"fixed": None, "multi": ""}[model] in labels
    assert len(labels) > 2


# Extent


FORMS: list[tuple[str | None, bool, bool]] = [
    # crs, whether the authority's order has north or latitude first, heights
    (None, False, False),
    (None, False, True),
    ("EPSG:4326", False, False),
    ("http://www.opengis.net/def/crs/EPSG/0/4326", True, True),
    (UTM, False, False),
    ("http://www.opengis.net/def/crs/EPSG/0/32633", False, True),
    ("EPSG:31467", False, False),
    ("http://www.opengis.net/def/crs/EPSG/0/31467", True, False),
    ("urn:ogc:def:crs:EPSG::3035", True, False),
]


def extent_of(
    corners: Sequence[tuple[float, float]], name: str | None, north_first: bool = False, heights: bool = False
) -> dict[str, Any]:
    """Return the extent whose lower left and upper right corners these are in UTM, in any form."""
    transformer = Transformer.from_crs(UTM, name or CRS84, always_xy=True)
    pairs = [transformer.transform(*corner) for corner in corners]
    if north_first:
        pairs = [(y, x) for x, y in pairs]
    bbox = [*pairs[0], -5.5, *pairs[1], 900] if heights else [*pairs[0], *pairs[1]]
    return {"bbox": bbox, **({"crs": name} if name else {})}


def beside(columns: float, rows: float, cell: float = 0.5) -> Affine:
    """Return the transform of a grid that starts at this pixel of a `NORTH_UP` image."""
    return Affine(cell, 0, NORTH_UP.c + columns * 0.5, 0, -cell, NORTH_UP.f - rows * 0.5)


@pytest.mark.parametrize(("name", "north_first", "heights"), FORMS, ids=[f"{form[0]}-{form[2]}" for form in FORMS])
def test_images_are_cut_to_the_extent(
    tool: Tool, folder: Path, name: str | None, north_first: bool, heights: bool
) -> None:
    ((lon, lat),) = [Transformer.from_crs(UTM, CRS84, always_xy=True).transform(500_010, 4_999_995)]
    paths = [
        make_raster(folder / "part.tif", width=40, height=30, seed=1),
        make_raster(folder / "outside.tif", width=20, height=20, transform=beside(200, 0), seed=2),
        make_raster(folder / "inside.tif", width=9, height=7, transform=beside(15, 15), seed=3),
        make_raster(folder / "coarse.tif", width=30, height=30, transform=beside(-20, -11, 1.7), seed=4),
        make_raster(folder / "turned.tif", width=40, height=40, transform=rotated(25), seed=5),
        make_raster(folder / "degrees.tif", width=30, height=30, crs="EPSG:4326", seed=6,
                    transform=Affine(7e-6, 0, lon, 0, -5e-6, lat)),
    ]  # fmt: skip
    extent = extent_of([(500_004.2, 4_999_986.1), (500_015.3, 4_999_996.4)], name, north_first, heights)
    request = Request(paths, extent=extent, class_scores=True)
    rows = tool.check(request, "fixed")
    assert [row.properties["ImageID"] for row in rows] == [path.name for path in paths if path.stem != "outside"]
    whole = {row.properties["ImageID"]: row for row in expected_rows(replace(request, extent=None), MODELS["fixed"])}
    same = [row.properties["ImageID"] for row in rows if row.geometry == whole[row.properties["ImageID"]].geometry]
    assert same == ["inside.tif"]
    if name != "http://www.opengis.net/def/crs/EPSG/0/4326":
        for path in paths[:1]:
            tool.check(replace(request, images=[path]), "variable", media_type=GEOPACKAGE)


@pytest.mark.parametrize(
    ("bbox", "window"),
    [
        ((500_002, 4_999_990, 500_004, 4_999_995), (4, 10, 4, 10)),
        ((500_002.0000002, 4_999_990, 500_004.0000002, 4_999_995), (4, 10, 4, 10)),
        ((500_002.4, 4_999_990.1, 500_004.1, 4_999_994.9), (4, 10, 5, 10)),
        ((500_002.1, 4_999_995.1, 500_002.2, 4_999_995.2), (4, 9, 1, 1)),
        ((499_000, 4_000_000, 500_000.1, 4_999_986), (0, 28, 1, 2)),
        ((0, 0, 900_000, 9_000_000), (0, 0, 40, 30)),
    ],
)
def test_window_of_an_extent(
    tool: Tool, folder: Path, bbox: tuple[float, ...], window: tuple[int, int, int, int]
) -> None:
    path = make_raster(folder / "a.tif", width=40, height=30)
    extent = {"bbox": list(bbox), "crs": UTM}
    found = extent_window(place_of(path), extent)
    assert found is not None
    assert (found.col_off, found.row_off, found.width, found.height) == window
    tool.check(Request([path], extent=extent, class_scores=True), "fixed")


def test_cut_away_data_is_nodata(tool: Tool, folder: Path) -> None:
    path = make_raster(folder / "a.tif", width=40, height=30, nodata=0, nodata_boxes=[(0, 0, 20, 30)])
    for bbox, status in (((500_001, 4_999_990, 500_009, 4_999_995), "nodata"), ((500_001, 4_999_990, 500_011, 4_999_995), "ok")):  # fmt: skip
        rows = tool.check(Request([path], extent={"bbox": list(bbox), "crs": UTM}), "fixed")
        assert statuses(rows) == {status: 1}


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32701", "EPSG:3832"])
def test_extent_across_the_antimeridian(tool: Tool, folder: Path, crs: str) -> None:
    extent = {"bbox": [179.9, -20, -179.9, -10]}
    paths = []
    for name, lon in {"west": 179.9993, "east": -179.9998, "far": 179.5, "opposite": 0.1}.items():
        x, y = Transformer.from_crs(CRS84, crs, always_xy=True).transform(lon, -17)
        if not np.isfinite(x) or abs(x) > 1e8:
            continue
        cell = 1e-5 if crs == "EPSG:4326" else 1
        paths.append(make_raster(folder / f"{name}.tif", width=20, height=12, crs=crs, transform=Affine(cell, 0, x, 0, -cell, y)))  # fmt: skip
    rows = tool.check(Request(paths, extent=extent), "fixed")
    assert [row.properties["ImageID"] for row in rows] == ["west.tif", "east.tif"]


def test_extent_cuts_an_image_at_the_antimeridian(tool: Tool, folder: Path) -> None:
    transform = Affine(0.001, 0, 179.96, 0, -0.001, -16.99)
    path = make_raster(folder / "a.tif", width=40, height=30, crs="EPSG:4326", transform=transform)
    (row,) = tool.check(Request([path], extent={"bbox": [179.9805, -17.0055, -179.9, -17]}), "fixed")
    assert row.geometry is not None
    assert row.geometry.bounds == pytest.approx((179.98, -17.006, 180, -17), abs=1e-9)


def test_extent_that_no_image_touches_gives_no_rows(tool: Tool, folder: Path) -> None:
    request = Request([raster("a.tif")(folder)], extent={"bbox": [-10, -10, -9, -9]})
    body = request_body(request, "fixed")
    response = tool.execute(body)
    assert response.status_code == 200, response.text
    assert response.json["features"] == []


def test_extent_of_images_without_a_reference_is_refused(tool: Tool, folder: Path) -> None:
    request = Request([raster("a.png", driver="PNG", crs=None)(folder)], extent={"bbox": [1, 1, 2, 2]})
    response = tool.execute(request_body(request, "fixed"))
    assert response.status_code == 400
    assert "reference" in response.text
