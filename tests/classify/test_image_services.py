"""Images of services: their cells are those of the same pixels in a file."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import rasterio
from affine import Affine
from msgspec import structs
from numpy.typing import NDArray

from esri_services import ImageServer
from linked_images import opened
from mapserver import wms_of
from processes.classify.sections import from_plain_value, to_plain_value
from processes.errors import Fault, ForbiddenError, ImageError
from processes.imagery.image import Image
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.services.grid_source import GridSource
from processes.imagery.source import gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from processes.sources.part_cache import PartCache
from rasters import make_raster, random_values
from told_host import Answer, ToldHost, told_host

HALF_WORLD = 20_037_508.342789244
ZOOM, COLUMN, ROW = 14, 8874, 5710
"""A tile in the middle of Europe."""
CELL = 2 * HALF_WORLD / 256 / 2**ZOOM


@pytest.fixture
def host() -> Iterator[ToldHost]:
    with told_host() as told:
        yield told


def part(image: Image, window: tuple[int, int, int, int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the cells of a window (column, row, width, height) as chips are cut, and which are valid."""
    cells = np.zeros((len(image.data_bands), window[3], window[2]), image.dtype)
    valid = np.zeros(cells.shape[1:], bool)
    with gdal_settings(), TileReader([image], [BandSelection(image.data_bands)]) as tiles:
        tiles.cut(0, window, cells, valid)
    return cells, valid


def asked(link: str | dict[str, Any], host: ToldHost, folder: Path, **inputs: Any) -> list[Image]:
    return opened(link, host, folder, inputs=inputs)


def fault(link: str | dict[str, Any], host: ToldHost, folder: Path, **inputs: Any) -> Fault:
    faults: list[Fault] = []
    opened(link, host, folder, faults, inputs=inputs)
    (found,) = faults
    assert found.pointer == "/inputs/image/href"
    assert isinstance(found.error, ImageError)
    return found


def picture(cells: NDArray[np.uint8], driver: str, **options: Any) -> bytes:
    """Return cells as a PNG or a JPEG."""
    with rasterio.MemoryFile() as file:
        shape = {"count": len(cells), "height": cells.shape[1], "width": cells.shape[2]}
        with file.open(driver=driver, dtype="uint8", **shape, **options) as dataset:
            dataset.write(cells)
        return bytes(file.read())


