"""The files of jobs, in a folder and in an object store."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from jobs_service import Service, make_town, running, until
from object_store import moto_store
from processes.classify.downloads import FRAME, has_host_links
from processes.crs.web_mercator import to_world
from processes.errors import FailureError, InputError
from processes.features.writing.formats import FORMATS
from processes.jobs.files import FolderStorage, storage_of
from processes.jobs.object_files import ObjectStorage
from processes.jobs.storage import Storage
from processes.ogc.request import read_request
from processes.settings import Settings
from processes.sources.links import allowed_path, resolve
from processes.sources.uploads import find_upload, keep_upload, remove_expired, remove_upload

BUCKET = "results"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an object store that speaks S3, at the loopback address."""
    with moto_store(tmp_path_factory.mktemp("objects"), BUCKET) as port:
        yield f"s3://{BUCKET}/jobs?endpoint_override=http://127.0.0.1:{port}&region=us-east-1&scheme=http"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture(params=["folder", "objects"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "results")
    request.getfixturevalue("credentials")
    url: str = request.getfixturevalue("objects")
    return ObjectStorage(url.replace("/jobs?", f"/{tmp_path.name}?"), tmp_path / "copies")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def write(scratch: Path, name: str, content: bytes) -> Path:
    (scratch / name).write_bytes(content)
    return scratch / name


def test_files_come_back(storage: Storage, scratch: Path) -> None:
    storage.put_execution("job", b"what was asked for")
    assert storage.execution("job") == b"what was asked for"
    files = storage.files("job", "plan-1", scratch)
    assert files.scratch == scratch
    assert not files.has("a.arrow")
    files.keep("a.arrow", write(scratch, "x", b"0123456789"))
    assert files.has("a.arrow")
    assert files.fetch("a.arrow").read_bytes() == b"0123456789"
    assert files.fetch("a.arrow").read_bytes() == b"0123456789"
    with files.open("a.arrow") as opened:
        opened.seek(4)
        assert opened.read(3) == b"456"
    with storage.open_result("job", "plan-1/a.arrow") as result:
        assert result.seekable()
        result.seek(7)
        assert result.read() == b"789"
    assert [job for job, _ in storage.jobs()] == ["job"]


def test_another_plan_has_files_of_its_own(storage: Storage, scratch: Path) -> None:
    storage.put_execution("job", b"")
    storage.files("job", "plan-1", scratch).keep("a", write(scratch, "a", b"1"))
    other = storage.files("job", "plan-2", scratch)
    assert not other.has("a")
    other.keep("a", write(scratch, "a", b"2"))
    assert storage.files("job", "plan-1", scratch).fetch("a").read_bytes() == b"1"
    assert other.fetch("a").read_bytes() == b"2"


def test_only_the_result_is_kept_and_then_nothing(storage: Storage, scratch: Path) -> None:
    for job in ("job", "other"):
        storage.put_execution(job, b"execution")
        for plan, names in (("plan-1", ["a", "b"]), ("plan-2", ["labels", "result-2.gpkg"])):
            for name in names:
                storage.files(job, plan, scratch).keep(name, write(scratch, name, name.encode()))
    storage.keep_only("job", "plan-2/result-2.gpkg")
    with pytest.raises(FileNotFoundError):
        storage.execution("job")
    for plan, name in (("plan-1", "a"), ("plan-1", "b"), ("plan-2", "labels")):
        assert not storage.files("job", plan, scratch).has(name)
    with storage.open_result("job", "plan-2/result-2.gpkg") as result:
        assert result.read() == b"result-2.gpkg"
    storage.remove("job")
    storage.remove("job")
    storage.remove("nothing")
    assert [job for job, _ in storage.jobs()] == ["other"]
    with pytest.raises(FileNotFoundError):
        storage.open_result("job", "plan-2/result-2.gpkg")
    assert storage.execution("other") == b"execution"


def test_nothing_can_be_kept_for_a_job_that_is_gone(tmp_path: Path, scratch: Path) -> None:
    storage = FolderStorage(tmp_path / "results")
    storage.put_execution("job", b"")
    storage.remove("job")
    with pytest.raises(FailureError):
        storage.files("job", "plan-1", scratch).keep("a", write(scratch, "a", b"1"))
    assert list((tmp_path / "results").iterdir()) == []


def test_what_cannot_be_stored_is_told_without_paths(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FolderStorage(tmp_path / "results")
    storage.put_execution("job", b"")
    for number, words in ((errno.ENOSPC, "there is no space left"), (errno.EIO, "cannot be stored")):

        def fail(*_: object, number: int = number) -> None:
            raise OSError(number, "oh", "/secret/place")

        monkeypatch.setattr("processes.jobs.files.publish", fail)
        with pytest.raises(FailureError, match=words) as failure:
            storage.files("job", "plan-1", scratch).keep("a", write(scratch, "a", b"1"))
        assert "secret" not in failure.value.detail
    assert not (tmp_path / "results" / "job" / "plan-1" / "a").exists()


def test_a_file_on_another_file_system_is_taken_over_whole(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FolderStorage(tmp_path / "results")
    storage.put_execution("job", b"")
    replace = os.replace

    def elsewhere(source: Path, target: Path) -> None:
        if source.parent == scratch:
            raise OSError(errno.EXDEV, "another file system")
        replace(source, target)

    monkeypatch.setattr("os.replace", elsewhere)
    files = storage.files("job", "plan-1", scratch)
    files.keep("a", write(scratch, "a", b"123"))
    assert files.fetch("a").read_bytes() == b"123"
    assert [entry.name for entry in (tmp_path / "results" / "job" / "plan-1").iterdir()] == ["a"]


def test_the_configuration_names_the_storage(tmp_path: Path) -> None:
    named = Settings.from_plugin({"results": "/shared/results"}, tmp_path)
    usual = Settings.from_plugin({}, tmp_path)
    for settings, folder in ((usual, tmp_path / "state" / "results"), (named, Path("/shared/results"))):
        storage = storage_of(settings)
        assert isinstance(storage, FolderStorage)
        assert storage.folder == folder
    assert isinstance(storage_of(Settings.from_plugin({"results": "s3://bucket/a"}, tmp_path)), ObjectStorage)


def test_copies_that_no_step_uses_are_removed(objects: str, credentials: None, tmp_path: Path, scratch: Path) -> None:
    storage = ObjectStorage(objects.replace("/jobs?", "/copies?"), tmp_path / "copies")
    for job in ("old", "new"):
        storage.put_execution(job, b"")
        files = storage.files(job, "plan-1", scratch)
        files.keep("a", write(scratch, "a", b"1"))
        files.fetch("a")
    long_ago = time.time() - 7200
    os.utime(tmp_path / "copies" / "old", (long_ago, long_ago))
    storage.files("new", "plan-1", scratch)
    assert [entry.name for entry in (tmp_path / "copies").iterdir()] == ["new"]


def test_copies_are_removed_by_several_slots_at_the_same_time(
    objects: str, credentials: None, tmp_path: Path, scratch: Path
) -> None:
    storage = ObjectStorage(objects.replace("/jobs?", "/copies?"), tmp_path / "copies")
    long_ago = time.time() - 7200
    for _ in range(10):
        for number in range(20):
            (tmp_path / "copies" / str(number) / "plan").mkdir(parents=True)
            os.utime(tmp_path / "copies" / str(number), (long_ago, long_ago))
        with ThreadPoolExecutor(4) as slots:
            list(slots.map(lambda name: storage.files(name, "plan-1", scratch), "abcd"))
        assert not list((tmp_path / "copies").iterdir())


def test_what_is_left_of_a_job_has_an_age(storage: Storage, scratch: Path) -> None:
    storage.put_execution("whole", b"")
    storage.put_execution("left", b"")
    storage.files("left", "plan-1", scratch).keep("a", write(scratch, "a", b"1"))
    for job, age_s in storage.jobs():
        assert job in ("whole", "left")
        assert -1 < age_s < 60


@pytest.mark.jobs
def test_a_service_keeps_its_results_in_an_object_store(objects: str, credentials: None, tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    town = make_town(tmp_path / "town", chip_ms=4)
    with running(Service(town, tmp_path / "service", results=objects)) as service:
        reply = service.execute(service.inputs(5))
        assert reply.status == 200, reply.body
        assert len(reply.json["features"]) == 5
        job = service.submit(3000, "slow")  # of several sections
        assert service.wait(job)["status"] == "successful"
        assert len(service.events(job, "job cut into sections")) == 1
        whole = service.get(f"/jobs/{job}/results/classifiedObjects")
        assert len(whole.json["features"]) == 3000
        part = service.get(f"/jobs/{job}/results/classifiedObjects", Range="bytes=10-19")
        assert (part.status, part.body) == (206, whole.body[10:20])
        require_all_that_is_shown(service, job, whole.json["features"])
        storage = storage_of(Settings.from_plugin({"results": objects}, tmp_path))
        assert job in dict(storage.jobs())
        require_uploads_do_as_links_do(service, reply.json["features"])
        service.request("DELETE", f"/jobs/{job}")
        until(lambda: job not in dict(storage.jobs()), 5)
        assert service.get(f"/jobs/{job}/results").status == 410
        assert not (service.state / "results").exists()


def require_all_that_is_shown(service: Service, job: str, features: list[Any]) -> None:
    """Ask for what is made of a result: its forms and styles, its collection, its map and its chips."""
    url = f"/jobs/{job}"
    for output_format in FORMATS:
        form = service.get(f"{url}/results/classifiedObjects{output_format.ending}")
        assert (form.status, form.headers["content-type"]) == (200, output_format.media_type), form.body
        part = service.get(f"{url}/results/classifiedObjects{output_format.ending}", Range="bytes=10-19")
        assert (part.status, part.body) == (206, form.body[10:20])
    for ending in ("qml", "sld", "json"):
        assert service.get(f"{url}/results/style.{ending}").status == 200
    listed = service.get("/collections").json["collections"]
    (collection,) = [
        f"/collections/{item['id']}" for item in listed if any(each["href"].endswith(url) for each in item["links"])
    ]
    (box,) = service.get(collection).json["extent"]["spatial"]["bbox"]
    found = service.get(f"{collection}/items?limit=10000&bbox={','.join(map(str, box))}").json["features"]
    assert [item["geometry"] for item in found] == [item["geometry"] for item in features]
    document = service.get(f"{url}/map").json
    assert document["objects"] == len(features)
    places = to_world(np.array([document["bounds"][:2], document["bounds"][2:]])).mean(axis=0).tolist()
    for source, zoom in (("objects", 14), ("imagery", document["style"]["sources"]["imagery"]["maxzoom"])):
        (template,) = document["style"]["sources"][source]["tiles"]
        path = template[template.index("/jobs/") :].replace("{z}", str(zoom))
        for name, place in zip(("{x}", "{y}"), places, strict=True):
            path = path.replace(name, str(int(place * 2**zoom)))
        tile = service.get(path)
        assert (tile.status, len(tile.body) > 100) == (200, True), tile.body
    assert service.get(f"{url}/objects/{features[7]['id']}/chip.png").body.startswith(b"\x89PNG")
    assert service.get(f"{url}/review?limit=3").json["objects"]


def require_uploads_do_as_links_do(service: Service, features: list[Any]) -> None:
    """Send the image, and compare the result with that of the same file by link; only its chips are not to be had."""
    content = (service.town / "imagery" / "town.tif").read_bytes()
    sent = service.request("POST", "/uploads", content, {"Content-Disposition": 'attachment; filename="town.tif"'})
    assert sent.status == 201, sent.body
    reply = service.execute(service.inputs(5) | {"image": {"href": sent.json["href"]}})
    assert reply.json["features"] == features
    job = reply.headers["link"].partition("/jobs/")[2].partition(">")[0]
    chip = service.get(f"/jobs/{job}/objects/{features[0]['id']}/chip.png")
    assert (chip.status, "is not kept" in chip.json["detail"]) == (410, True)


def test_uploads_lie_in_the_object_store_and_are_fetched(objects: str, credentials: None, tmp_path: Path) -> None:
    settings = Settings.from_plugin({"state": str(tmp_path / "state"), "results": objects})
    upload = keep_upload(settings, "a.tif", io.BytesIO(b"x" * 1000))
    assert find_upload(settings, upload.id) == upload
    assert allowed_path(upload.href, settings) is None
    body = msgspec.json.encode({"inputs": {"image": {"href": upload.href}}})
    assert has_host_links(read_request(body, FRAME), settings)
    file = resolve(upload.href, settings, tmp_path)
    assert (file.name, file.path.read_bytes()) == ("a.tif", b"x" * 1000)
    assert remove_expired(settings) == 0
    assert remove_upload(settings, upload.id)
    assert not remove_upload(settings, upload.id)
    with pytest.raises(InputError, match="there is no upload"):
        resolve(upload.href, settings, Path(tempfile.mkdtemp(dir=tmp_path)))
