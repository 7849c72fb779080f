"""Objects in buckets, against a real server that speaks S3."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from obstore.store import S3Store

from conftest import MakePackage
from object_store import moto_store
from processes.allowed_hosts import AllowedBucket
from processes.classify.process import ClassifyObjects
from processes.errors import ForbiddenError, InputError, LimitError, RequestError
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from processes.sources.bucket_links import allowed_object
from processes.sources.download_budget import DownloadBudget
from processes.sources.links import resolve
from processes.sources.ranges import open_ranges
from processes.sources.remote_files import RemoteFile
from range_host import RangeHandler, RangeHost, once, range_host, status
from rasters import make_raster, to_map
from service import link, models_checked_here

BUCKET = "imagery"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "of-the-operator",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_store(tmp_path_factory.mktemp("objects"), BUCKET) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def allowed(store: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in (VARIABLES | {"AWS_ENDPOINT_URL": store}).items():
        monkeypatch.setenv(name, value)
    return replace(settings, buckets=(AllowedBucket.parse(f"s3://{BUCKET}/open"),))


def put(store: str, key: str, content: bytes) -> None:
    """Store an object; the credentials are those of the environment."""
    S3Store(BUCKET, endpoint=store, client_options={"allow_http": True}).put(key, content)


def classified(process: ClassifyObjects, hrefs: list[str], folder: Path) -> list[dict[str, Any]]:
    import shapely

    shapes = [to_map(shapely.box(x, y, x + 4, y + 4)) for x, y in ((10, 10), (700, 300), (60, 900), (1000, 1000))]
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    collection = {"type": "FeatureCollection", "crs": crs, "features": features}
    inputs = {"image": [{"href": href} for href in hrefs], "features": collection, "model": "fixed"}
    body = json.dumps({"inputs": inputs | {"processingMode": "separate"}}).encode()
    folder.mkdir()
    output = process.execute(Execution.read("classify-objects", body, process.describe(), result_name="a"), folder)
    content = output.content if isinstance(output.content, bytes) else output.content.read_bytes()
    return [feature["properties"] for feature in json.loads(content)["features"]]


def test_images_of_a_bucket_and_of_a_folder_in_it_are_classified(
    store: str, allowed: Settings, make_package: MakePackage, tmp_path: Path
) -> None:
    folder = allowed.imagery[0]
    make_raster(folder / "a b?.tif", width=1100, height=1100, blocksize=256)
    make_raster(folder / "b.png", driver="PNG", width=64, height=64, seed=2)
    make_raster(folder / "strips.tif", width=1100, height=1100, tiled=False, blocksize=16, seed=3)
    for name in ("a b?.tif", "strips.tif"):
        put(store, f"open/sheets/{name}", (folder / name).read_bytes())
    put(store, "open/sheets/", b"")  # as consoles mark folders
    put(store, "open/sheets/deeper/c.tif", b"none of the folder's own")
    put(store, "open/sheets/notes.txt", b"no image")
    put(store, "open/sheets2/d.tif", b"of another folder")
    make_package("fixed")
    process = ClassifyObjects(allowed, Catalog.from_settings(allowed), 2)
    with models_checked_here():
        local = classified(
            process, [link(folder / name)["href"] for name in ("a b?.tif", "strips.tif")], tmp_path / "l"
        )
        assert {row["ImageID"] for row in local} == {"a b?.tif", "strips.tif"}
        hrefs = [f"s3://{BUCKET}/open/sheets/{name}" for name in ("a%20b%3F.tif", "strips.tif")]
        assert classified(process, hrefs, tmp_path / "objects") == local
        assert classified(process, [f"s3://{BUCKET}/open/sheets/"], tmp_path / "folder") == local


def test_an_object_is_read_by_parts_and_its_change_is_noticed(store: str, allowed: Settings, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", width=1100, height=1100, blocksize=256)
    put(store, "open/a.tif", path.read_bytes())
    found = resolve(f"s3://{BUCKET}/open/a.tif#part", allowed, tmp_path, suits=lambda file, size: True)
    assert found.remote is not None
    assert (found.remote.size_bytes, found.path.stat().st_size) == (path.stat().st_size, 2**15)
    assert (found.name, found.fragment, found.remote.href) == ("a.tif", "part", f"s3://{BUCKET}/open/a.tif")
    ranges = open_ranges(found.remote, allowed)
    assert ranges.read(1000, 5000) == path.read_bytes()[1000:5000]
    put(store, "open/a.tif", path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"s3://imagery/open/a\.tif was changed after the request was accepted"):
        ranges.read(1000, 5000)


def test_what_is_wrong_is_told_in_the_clients_terms(store: str, allowed: Settings, tmp_path: Path) -> None:
    def fault(href: str, kind: type[Exception], words: str, settings: Settings = allowed) -> None:
        with pytest.raises(kind, match=words) as caught:
            resolve(href, settings, tmp_path)
        assert "of-the-operator" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)

    put(store, "open/large.tif", bytes(2**21))
    put(store, "secret/a.tif", b"1")
    fault(f"s3://{BUCKET}/open/none.tif", InputError, r"there is no s3://imagery/open/none\.tif")
    for href in (
        f"s3://{BUCKET}/secret/a.tif",
        "s3://other/open/a.tif",
        f"s3://{BUCKET}/opened/a.tif",
        "gs://imagery/open/a",
    ):
        fault(href, ForbiddenError, "allows no links to this bucket")
    for href in (
        f"s3://{BUCKET}/open/../secret/a.tif",
        f"s3://{BUCKET}/open/%2E%2E/secret/a.tif",
        f"s3://{BUCKET}/open//a",
    ):
        fault(href, InputError, "parts of a key")
    fault(f"s3://{BUCKET}/open/a.tif?x=1", InputError, "no query")
    small = replace(allowed, limits=replace(allowed.limits, max_download_mb=1))
    fault(f"s3://{BUCKET}/open/large.tif", LimitError, "max_download_mb", small)


@pytest.fixture
def strained(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[RangeHost, Settings]]:
    """Start a store of one object that answers as it is told: what S3 answers to a reader, and SlowDown."""
    (tmp_path / BUCKET / "open").mkdir(parents=True)
    (tmp_path / BUCKET / "open" / "a.tif").write_bytes(bytes(range(256)) * 400)
    with range_host(tmp_path) as host:
        for name, value in (VARIABLES | {"AWS_ENDPOINT_URL": f"http://{host.host}"}).items():
            monkeypatch.setenv(name, value)
        yield host, replace(settings, buckets=(AllowedBucket.parse(f"s3://{BUCKET}"),))


SLOW_DOWN = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
)


def test_a_store_that_is_asked_too_much_gets_fewer_requests_at_the_same_time(
    strained: tuple[RangeHost, Settings], tmp_path: Path
) -> None:
    host, allowed = strained
    busy, refused = 0, 0

    def fault(handler: RangeHandler, start: int, end: int) -> bool:
        nonlocal busy, refused
        with host.lock:
            busy += 1
            here = busy
        time.sleep(0.03)
        with host.lock:
            busy -= 1
            refused += here > 3
        if here > 3:
            handler.answer(503, SLOW_DOWN, {})
        return here > 3

    found = resolve(f"s3://{BUCKET}/open/a.tif", allowed, tmp_path, suits=lambda file, size: True)
    assert found.remote is not None
    host.fault = fault
    reader = open_ranges(found.remote, allowed)
    with ThreadPoolExecutor(16) as pool:  # the client's own tries fail here: it knows of no other request
        parts = list(pool.map(lambda start: reader.read(start, start + 10), range(0, 1600, 10)))
    assert b"".join(parts) == (bytes(range(256)) * 7)[:1600]
    assert 0 < refused < 80


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_fault_of_a_store_that_passes_is_met_by_trying_again(
    code: int, strained: tuple[RangeHost, Settings], tmp_path: Path
) -> None:
    host, allowed = strained
    host.fault = once(*[status(code)] * 3)
    found = resolve(f"s3://{BUCKET}/open/a.tif", allowed, tmp_path, suits=lambda file, size: True)
    assert found.remote is not None
    assert len(host.ranges) == 4
    host.fault = once(*[status(code)] * 3)
    assert open_ranges(found.remote, allowed).read(3, 9) == bytes(range(3, 9))
    assert len(host.ranges) == 8
    host.fault = status(code)
    with pytest.raises(
        InputError, match=r"s3://imagery/open/a\.tif: the object store does not answer.*asked [23] times"
    ):
        open_ranges(found.remote, allowed, 0.5).read(3, 9)


def test_a_store_that_does_not_answer_is_told_in_bounded_time(
    allowed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    quick = replace(allowed, limits=replace(allowed.limits, max_download_s=2, request_timeout_s=1))
    with pytest.raises(InputError, match=r"does not answer|did not arrive") as caught:
        resolve(f"s3://{BUCKET}/open/a.tif", quick, tmp_path, budget=DownloadBudget.of(quick))
    assert "127.0.0.1" not in caught.value.detail
    file = RemoteFile(f"s3://{BUCKET}/open/a.tif", 100)
    with pytest.raises(InputError, match="does not answer as it should"):
        open_ranges(file, quick, 2).read(0, 10)


def test_a_folder_without_images_is_told(
    store: str, allowed: Settings, make_package: MakePackage, tmp_path: Path
) -> None:
    put(store, "open/texts/a.txt", b"1")
    make_package("fixed")
    process = ClassifyObjects(allowed, Catalog.from_settings(allowed), 2)
    with models_checked_here(), pytest.raises(RequestError, match="open/texts/ holds no images"):
        classified(process, [f"s3://{BUCKET}/open/texts/"], tmp_path / "work")


@pytest.mark.parametrize("text", ["imagery", "s3://", "s3://a/b c/*", "http://a/b", "s3:/a"])
def test_an_entry_that_is_no_bucket_is_refused(text: str) -> None:
    if text == "s3://a/b c/*":
        assert AllowedBucket.parse(text.replace("a", "abc")).prefix == "b c/*"
    else:
        with pytest.raises(ValueError, match="an entry is s3://bucket"):
            AllowedBucket.parse(text)


def test_a_prefix_stands_for_whole_parts_of_keys(settings: Settings) -> None:
    for entry, key, is_allowed in (
        ("s3://abc", "a/b", True),
        ("s3://abc/a/", "a/b", True),
        ("s3://abc/a", "a/", True),
        ("s3://abc/a", "ab", False),
        ("s3://abc/a/b", "a/", False),
        ("az://abc/a", "a/b", False),
    ):
        one = replace(settings, buckets=(AllowedBucket.parse(entry),))
        if is_allowed:
            assert allowed_object(f"s3://abc/{key}", one).key == key
        else:
            with pytest.raises(ForbiddenError):
                allowed_object(f"s3://abc/{key}", one)
