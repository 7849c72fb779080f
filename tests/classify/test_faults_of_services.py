"""Faults of services of images, and what comes of them: of XYZ tiles, which stand for all that are asked tile by tile."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from classify.test_image_services import COLUMN, ROW, ZOOM, picture
from processes.allowed_hosts import AllowedHost
from processes.errors import ForbiddenError, ImageError, InputError
from processes.imagery.image import Image, open_image
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.services.grid_source import GridSource
from processes.imagery.services.xyz import xyz_service
from processes.imagery.source import gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from processes.settings import Settings
from processes.sources.part_cache import PartCache
from range_host import Fault, RangeHandler, RangeHost, once, range_host, status
from rasters import random_values

CELL = 2 * 20_037_508.342789244 / 256 / 2**ZOOM
CONTENT = picture(random_values((3, 256, 256), seed=1), "PNG")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RangeHost]:
    folder = tmp_path / "tiles" / str(ZOOM) / str(COLUMN)
    folder.mkdir(parents=True)
    (folder / f"{ROW}.png").write_bytes(CONTENT)
    with range_host(tmp_path / "tiles") as running:
        yield running


def image_of(host: RangeHost, folder: Path) -> Image:
    settings = Settings.from_plugin({"hosts": host.host}, folder)
    limits = replace(settings.limits, request_timeout_s=1, section_timeout_s=6)
    access = RemoteAccess(replace(settings, limits=limits), PartCache(folder / "near", 2**20))
    template, grid = xyz_service(f"http://{host.host}/{{z}}/{{x}}/{{y}}.png?token=secret", CELL)
    assert AllowedHost.parse(host.host) in access.settings.hosts
    return open_image(GridSource(template, grid, "t", access=access), 2**62)


def read(image: Image) -> bool:
    """Return whether the cells of the tile are those of the file."""
    cells, valid = np.zeros((3, 256, 256), np.uint8), np.zeros((256, 256), bool)
    with gdal_settings(), TileReader([image], [BandSelection((0, 1, 2))]) as tiles:
        assert tiles.cut(0, (COLUMN * 256, ROW * 256, 256, 256), cells, valid)
    return bool((cells == random_values((3, 256, 256), seed=1)).all() and valid.all())


def body(content: bytes) -> Fault:
    def answer(handler: RangeHandler, start: int, end: int) -> bool:
        handler.answer(200, content, {})
        return True

    return answer


def begun(handler: RangeHandler, sent: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:sent])
    handler.wfile.flush()
    handler.close_connection = True


def reset(handler: RangeHandler, start: int, end: int) -> bool:
    begun(handler, 100)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    return True


def short(handler: RangeHandler, start: int, end: int) -> bool:
    begun(handler, 200)
    return True


def drip(handler: RangeHandler, start: int, end: int) -> bool:
    """Send a byte now and then, for ever."""
    begun(handler, 1)
    try:
        while True:
            handler.wfile.write(b".")
            time.sleep(0.05)
    except OSError:
        return True


PASSING: dict[str, Fault] = {
    "reset in the middle": once(reset),
    "503 thrice": once(status(503), status(503), status(503)),
    "429 that says when": once(status(429, Retry_After="0.2")),
    "fewer bytes than it says": once(short),
    "a byte now and then, once": once(drip),
    "a redirect on the same host": once(status(302, Location=f"/{ZOOM}/{COLUMN}/{ROW}.png")),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_met_by_trying_again(name: str, host: RangeHost, tmp_path: Path) -> None:
    host.fault = PASSING[name]
    assert read(image_of(host, tmp_path))
    assert len(host.ranges) > 1


REFUSED: dict[str, tuple[Fault, type[Exception], str]] = {
    "400": (status(400), ImageError, "status 400"),
    "401": (status(401), ImageError, "status 401"),
    "500, which services answer with when they refuse": (status(500), ImageError, "status 500"),
    "503 for ever": (status(503, Retry_After="0.01"), ImageError, "status 503, asked 8 times"),
    "never ends": (drip, ImageError, "broke off its answer|does not answer"),
    "a redirect to a host that is not allowed": (
        status(302, Location="http://example.org/t.png"),
        ForbiddenError,
        "example.org",
    ),
    "a redirect to a file": (status(302, Location="file:///etc/passwd"), ForbiddenError, "scheme 'file'"),
    "redirects for ever": (status(302, Location="?again"), ImageError, "redirects more than 5 times"),
    "a page": (body(b"<html>log in"), ImageError, "no PNG, JPEG or GeoTIFF"),
    "nothing": (body(b""), ImageError, "no PNG, JPEG or GeoTIFF"),
    "half a picture": (body(CONTENT[: len(CONTENT) // 2]), ImageError, "truncated or broken"),
    "more than a tile may have": (body(CONTENT + bytes(2**26)), ImageError, "more than 64 MiB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_that_stays_is_told(name: str, host: RangeHost, tmp_path: Path) -> None:
    host.fault, kind, said = REFUSED[name]
    start_s = time.monotonic()
    with pytest.raises(kind, match=said) as caught:
        read(image_of(host, tmp_path))
    assert time.monotonic() - start_s < 10
    message = str(caught.value.detail) if isinstance(caught.value, InputError | ForbiddenError) else ""
    assert message
    assert "secret" not in message
    assert str(tmp_path) not in message


def test_a_tile_that_is_not_there_is_no_fault(host: RangeHost, tmp_path: Path) -> None:
    image = image_of(host, tmp_path)
    (host.folder / str(ZOOM) / str(COLUMN) / f"{ROW}.png").unlink()
    for _ in range(2):
        cells, valid = np.ones((3, 9, 9), np.uint8), np.ones((9, 9), bool)
        with gdal_settings(), TileReader([image], [BandSelection((0, 1, 2))]) as tiles:
            assert tiles.cut(0, (COLUMN * 256, ROW * 256, 9, 9), cells, valid)
        assert not valid.any()
        assert not cells.any()
