"""Files that clients send: kept whole or not at all, told by a link that `image` and `features` take."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import pytest
from msgspec.structs import replace

from processes.errors import DiskFullError, ForbiddenError, InputError, LimitError
from processes.settings import Limits, Settings
from processes.sources import uploads
from processes.sources.links import resolve
from processes.web.http.body import BodyMemory, RequestBody
from processes.web.http.body_limit import BodyLimit
from service import Client, link
from small_server import Small, small_server

MB = 2**20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_plugin({"state": str(tmp_path / "state"), "limits": {"min_free_mb": 1}})


def send(client: Client, content: bytes, name: str | None = None, **headers: str) -> Any:
    disposition = {} if name is None else {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return client.http.post("/uploads", data=content, headers={**disposition, **headers})


def test_an_uploaded_scene_gives_what_the_same_file_by_link_gives(
    client: Client, home: Path, inputs: dict[str, Any]
) -> None:
    content = (home / "imagery" / "a.tif").read_bytes()
    sent = send(client, content, "a.tif", **{"Content-Type": "image/tiff"})
    assert sent.status_code == 201
    document = sent.json
    assert document["sha256"] == hashlib.sha256(content).hexdigest()
    assert (document["name"], document["size"]) == ("a.tif", len(content))
    features = send(client, json.dumps(inputs["features"]).encode(), "objects.geojson").json
    given = inputs | {"image": {"href": document["href"]}, "features": {"href": features["href"]}}
    answer = client.execute("classify-objects", given)
    assert answer.status_code == 200
    assert answer.json["features"] == client.execute("classify-objects", inputs).json["features"]
    images_alone = {"model": "brightness"}
    for image in ({"href": document["href"]}, link(home / "imagery" / "a.tif")):
        rows = client.execute("classify-objects", images_alone | {"image": image}).json["features"]
        assert [row["properties"]["ImageID"] for row in rows] == ["a.tif"]


def test_an_upload_is_told_and_removed(client: Client, inputs: dict[str, Any]) -> None:
    sent = send(client, b"no image", "b.tif")
    path = sent.headers["Location"].removeprefix("http://localhost")
    assert client.http.get(path).json == sent.json
    broken = client.execute("classify-objects", inputs | {"image": {"href": sent.json["href"]}})
    assert broken.status_code == 400
    assert [fault["pointer"] for fault in broken.json["errors"]] == ["/inputs/image/href"]
    assert client.http.delete(path).status_code == 204
    for answer in (client.http.get(path), client.http.delete(path)):
        assert answer.status_code == 404
        assert answer.json["type"] == "NotFound"
    gone = client.execute("classify-objects", inputs | {"image": {"href": sent.json["href"]}})
    assert gone.status_code == 400
    assert "there is no upload" in gone.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_what_is_no_file_itself_is_refused(client: Client, headers: dict[str, str], status: int) -> None:
    answer = send(client, b"--x--", **headers)
    assert (answer.status_code, answer.json["status"]) == (status, status)
    assert "the file" in answer.json["detail"]


def test_an_empty_body_is_refused(client: Client) -> None:
    assert send(client, b"").status_code == 400


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("%C5%BB%C3%B3%C5%82w%20%F0%9F%90%A2%20%231%3F.tif", "Żółw 🐢 #1?.tif"),
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("C%3A%5Ctemp%5Cscene.TIF", "scene.TIF"),
        ("%22%3B%20rm%20-rf%20%24HOME%60.png", '"; rm -rf $HOME`.png'),
        ("a%00b%0D%0Ac.tif", "a_b__c.tif"),
        ("..", "upload"),
        ("x" * 300 + ".tif", "x" * 196 + ".tif"),
        ("100%25.tif", "100%.tif"),
    ],
)
def test_a_name_can_have_anything_in_it(client: Client, home: Path, given: str, kept: str) -> None:
    content = (home / "imagery" / "a.tif").read_bytes()
    document = send(client, content, given).json
    assert document["name"] == kept
    answer = client.execute("classify-objects", {"image": {"href": document["href"]}, "model": "brightness"})
    assert answer.status_code == 200, answer.json
    assert answer.json["features"][0]["properties"]["ImageID"] == kept


def test_a_file_without_a_name_gets_the_ending_of_its_type(client: Client) -> None:
    assert send(client, b"x", **{"Content-Type": "image/png"}).json["name"] == "upload.png"
    plain = client.http.post("/uploads", data=b"x", headers={"Content-Disposition": 'attachment; filename="a b.fgb"'})
    assert plain.json["name"] == "a b.fgb"


@pytest.mark.parametrize(
    "href", ["upload:../../etc/passwd", "upload:", "upload:sample/", "upload:sample/../x", "upload:" + "0" * 32]
)
def test_a_link_to_no_upload_is_refused(settings: Settings, tmp_path: Path, href: str) -> None:
    with pytest.raises(InputError, match=r"there is no (upload|sample)"):
        resolve(href, settings, tmp_path)


def test_a_subscriber_is_no_upload(client: Client, inputs: dict[str, Any]) -> None:
    subscriber = {"successUri": "upload:sample/scene.tif"}
    answer = client.execute("classify-objects", inputs, {"Prefer": "respond-async"}, subscriber=subscriber)
    assert answer.status_code == 403


def test_samples_are_there(settings: Settings, tmp_path: Path) -> None:
    for name in ("scene.tif", "houses.geojson"):
        assert resolve(f"upload:sample/{name}", settings, tmp_path).path.stat().st_size > 1000


class _Broken(io.BytesIO):
    """A file whose second reading fails, as on a disk that gets full."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += self.tell() == 0
        if self.reads > 1:
            raise OSError("no space")
        return super().read(size)


