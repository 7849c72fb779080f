"""Images made to harm: refused in words or classified, in bounded time and memory, and the service goes on."""

from __future__ import annotations

import os
import resource
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
from PIL import Image as PillowImage

from hostile_service import start_hostile
from large_images import inline, write_repeated, write_sparse
from rasters import make_raster
from service import Client, link, slots_of

SECONDS = 20
GROWTH_BYTES = 2**30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "hostile"


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    client = start_hostile(home)
    assert_alive(client, home)  # whose slot is warm by that
    yield client
    assert_alive(client, home)  # the same slot's process, by `bounded`: what has answered all of them


@contextmanager
def bounded(client: Client) -> Iterator[None]:
    """Fail where something takes too long, too much memory, here or in the slot, or ends the slot's process."""
    start_s, own = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (slot,) = slots_of(client.runner.pid)
    before = peak_bytes(slot, reset=True)
    yield
    assert time.monotonic() - start_s < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - own) * 1024 < GROWTH_BYTES
    assert slots_of(client.runner.pid) == [slot]
    assert peak_bytes(slot) - before < GROWTH_BYTES


def peak_bytes(process: psutil.Process, reset: bool = False) -> int:
    """Return the most memory that a process has held, since that was reset."""
    if reset:
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def png(width: int, height: int, rows: int | None = None, depth: int = 8) -> bytes:
    """Return a grey PNG of zeros, compressed to next to nothing; with fewer `rows` than it claims it ends early."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    line = b"\0" * (1 + (width * depth + 7) // 8)
    data = b"".join(packer.compress(line) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(entries: dict[int, tuple[int, int, int]], after: bytes = b"", following: int = 0) -> bytes:
    """Return a little-endian TIFF with one directory: tag -> (type, count, value or offset)."""
    directory = struct.pack("<H", len(entries))
    for tag, (kind, count, value) in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following) + after


def claimed(width: int, height: int, tile: int = 512, samples: int = 1, following: int = 0) -> bytes:
    """Return a TIFF that claims a size and holds no cell."""
    return tiff(
        {
            256: (4, 1, width),
            257: (4, 1, height),
            258: (3, 1, 8),
            259: (3, 1, 1),
            262: (3, 1, 1),
            277: (3, 1, samples),
            322: (4, 1, tile),
            323: (4, 1, tile),
            324: (4, 1, 0),
            325: (4, 1, 0),
        },
        following=following,
    )


def saved(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def sparse(side: int, **options: Any) -> Callable[[Path], object]:
    """Write a GeoTIFF of a large side that has no block in the file at all."""

    def write(path: Path) -> None:
        profile = {
            "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "sparse_ok": True,
            "crs": "EPSG:32633", "transform": rasterio.Affine(0.01, 0, 5e5, 0, -0.01, 5e6), "bigtiff": "yes",
            "tiled": True, "blockxsize": 512, "blockysize": 512,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile | options):
            pass

    return write


def torn_cog(path: Path) -> None:
    make_raster(path, driver="COG", bands=1, width=900, height=900, tiled=False, blocksize=512, compress="DEFLATE")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def torn(driver: str, share: float = 0.5) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        make_raster(path, driver=driver, crs=None, width=600, height=600)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return write


def turned_inside_out(path: Path) -> None:
    """Write an image whose geotransform has infinite cells."""
    make_raster(path, transform=rasterio.Affine(1e308, 1e308, 1e308, 1e308, -1e308, 1e308))


def flat(path: Path) -> None:
    make_raster(path, transform=rasterio.Affine(1, 1, 5e5, 1, 1, 5e6))


def with_aux(text: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        make_raster(path, bands=1)
        path.with_name(f"{path.name}.aux.xml").write_text(text)

    return write


def masked_by_a_vrt(path: Path, ending: str = ".msk") -> None:
    """Put a VRT that reads a file outside in the place of the mask beside an image."""
    make_raster(path, bands=1)
    secret = make_raster(path.parent.parent / "secret.tif", bands=1)
    path.with_name(f"{path.name}{ending}").write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="48"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def animated(path: Path) -> None:
    frames = [PillowImage.fromarray(np.full((9, 9), value, np.uint8)) for value in range(0, 200, 10)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def with_fifo(name: str, is_link: bool = False) -> Callable[[Path], object]:
    """Write a sound image with a FIFO beside it, or a link to one: whoever opens it waits for a writer."""

    def write(path: Path) -> None:
        make_raster(path)
        fifo = path.with_name("elsewhere" if is_link else name)
        os.mkfifo(fifo)
        if is_link:
            path.with_name(name).symlink_to(fifo)

    return write


def other_overviews(path: Path) -> None:
    """Write a TIFF that names another file as that of its overviews."""
    make_raster(path)
    with rasterio.open(path, "r+") as image:
        image.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://127.0.0.1:1/a.tif")


REFUSED: dict[str, tuple[str, Callable[[Path], object], int, str]] = {
    # name of the case: file, what writes it, status, words
    **{f"a FIFO {name} beside it": ("a.tif", with_fifo(name), 400, "is no plain file")
       for name in ("a.tfw", "a.TfW", "a.tif.aux.xml", "a.tif.ovr", "a.tif.msk", "a.tif.prj", "a.aux", "a.IMD", "a_rpc.txt")},
    "a link to a FIFO beside it": ("a.tif", with_fifo("a.tfw", is_link=True), 400, "'.tfw' is no plain file"),
    "a FIFO": ("a.tif", os.mkfifo, 400, "there is no file"),
    "overviews in any file that it names": ("a.tif", other_overviews, 400, "names a file of overviews"),
    "a GeoTIFF that claims 1e6 x 1e6": ("a.tif", saved(claimed(10**6, 10**6)), 413, "max_image_pixels"),
    "a sparse GeoTIFF of 1e6 x 1e6": ("a.tif", sparse(10**6), 413, "1000000 x 1000000 pixels"),
    "a GeoTIFF that claims all of 32 bits": ("a.tif", saved(claimed(2**31 - 1, 2**31 - 1)), 400, "cannot be opened"),
    "a TIFF of size 0": ("a.tif", saved(claimed(0, 5)), 400, "cannot be opened"),
    "a TIFF in one gigantic tile": ("a.tif", saved(claimed(150_000, 150_000, tile=150_016)), 400, "image 'a.tif'"),
    "a TIFF of 65,535 bands": ("a.tif", saved(claimed(100, 100, samples=65_535)), 400, "image 'a.tif'"),
    "a TIFF whose directory lies beyond its end": ("a.tif", saved(b"II*\0\xff\xff\xff\xf0"), 400, "cannot be opened"),
    "a TIFF of four bytes": ("a.tif", saved(b"II*\0"), 400, "cannot be opened"),
    "a truncated COG": ("a.tif", torn_cog, 400, "truncated or broken"),
    "a truncated JPEG": ("a.jpg", torn("JPEG"), 400, "truncated or broken"),
    "a truncated PNG": ("a.png", torn("PNG"), 400, "image 'a.png'"),
    "a truncated JPEG 2000": ("a.jp2", torn("JP2OpenJPEG", 0.05), 400, "image 'a.jp2'"),
    "a PNG that ends early": ("a.png", saved(png(3000, 3000, rows=10)), 400, "truncated or broken"),
    "a PNG of 2^31 columns": ("a.png", saved(png(2**31 - 1, 1, rows=0)), 400, "image 'a.png'"),
    "a PNG without a header": ("a.png", saved(b"\x89PNG\r\n\x1a\n"), 400, "cannot be opened"),
    "a JPEG of its first bytes": ("a.jpg", saved(b"\xff\xd8\xff\xe0"), 400, "cannot be opened"),
    "an SVG named PNG": ("a.png", saved(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), 400, "cannot be opened"),
    "a zip named TIFF": ("a.tif", saved(b"PK\x03\x04" + b"\0" * 99), 400, "cannot be opened"),
    "a geotransform of infinite cells": ("a.tif", turned_inside_out, 400, "geotransform that cannot be inverted"),
    "a geotransform without area": ("a.tif", flat, 400, "geotransform that cannot be inverted"),
    "a VRT as the mask beside it": ("a.tif", masked_by_a_vrt, 400, "the mask beside it is no GeoTIFF"),
    "the same in other letters": ("a.tif", partial(masked_by_a_vrt, ending=".Msk"), 400, "the mask beside it is no GeoTIFF"),
    "complex cells": ("a.tif", lambda path: _complex(path), 400, "cells of type complex64"),
    "a PNG of 4.1e10 bits in rows": ("a.png", saved(png(70_000, 70_000, rows=9)), 400, "read from its first row each time"),
    "a folder with an image's name": ("a.tif", Path.mkdir, 400, "no file"),
}  # fmt: skip


def _complex(path: Path) -> None:
    make_raster(path, values=np.ones((1, 8, 8), np.complex64))


CLASSIFIED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    # name of the case: file, what writes it, status of the object
    "a PNG a million pixels wide": ("a.png", saved(png(10**6, 3)), "ok"),
    "a PNG a million pixels high": ("a.png", saved(png(3, 10**6)), "ok"),
    "a PNG bomb of 400 million pixels": ("a.png", saved(png(20_000, 20_000)), "ok"),
    "a PNG of one bit": ("a.png", saved(png(5000, 5000, depth=1)), "ok"),
    "a sparse GeoTIFF of 1e10 pixels": ("a.tif", sparse(10**5 // 5), "ok"),
    "a sparse GeoTIFF of 4e10 pixels": ("a.tif", sparse(199_000), "ok"),
    "a sparse GeoTIFF of 4e10 pixels in strips": ("a.tif", sparse(199_000, tiled=False, blockysize=1), "ok"),
    "a sparse GeoTIFF of strips": ("a.tif", sparse(20_000, tiled=False, blockysize=1), "ok"),
    "statistics that are no numbers": ("a.tif", with_aux(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MINIMUM">nan</MDI>'
        '<MDI key="STATISTICS_MAXIMUM">x</MDI></Metadata></PAMRasterBand></PAMDataset>'), "ok"),
    "a broken .aux.xml": ("a.tif", with_aux("<PAMDataset><"), "ok"),
    "entities in an .aux.xml": ("a.tif", with_aux(
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><PAMDataset>&b;</PAMDataset>'), "ok"),
    "a TIFF whose directories form a circle": ("a.tif", saved(claimed(64, 64, following=8)), "ok"),
    "several pages": ("a.tif", animated, "ok"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_harm_is_refused(client: Client, home: Path, tmp_path: Path, case: str) -> None:
    name, write, status, words = REFUSED[case]
    folder = home / "imagery" / tmp_path.name
    folder.mkdir()
    write(folder / name)
    with bounded(client):
        response = client.execute("classify-objects", {"image": {"href": (folder / name).as_uri()}, "model": "one"})
    assert response.status_code == status, response.text
    assert words in response.json["detail"], response.text
    assert str(home) not in response.json["detail"].replace(f"file://{home}", "")


@pytest.mark.parametrize("case", CLASSIFIED)
def test_what_is_only_odd_is_classified(client: Client, home: Path, tmp_path: Path, case: str) -> None:
    name, write, status = CLASSIFIED[case]
    folder = home / "imagery" / tmp_path.name
    folder.mkdir()
    write(folder / name)
    with bounded(client):
        response = client.execute("classify-objects", {"image": link(folder / name), "model": "one"})
    assert response.status_code == 200, response.text
    rows = response.json.get("data") or [feature["properties"] for feature in response.json["features"]]
    assert [row["ClassStatus"] for row in rows] == [status]


def square(west: float, north: float, side: float) -> dict[str, Any]:
    corners = [(west, north), (west + side, north), (west + side, north - side), (west, north - side), (west, north)]
    return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [corners]}}


def layer(features: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
        "features": features,
    }


@pytest.mark.parametrize("mode", ["mosaic", "separate"])
def test_objects_that_would_read_too_much_are_refused_before_it_begins(
    client: Client, tmp_path: Path, mode: str
) -> None:
    """Each of them covers an image of 4.8 GB, or four of them."""
    image = inline(write_repeated(tmp_path / "a.tif", 40_000))
    features = [square(500_000, 5_000_000, 400)] * 2500
    inputs = {"image": [image] * 4, "features": layer(features), "model": "black", "processingMode": mode}
    words = "GB of cells to read for one request: more than the limit max_read_gb = 10000 allows"
    for path in ("execution", "validate"):
        with bounded(client):
            response = client.http.post(f"/processes/classify-objects/{path}", json={"inputs": inputs})
        assert response.status_code == 413, response.text
        assert words in response.json["detail"]


@pytest.mark.parametrize("mode", ["mosaic", "separate"])
def test_objects_over_all_of_sparse_images_cost_next_to_nothing(client: Client, tmp_path: Path, mode: str) -> None:
    image = inline(write_sparse(tmp_path / "a.tif", nodata=0))
    features = [square(500_000, 5_000_000, 1990), square(500_100, 4_999_900, 700)]
    inputs = {"image": [image] * 3, "features": layer(features), "model": "black", "processingMode": mode}
    with bounded(client):
        response = client.execute("classify-objects", inputs)
    assert response.status_code == 200, response.text
    rows = [feature["properties"]["ClassStatus"] for feature in response.json["features"]]
    assert rows == ["nodata"] * (2 if mode == "mosaic" else 6)


def assert_alive(client: Client, home: Path) -> None:
    response = client.execute("classify-objects", {"image": link(home / "imagery" / "sound.tif"), "model": "three"})
    assert response.status_code == 200, response.text