def give_pyramid(host: ToldHost, driver: str, flipped: bool = False) -> NDArray[np.uint8]:
    """Let a host give 2 x 2 tiles, and return their cells, as the driver decodes them, `(3, 512, 512)`."""
    whole = np.zeros((3, 512, 512), np.uint8)
    values = np.repeat(np.repeat(random_values((3, 64, 64), seed=5), 8, axis=1), 8, axis=2)
    for row in range(2):
        for column in range(2):
            place = np.s_[:, row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
            content = picture(values[place], driver)
            y = 2**ZOOM - 1 - ROW - row if flipped else ROW + row
            host.files[f"/t/{ZOOM}/{COLUMN + column}/{y}.img?key=a%2Fb"] = "image/any", content
            with rasterio.open(BytesIO(content)) as dataset:
                whole[place] = dataset.read()
    return whole


@pytest.mark.parametrize(("driver", "y"), [("PNG", "{y}"), ("JPEG", "{y}"), ("PNG", "{-y}")])
def test_xyz_tiles_are_an_image_in_web_mercator(host: ToldHost, tmp_path: Path, driver: str, y: str) -> None:
    whole = give_pyramid(host, driver, y == "{-y}")
    (image,) = asked(f"{host.url}/t/{{z}}/{{x}}/{y}.img?key=a%2Fb", host, tmp_path, cellSize=CELL)
    assert (image.name, image.data_bands, image.dtype.name) == ("t", (0, 1, 2), "uint8")
    assert image.grid.crs.to_epsg() == 3857
    assert image.grid.cell_size == pytest.approx((CELL, CELL), rel=1e-12)
    assert image.grid.transform.c == pytest.approx(-HALF_WORLD)
    cells, valid = part(image, (COLUMN * 256 + 100, ROW * 256 + 90, 300, 350))
    assert valid.all()
    assert (cells == whole[:, 90:440, 100:400]).all()


def test_zoom_of_xyz_tiles_is_the_coarsest_that_is_fine_enough(host: ToldHost, tmp_path: Path) -> None:
    link = f"{host.url}/t/{{z}}/{{x}}/{{y}}.img"
    for size, zoom in ((CELL * 1.99, ZOOM), (CELL * 2, ZOOM - 1), (round(CELL, 6), ZOOM), (CELL * 0.99, ZOOM + 1)):
        (image,) = asked(link, host, tmp_path, cellSize=size)
        assert image.grid.width == 256 * 2**zoom, size
    assert "need the input cellSize" in fault(link, host, tmp_path).detail
    assert "zoom 24" in fault(link, host, tmp_path, cellSize=0.01).detail


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("/{z}/{x}/{y}/{s}.png", "{s} stands for one of several servers"),
        ("/{q}.png", "this one has {q}"),
        ("/{Z}/{X}/{Y}.png", "this one has {X}, {Y}, {Z}"),
        ("/tile/{level}/{row}/{col}", "A WMTS is linked to by its capabilities"),
        ("/wmts/{TileMatrix}/{TileRow}/{TileCol}.png", "this one has {TileCol}, {TileMatrix}, {TileRow}"),
        ("/{z}/{x}.png", "this one has {x}, {z}"),
        ("/{z}/{x}/{y}/{-y}.png", "this one has {-y}, {x}, {y}, {z}"),
    ],
)
def test_templates_of_other_kinds_are_told(host: ToldHost, tmp_path: Path, template: str, said: str) -> None:
    assert said in fault(f"{host.url}{template}", host, tmp_path, cellSize=CELL).detail
    assert host.asked == []


def test_servers_and_dense_screens_of_leaflet(host: ToldHost, tmp_path: Path) -> None:
    whole = give_pyramid(host, "PNG")
    (image,) = asked(f"{host.url}/t/{{z}}/{{x}}/{{y}}{{r}}.img?key=a%2Fb", host, tmp_path, cellSize=CELL)
    assert (part(image, (COLUMN * 256, ROW * 256, 512, 512))[0] == whole).all()
    said = fault(host.url.replace("127.0.0.1", "{s}.example.org") + "/{z}/{x}/{y}.png", host, tmp_path, cellSize=CELL)
    assert "write the name of one in its place" in said.detail


def test_tiles_that_are_not_there_have_no_valid_cell(host: ToldHost, tmp_path: Path) -> None:
    whole = give_pyramid(host, "PNG")
    (image,) = asked(f"{host.url}/t/{{z}}/{{x}}/{{y}}.img?key=a%2Fb", host, tmp_path, cellSize=CELL)
    cells, valid = part(image, ((COLUMN + 2) * 256 - 10, ROW * 256, 20, 5))
    assert (cells[:, :, :10] == whole[:, :5, -10:]).all()
    assert valid[:, :10].all()
    assert not valid[:, 10:].any()
    assert not cells[:, :, 10:].any()


def test_transparent_and_grey_tiles(host: ToldHost, tmp_path: Path) -> None:
    grey = random_values((1, 256, 256), seed=1)
    alpha = np.full((1, 256, 256), 255, np.uint8)
    alpha[0, :7] = 0
    colours = random_values((3, 256, 256), seed=2)
    for column, content in enumerate((picture(grey, "PNG"), picture(np.concatenate([colours, alpha]), "PNG"))):
        host.files[f"/t/{ZOOM}/{COLUMN + column}/{ROW}"] = "image/png", content
    (image,) = asked(f"{host.url}/t/{{z}}/{{x}}/{{y}}", host, tmp_path, cellSize=CELL)
    cells, valid = part(image, (COLUMN * 256, ROW * 256, 512, 256))
    assert (cells[:, :, :256] == grey).all()
    assert (cells[:, :, 256:] == colours).all()
    assert (valid[:, 256:] == (alpha[0] != 0)).all()
    assert valid[:, :256].all()


