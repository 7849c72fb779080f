"""Images on hosts, read by parts: labels are those of the same file on this machine, and no more is fetched than needed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from msgspec.structs import replace

from conftest import MakePackage
from processes.allowed_hosts import AllowedHost
from processes.classify.process import ClassifyObjects
from processes.errors import RequestError
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from processes.sources.ranges import PIECE_BYTES
from range_host import RangeHandler, RangeHost, range_host
from rasters import make_raster
from service import link, models_checked_here

SIDE, BLOCK = 1280, 256
X, Y = 500_000, 5_000_000


@pytest.fixture
def host(settings: Settings) -> Iterator[RangeHost]:
    with range_host(settings.imagery[0]) as running, models_checked_here():
        yield running


@pytest.fixture
def process(settings: Settings, host: RangeHost, make_package: MakePackage) -> ClassifyObjects:
    make_package("fixed")
    limits = replace(settings.limits, request_timeout_s=2, section_timeout_s=20)
    allowed = replace(settings, hosts=(AllowedHost.parse(host.host),), limits=limits)
    return ClassifyObjects(allowed, Catalog.from_settings(allowed), 2)


def image(settings: Settings, name: str, place: int = 0, **options: Any) -> Path:
    transform = Affine(1, 0, X + place * SIDE, 0, -1, Y)
    given: dict[str, Any] = {"width": SIDE, "height": SIDE, "blocksize": BLOCK, "compress": "deflate"} | options
    return make_raster(settings.imagery[0] / name, transform=transform, seed=place, **given)


def classified(
    process: ClassifyObjects, hrefs: Sequence[str], folder: Path, places: Sequence[tuple[float, float]], **inputs: Any
) -> list[dict[str, Any]]:
    """Return the rows of objects at places, in cells from the corner of the first image."""
    shapes = [shapely.box(X + column - 2, Y - row - 2, X + column + 2, Y - row + 2) for column, row in places]
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    collection = {"type": "FeatureCollection", "crs": crs, "features": features}
    given = {"image": [{"href": href} for href in hrefs], "features": collection, "model": "fixed"} | inputs
    body = json.dumps({"inputs": given}).encode()
    folder.mkdir()
    output = process.execute(Execution.read("classify-objects", body, process.describe(), result_name="a"), folder)
    content = output.content if isinstance(output.content, bytes) else output.content.read_bytes()
    return [feature["properties"] for feature in json.loads(content)["features"]]


def scattered(count: int, width: int = SIDE) -> list[tuple[float, float]]:
    rng = np.random.default_rng(count)
    return [(float(x), float(y)) for x, y in rng.uniform((0, 0), (width, SIDE), (count, 2))]


KINDS: dict[str, dict[str, Any]] = {
    "deflate": {},
    "JPEG with a mask": {
        "compress": "jpeg",
        "photometric": "YCBCR",
        "mask": np.random.default_rng(1).random((SIDE, SIDE)) > 0.1,
    },
    "nodata, four blocks a tile": {"blocksize": 128, "nodata": 7, "nodata_boxes": [(0, 0, 500, 500)]},
    "five bands apart": {"bands": 5, "interleave": "band", "dtype": "uint16"},
    "BigTIFF, big-endian": {"BIGTIFF": "YES", "ENDIANNESS": "BIG", "predictor": 2},
    "lossless LERC": {"compress": "lerc", "max_z_error": 0},
    "absent blocks": {"SPARSE_OK": True, "values": np.tile(np.arange(SIDE) < 500, (3, SIDE, 1)).astype(np.uint8) * 9},
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_those_of_the_local_file(
    kind: str, process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    local, places = image(settings, "a.tif", **KINDS[kind]), scattered(300)
    expected = classified(process, [link(local)["href"]], tmp_path / "local", places)
    assert classified(process, [host.link("a.tif")], tmp_path / "remote", places) == expected
    assert host.sent_bytes < local.stat().st_size * 1.05 + 3 * PIECE_BYTES
    variable = {"extent": {"bbox": [X, Y - 500, X + 600, Y], "crs": "EPSG:32633"}}
    expected = classified(process, [link(local)["href"]], tmp_path / "local-2", places, **variable)
    assert classified(process, [host.link("a.tif")], tmp_path / "remote-2", places, **variable) == expected


def test_only_blocks_that_chips_touch_are_fetched_and_each_once(
    process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    local = image(settings, "a.tif")
    places = [(100.0, 100.0), (300.0, 100.0), (110.0, 120.0), (1200.0, 1200.0)]
    classified(process, [host.link("a.tif")], tmp_path / "work", places)
    block = local.stat().st_size / (SIDE // BLOCK) ** 2
    assert host.ranges[0] == ("a.tif", 0, PIECE_BYTES)
    assert len(host.ranges) == 3  # the header; two neighbours at once; another block
    assert host.sent_bytes - PIECE_BYTES < 3.1 * block


def test_a_mosaic_costs_what_is_touched(
    process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    names = [f"{number}.tif" for number in range(20)]
    for number, name in enumerate(names):
        image(settings, name, number, height=BLOCK)
    places = [(x, y / 8) for x, y in scattered(60, 2 * SIDE)]
    expected = classified(process, [link(settings.imagery[0] / name)["href"] for name in names], tmp_path / "a", places)
    busy, most, lock = 0, 0, threading.Lock()

    def count(handler: RangeHandler, start: int, end: int) -> bool:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.05)
        with lock:
            busy -= 1
        return False

    host.fault = count
    assert classified(process, [host.link(name) for name in names], tmp_path / "b", places) == expected
    size = (settings.imagery[0] / names[0]).stat().st_size
    assert host.sent_bytes <= 20 * PIECE_BYTES + (2 + 1 / 5) * size * 1.05  # a chip reaches over to the third
    assert most > 4  # the headers too
    assert host.sent_bytes < 0.3 * 20 * size


def test_a_hundred_images_cost_what_the_touched_ones_cost(
    process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    """Beside the first bytes of each, which tell what it is."""
    side, names = 256, [f"{number:02}.tif" for number in range(100)]
    for number, name in enumerate(names):
        place = Affine(1, 0, X + number * side, 0, -1, Y)
        make_raster(
            settings.imagery[0] / name,
            width=side,
            height=side,
            blocksize=64,
            transform=place,
            compress="deflate",
            seed=number,
        )
    touched = [3, 50, 51, 99]
    places = [(number * side + 40.0 + 2 * step, 30.0 + 5 * step) for number in touched for step in range(20)]
    links = [link(settings.imagery[0] / name)["href"] for name in names]
    expected = classified(process, links, tmp_path / "local", places)
    assert classified(process, [host.link(name) for name in names], tmp_path / "remote", places) == expected
    assert len({row["Confidence"] for row in expected}) > 60
    size = (settings.imagery[0] / names[0]).stat().st_size
    assert size > 4 * PIECE_BYTES
    assert {name for name, start, _ in host.ranges if start > 0} == {names[number] for number in touched}
    assert host.sent_bytes < len(names) * PIECE_BYTES + len(touched) * size


def test_the_cells_of_a_chip_over_the_edge_come_from_the_neighbour(
    process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    names, places = ["0.tif", "1.tif"], [(float(SIDE + shift), 500.0) for shift in (-3, -1, 0, 2, 3)]
    for number, name in enumerate(names):
        image(settings, name, number)
    expected = classified(process, [link(settings.imagery[0] / name)["href"] for name in names], tmp_path / "a", places)
    assert classified(process, [host.link(name) for name in names], tmp_path / "b", places) == expected


@pytest.mark.parametrize("case", ["no ranges", "no tiles", "small", "no stamp"])
def test_what_cannot_be_read_by_parts_is_fetched_whole(
    case: str, process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    options: dict[str, dict[str, Any]] = {
        "no tiles": {"tiled": False, "blocksize": 64},
        "small": {"width": 64, "height": 64, "blocksize": 64},
    }
    local, places = image(settings, "a.tif", **options.get(case, {})), scattered(20)
    host.takes_ranges = case != "no ranges"
    expected = classified(process, [link(local)["href"]], tmp_path / "local", places)

    def no_size(handler: RangeHandler, start: int, end: int) -> bool:
        if end - start != PIECE_BYTES:
            return False
        handler.answer(206, local.read_bytes()[:PIECE_BYTES], {"Content-Range": f"bytes 0-{PIECE_BYTES - 1}/*"})
        return True

    host.fault = no_size if case == "no stamp" else None
    assert classified(process, [host.link("a.tif")], tmp_path / "remote", places) == expected
    assert len(host.ranges) == (2 if case in ("no tiles", "no stamp") else 1)
    assert host.sent_bytes >= local.stat().st_size


def test_a_file_that_changes_fails_the_work(
    process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    image(settings, "a.tif")

    def change(handler: RangeHandler, start: int, end: int) -> bool:
        if len(host.ranges) == 4:
            host.tag = "2"
        return False

    host.fault = change
    with pytest.raises(RequestError, match=r"a\.tif was changed after the request was accepted") as caught:
        classified(process, [host.link("a.tif")], tmp_path / "work", scattered(300))
    assert [fault.pointer for fault in caught.value.faults] == ["/inputs/image"]


@pytest.mark.parametrize(("code", "words"), [(503, "status 503, asked 8 times"), (404, "status 404")])
def test_a_host_that_fails_in_between_is_told(
    code: int, words: str, process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    image(settings, "a.tif")

    def fail(handler: RangeHandler, start: int, end: int) -> bool:
        if start == 0:
            return False
        handler.answer(code, b"", {"Retry-After": "0.01"})
        return True

    host.fault = fail
    with pytest.raises(RequestError, match=words):
        classified(process, [host.link("a.tif")], tmp_path / "work", scattered(300))


def test_faults_of_remote_images_stand_at_their_links(
    process: ClassifyObjects, settings: Settings, host: RangeHost, tmp_path: Path
) -> None:
    image(settings, "a.tif")
    (settings.imagery[0] / "text.tif").write_text("no image")
    hrefs = [host.link("a.tif"), host.link("text.tif"), host.link("none.tif"), "http://example.org/a.tif"]
    with pytest.raises(RequestError) as caught:
        classified(process, hrefs, tmp_path / "work", scattered(3))
    assert {fault.pointer: fault.detail.split(":")[0].split(" cannot")[0] for fault in caught.value.faults} == {
        "/inputs/image/1/href": "image 'text.tif'",
        "/inputs/image/2/href": "http",
        "/inputs/image/3/href": "http",
    }