def test_a_file_that_cannot_be_kept_leaves_nothing(settings: Settings) -> None:
    with pytest.raises(OSError, match="no space"):
        uploads.keep_upload(settings, "a.tif", _Broken(b"x" * 100))
    assert list((Path(settings.results) / "uploads").iterdir()) == []


def test_a_large_body_is_kept_without_a_copy(settings: Settings, tmp_path: Path) -> None:
    body = RequestBody(BodyMemory(0), tmp_path, 10 * MB)
    body.append(b"x" * (5 * MB))
    opened = body.open()
    upload = uploads.keep_upload(settings, "a.tif", opened)
    kept = Path(settings.results) / "uploads" / upload.id / upload.file
    assert kept.stat().st_ino == os.fstat(opened.fileno()).st_ino
    body.close()
    assert kept.read_bytes() == b"x" * (5 * MB)
    with tempfile.TemporaryFile(dir=tmp_path, buffering=0) as other:  # one that cannot be given a name
        other.write(b"y" * 100)
        copied = uploads.keep_upload(settings, "b.tif", cast(BinaryIO, other))
    assert (kept.parents[1] / copied.id / copied.file).read_bytes() == b"y" * 100


def test_uploads_go_when_their_time_is_over(settings: Settings) -> None:
    sent = [uploads.keep_upload(settings, name, io.BytesIO(b"x")) for name in ("old.tif", "new.tif")]
    home = Path(settings.results) / "uploads"
    record = home / sent[0].id / "upload.json"
    record.write_bytes(msgspec.json.encode(msgspec.structs.replace(sent[0], expires=time.time() - 1)))
    half_sent, cut_long_ago = home / ("a" * 32), home / ("b" * 32)
    for folder in (half_sent, cut_long_ago):
        folder.mkdir()
    for folder in (record.parent, home / sent[1].id, cut_long_ago):
        os.utime(folder, (0, time.time() - 2 * 86_400))
    assert uploads.find_upload(settings, sent[0].id) is None
    assert uploads.remove_expired(settings) == 2
    assert {entry.name for entry in home.iterdir()} == {sent[1].id, half_sent.name}


class _Head:
    method, path = "POST", "/uploads"

    def __init__(self, content_length: int | None) -> None:
        self.content_length = content_length


def limit(settings: Settings, content_length: int | None = None) -> BodyLimit:
    return BodyLimit.of(cast(Any, _Head(content_length)), settings)


def test_a_file_is_refused_before_it_arrives(settings: Settings) -> None:
    one = replace(settings, limits=Limits(max_upload_mb=1, min_free_mb=1))
    assert limit(one, MB).max_bytes == MB
    with pytest.raises(LimitError, match="max_upload_mb = 1"):
        limit(one, MB + 1)
    with pytest.raises(ForbiddenError, match="max_upload_mb is 0"):
        limit(replace(settings, limits=Limits(max_upload_mb=0, min_free_mb=1)), 10)
    with pytest.raises(DiskFullError, match="behind the 1099511627776 bytes"):
        limit(replace(settings, limits=Limits(max_upload_mb=2**21, min_free_mb=1)), 2**40)
    unknown = limit(one)
    unknown.require_room(MB)
    with pytest.raises(LimitError, match="max_upload_mb = 1"):
        unknown.require_room(MB + 1)


def test_the_space_is_looked_at_while_a_file_arrives(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    arriving = limit(settings)
    arriving.require_room(20 * MB)
    full = Limits(min_free_mb=10**9)
    monkeypatch.setattr(arriving, "settings", replace(settings, limits=full))
    arriving.require_room(21 * MB)
    with pytest.raises(DiskFullError, match="min_free_mb"):
        arriving.require_room(40 * MB)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    with small_server(tmp_path) as small:
        yield small


def test_the_server_refuses_a_file_that_is_announced_too_large(small: Small) -> None:
    head = f"POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {5000 * MB}\r\nExpect: 100-continue\r\n\r\n"
    with small.connect() as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert b"max_upload_mb = 4096" in answer


def test_a_chip_of_an_upload_is_shown_until_it_is_removed(client: Client, home: Path, inputs: dict[str, Any]) -> None:
    sent = send(client, (home / "imagery" / "a.tif").read_bytes(), "a.tif")
    answer = client.execute("classify-objects", inputs | {"image": {"href": sent.json["href"]}})
    chip = answer.headers["Link"].split("<http://localhost")[1].split(">")[0] + "/objects/1/chip.png"
    assert client.http.get(chip, buffered=True).status_code == 200
    client.http.delete(sent.headers["Location"].removeprefix("http://localhost"))
    assert client.http.get(chip, buffered=True).status_code in (403, 410)