def test_passing_faults_are_tried_again_and_others_fail(host: ToldHost, tmp_path: Path) -> None:
    content = picture(random_values((3, 256, 256)), "PNG")
    answers: list[Answer] = [(503, "text/plain", b"busy"), (429, "text/plain", b"slowly"), (200, "image/png", content)]
    host.services["/t"] = lambda _: answers.pop(0)
    (image,) = asked(f"{host.url}/t/{{z}}/{{x}}/{{y}}", host, tmp_path, cellSize=CELL)
    assert part(image, (COLUMN * 256, ROW * 256, 1, 1))[1].all()
    cases: tuple[tuple[Answer, str], ...] = (
        ((500, "text/plain", b""), "status 500"),
        ((200, "text/html", b"<html>"), "no PNG, JPEG or GeoTIFF"),
        ((200, "image/png", content[: len(content) // 2]), "truncated or broken"),
        ((200, "image/png", picture(random_values((3, 512, 512)), "PNG")), "512 x 512 cells to a request for 256"),
        ((200, "text/xml", b"<ServiceException code='x'>No &lt; such</ServiceException>"), "exception: No"),
    )
    for column, (answer, said) in enumerate(cases, COLUMN + 1):
        host.services["/t"] = lambda _, answer=answer: answer  # type: ignore[misc]
        with pytest.raises(ImageError, match=said):
            part(image, (column * 256, ROW * 256, 1, 1))


def test_tiles_are_fetched_ahead_several_at_a_time_and_each_once(host: ToldHost, tmp_path: Path) -> None:
    content = picture(random_values((3, 256, 256)), "PNG")
    busy, most, lock = 0, 0, threading.Lock()

    def answer(_: dict[str, str]) -> Answer:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.03)
        with lock:
            busy -= 1
        return 200, "image/png", content

    host.services["/t"] = answer
    (image,) = opened(f"{host.url}/t/{{z}}/{{x}}/{{y}}", host, tmp_path, inputs={"cellSize": CELL}, max_requests=5)
    corners = [((COLUMN + number % 8) * 256 + 200, (ROW + number // 8) * 256 + 9, 100, 9) for number in range(32)]
    windows = np.array(corners, np.int32)
    for _ in range(2):  # the second time as a slot that takes over from one that was killed
        with gdal_settings(), TileReader([image], [BandSelection(image.data_bands)]) as tiles:
            tiles.expect(np.zeros(len(windows), np.int32), windows)
            for window in corners:
                cells, valid = np.zeros((3, 9, 100), np.uint8), np.zeros((9, 100), bool)
                assert tiles.cut(0, window, cells, valid)
                assert valid.all()
        assert len(host.asked) == len(set(host.asked)) == 4 * 9
    assert most == 5


def test_images_of_services_travel_with_their_plan(host: ToldHost, tmp_path: Path) -> None:
    whole = give_pyramid(host, "PNG")
    (image,) = asked(f"{host.url}/t/{{z}}/{{x}}/{{y}}.img?key=a%2Fb", host, tmp_path, cellSize=CELL)
    assert isinstance(image.source, GridSource)
    assert image.source.access is not None
    settings, cache = image.source.access.settings, PartCache(tmp_path / "later", 2**20)
    saved = structs.replace(image, source=image.source.save(tmp_path, lambda *_: None))
    content = msgspec.msgpack.encode(saved, enc_hook=to_plain_value)
    assert host.authority not in str(msgspec.msgpack.decode(content)["source"].get("access"))
    loaded = msgspec.msgpack.decode(content, type=Image, dec_hook=from_plain_value)
    with pytest.raises(ImageError, match="cannot be reached"):
        part(loaded, (0, 0, 1, 1))
    back = structs.replace(loaded, source=loaded.source.locate(Path, RemoteAccess(settings, cache)))
    assert (part(back, (COLUMN * 256, ROW * 256, 256, 256))[0] == whole[:, :256, :256]).all()
    refused = structs.replace(settings, hosts=())  # allowed once, and no more
    elsewhere = structs.replace(
        loaded, source=loaded.source.locate(Path, RemoteAccess(refused, cache))
    )  # what is there is used
    assert part(elsewhere, (COLUMN * 256, ROW * 256, 1, 1))[1].all()
    with pytest.raises(ForbiddenError, match="does not allow links to the host"):
        part(elsewhere, (COLUMN * 256 + 256, ROW * 256, 1, 1))


UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)


def test_a_wms_in_its_own_crs(host: ToldHost, tmp_path: Path) -> None:
    """MapServer's maps at the cell size of the image have its cells; its limit of 300 cells is kept to."""
    values = random_values((3, 700, 800), seed=4)
    path = make_raster(tmp_path / "scene.tif", values=values, transform=UTM)
    host.services["/wms"] = wms_of(tmp_path, path, 32633)
    (image,) = asked(
        {"href": f"{host.url}/wms?LAYERS=scene", "type": "application/vnd.ogc.wms"}, host, tmp_path, cellSize=0.5
    )
    assert image.name == "scene"
    assert image.grid.crs.to_epsg() == 32633
    assert image.shape == (700, 800)
    assert image.warnings == ()
    cells, valid = part(image, (250, 260, 300, 200))
    assert valid.all()
    assert (cells == values[:, 260:460, 250:550]).all()
    sizes = [dict(item.split("=") for item in link.split("?")[1].split("&")) for link in host.asked if "GetMap" in link]
    assert max(int(item["WIDTH"]) for item in sizes) == 300


@pytest.mark.parametrize(("name", "epsg", "cell"), [("EPSG:4326", 4326, 1e-5), ("EPSG:31469", 31469, 0.5)])
def test_axes_of_a_wms_stand_in_the_order_of_the_crs(
    host: ToldHost, tmp_path: Path, name: str, epsg: int, cell: float
) -> None:
    """Latitude, or northing, stands first in the boxes of these CRS."""
    values = np.repeat(np.repeat(random_values((3, 20, 24), seed=4), 20, axis=1), 20, axis=2)
    left, top = (15.0, 45.15) if epsg == 4326 else (5_500_000, 5_000_000)
    path = make_raster(tmp_path / "scene.tif", values=values, crs=name, transform=Affine(cell, 0, left, 0, -cell, top))
    host.services["/wms"] = wms_of(tmp_path, path, epsg)
    (image,) = asked(f"{host.url}/wms?SERVICE=WMS&LAYERS=scene&CRS={name}", host, tmp_path, cellSize=cell)
    assert image.grid.crs.to_epsg() == epsg
    column, row = (round(value) for value in ~image.grid.transform @ (left, top))
    cells, valid = part(image, (column + 100, row + 50, 200, 150))
    assert valid.all()
    same = (cells == values[:, 50:200, 100:300]).all(axis=0)
    assert same.mean() > 0.9  # the box of the capabilities is rounded: some cells are their neighbours
    assert image.warnings == ()


def test_what_a_wms_has_is_told(host: ToldHost, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", transform=UTM)
    host.services["/wms"] = wms_of(tmp_path, path, 32633)
    link = f"{host.url}/wms?SERVICE=WMS"
    assert (
        "names no layer by LAYERS=; the service has 'test', 'scene'" in fault(link, host, tmp_path, cellSize=1).detail
    )
    assert "the layer 'x'; the service has" in fault(f"{link}&LAYERS=scene,x", host, tmp_path, cellSize=1).detail
    assert (
        "asks for CRS 'EPSG:2' ; ".replace(" ;", ";")
        in fault(f"{link}&LAYERS=scene&CRS=EPSG:2", host, tmp_path, cellSize=1).detail
    )
    assert "needs the input cellSize" in fault(f"{link}&LAYERS=scene", host, tmp_path).detail
    assert "exception: " in fault(f"{link}&LAYERS=scene&STYLES=none", host, tmp_path, cellSize=1).detail
    host.services["/wms"] = lambda _: (200, "text/html", b"<html>")
    assert "capabilities of a WMS 1.3.0" in fault(f"{link}&LAYERS=scene", host, tmp_path, cellSize=1).detail


def test_a_white_map_is_told(host: ToldHost, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", values=np.full((3, 48, 64), 255, np.uint8), transform=UTM)
    host.services["/wms"] = wms_of(tmp_path, path, 32633)
    (image,) = asked(f"{host.url}/wms?SERVICE=WMS&LAYERS=scene", host, tmp_path, cellSize=0.5)
    assert "white all over" in image.warnings[0]


WMTS = (Path(__file__).parents[1] / "wmts.xml").read_text()


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
@pytest.mark.parametrize("is_template", [True, False])
def test_tiles_of_a_wmts(host: ToldHost, tmp_path: Path, crs: str, is_template: bool) -> None:
    in_degrees = crs == "EPSG:4326"
    cell = 1e-5 if in_degrees else 0.5
    left, top = (15.0, 45.0) if in_degrees else (500_000.0, 5_000_000.0)
    denominator = cell * (111_319.49079327358 if in_degrees else 1) / 0.00028
    values = random_values((3, 128, 256), seed=6)

    def tile(query: dict[str, str]) -> Answer:
        names = query["path"].strip("/").split("/") if is_template else []
        names = names or [query[name] for name in ("STYLE", "TILEMATRIXSET", "TILEMATRIX", "TILEROW", "TILECOL")]
        style, matrix_set, matrix, row, column = names[:5]
        if (style, matrix_set, matrix) != ("plain", "grid", "fine") or row not in "12" or column not in "23":
            return 400, "text/xml", b"<ExceptionReport/>"
        y, x = (int(row) - 1) * 64, (int(column) - 2) * 128
        return 200, "image/png", picture(values[:, y : y + 64, x : x + 128], "PNG")

    host.services["/tiles" if is_template else "/wmts"] = tile
    document = WMTS.replace("HOST", host.url)
    if not is_template:
        document = re.sub("<ResourceURL.*?/>", "", document)
    if in_degrees:
        scale = denominator / float(re.findall("<ScaleDenominator>(.*?)<", WMTS)[1])
        document = re.sub(
            "(?<=<ScaleDenominator>).*?(?=<)",
            lambda found: repr(float(found[0]) * scale),
            document.replace("::32633", "::4326"),
        ).replace("500000 5000000", f"{top} {left}")
    link: Any = f"{host.url}/wmts?SERVICE=WMTS&layer=town"
    host.files["/wmts?layer=town&SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetCapabilities"] = "", b""
    for target in ("/wmts?SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetCapabilities", "/wmts.xml"):
        host.files[target] = "application/xml", document.encode()
    (image,) = asked(link, host, tmp_path)
    assert (image.name, image.shape, image.grid.crs.to_epsg()) == ("town", (128, 256), int(crs[5:]))
    assert image.grid.cell_size == pytest.approx((cell, cell))
    assert (image.grid.transform.c, image.grid.transform.f) == pytest.approx((left + 256 * cell, top - 64 * cell))
    cells, valid = part(image, (0, 0, 256, 128))
    assert valid.all()
    assert (cells == values).all()
    (image,) = asked(link, host, tmp_path, cellSize=cell * 2)
    assert image.grid.cell_size == pytest.approx((cell * 2, cell * 2))
    assert "larger than cellSize" in fault(link, host, tmp_path, cellSize=cell / 2).detail
    assert "the service has 'town'" in fault(link.replace("town", "x"), host, tmp_path).detail
    assert "no tileMatrixSet 'x'; there are 'grid'" in fault(f"{link}&tileMatrixSet=x", host, tmp_path).detail
    by_type = {"href": f"{host.url}/wmts.xml?layer=town", "type": "application/vnd.ogc.wmts"}
    if is_template:
        host.files["/wmts.xml"] = "application/xml", document.encode()
        assert asked(by_type, host, tmp_path)[0].shape == (128, 256)


SERVER = "/arcgis/rest/services/Town/ImageServer"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_image_server_s_mosaic(host: ToldHost, tmp_path: Path, dtype: str) -> None:
    values = random_values((4, 500, 700), dtype, seed=8)
    path = make_raster(tmp_path / "a.tif", values=values, transform=UTM)
    service = host.services[SERVER] = ImageServer(
        [path], pixel_type={"uint8": "U8", "uint16": "U16", "float32": "F32"}[dtype]
    )
    for ending in ("", "/"):
        (image,) = asked(f"{host.url}{SERVER}{ending}", host, tmp_path)
        assert (image.name, image.dtype.name, image.shape) == ("Town", dtype, (500, 700))
        cells, valid = part(image, (200, 250, 450, 240))
        assert valid.all()
        assert (cells == values[:, 250:490, 200:650]).all()
    (image,) = asked(f"{host.url}{SERVER}?renderingRule=x", host, tmp_path, cellSize=1)
    assert image.shape == (250, 350)
    part(image, (0, 0, 1, 1))
    assert service.asked[-1]["renderingRule"] == "x"


def test_an_image_server_s_raster_items_one_by_one(host: ToldHost, tmp_path: Path) -> None:
    values = [random_values((3, 40, 60), seed=seed) for seed in (1, 2)]
    moved = UTM @ Affine.translation(30, 20)
    paths = [make_raster(tmp_path / "a.tif", values=values[0], transform=UTM)]
    paths += [make_raster(tmp_path / "b.tif", values=values[1], transform=moved)]
    host.services[SERVER] = ImageServer(paths)
    images = asked(f"{host.url}{SERVER}", host, tmp_path, processingMode="separate")
    assert [image.name for image in images] == ["a", "b"]
    for image, expected in zip(images, values, strict=True):
        cells, valid = part(image, (0, 0, 60, 40))
        assert valid.all()
        assert (cells == expected).all()
    (mosaic,) = asked(f"{host.url}{SERVER}", host, tmp_path)
    cells, _ = part(mosaic, (0, 0, 90, 60))
    assert (cells[:, :40, :60] == values[0]).all()
    assert (cells[:, 40:, 30:] == values[1][:, 20:]).all()
    host.services[SERVER] = ImageServer(paths, capabilities="Image,Metadata")
    assert "shows no raster items" in fault(f"{host.url}{SERVER}", host, tmp_path, processingMode="separate").detail


def test_what_an_image_server_refuses_is_told(host: ToldHost, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", transform=UTM)
    host.services[SERVER] = ImageServer([path], pixel_type="C64")
    assert "cells of type 'C64'" in fault(f"{host.url}{SERVER}", host, tmp_path).detail
    service = host.services[SERVER] = ImageServer([path])
    (image,) = asked(f"{host.url}{SERVER}", host, tmp_path)
    service.max_size = 10
    with pytest.raises(ImageError, match="an error: The requested image exceeds the size limit"):
        part(image, (0, 0, 1, 1))
    host.files[f"{SERVER}?f=json"] = "application/json", b'{"error": {"code": 498, "message": "Invalid token"}}'
    assert "error 498: Invalid token" in fault(f"{host.url}{SERVER}", host, tmp_path).detail
