"""Links: the policy, and the files behind them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from processes.errors import ForbiddenError, InputError, LimitError
from processes.settings import Settings
from processes.sources import links
from processes.sources.addresses import Address
from processes.sources.download_budget import DownloadBudget
from processes.sources.folder_budget import FolderBudget
from tables import each_row


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/there"):
            self._answer(200, {"Content-Length": "5"}, b"12345")
        elif self.path == "/redirect":
            self._answer(302, {"Location": "/there.tif"}, b"")
        elif self.path == "/elsewhere":
            self._answer(302, {"Location": "http://example.org/a.tif"}, b"")
        elif self.path == "/other-port":
            self._answer(302, {"Location": "http://127.0.0.1:1/a.tif"}, b"")
        elif self.path.startswith("/half"):
            self._answer(200, {"Content-Length": str(2**19)}, b"x" * 2**19)
        elif self.path == "/to-a-file":
            self._answer(302, {"Location": "file:///etc/passwd"}, b"")
        elif self.path == "/loop":
            self._answer(302, {"Location": "/loop"}, b"")
        elif self.path == "/short":
            self._answer(200, {"Content-Length": "50"}, b"12345")
        elif self.path == "/large":
            self._answer(200, {"Content-Length": str(2**21)}, b"x" * 2**21)
        else:
            self._answer(404, {}, b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _authority(url: str) -> str:
    return urlsplit(url).netloc


def _settings(folder: Path, hosts: str) -> Settings:
    return Settings.from_plugin({"hosts": hosts, "imagery": "imagery", "limits": {"max_download_mb": 1}}, folder)


def test_a_file_of_an_allowed_host_is_fetched(host: str, tmp_path: Path) -> None:
    for path in ("/there.tif?a=b#layer=x", "/redirect"):
        folder = tmp_path / path.strip("/").split(".")[0]
        folder.mkdir()
        file = links.resolve(host + path, _settings(tmp_path, _authority(host)), folder)
        assert file.path.read_bytes() == b"12345"
    file = links.resolve(host + "/there.tif#layer=x", _settings(tmp_path, _authority(host)), tmp_path)
    assert file.fragment == "layer=x"


@pytest.mark.parametrize(
    ("path", "hosts", "error", "words"),
    [
        ("/there.tif", "example.org", ForbiddenError, "does not allow links to the host '127.0.0.1'"),
        ("/there.tif", "127.0.0.1", ForbiddenError, "of the host '127.0.0.1', only to 80, 443"),
        ("/there.tif", "127.0.0.1:81,127.0.0.1", ForbiddenError, "of the host '127.0.0.1', only to 80, 81, 443"),
        ("/there.tif", "*.0.0.1:{port}", ForbiddenError, "private address"),
        ("/elsewhere", "127.0.0.1:{port}", ForbiddenError, "example.org"),
        ("/other-port", "127.0.0.1:{port}", ForbiddenError, "port 1 of the host '127.0.0.1'"),
        ("/to-a-file", "127.0.0.1:{port}", ForbiddenError, "scheme 'file'"),
        ("/loop", "127.0.0.1:{port}", InputError, "redirects more than"),
        ("/nothing", "127.0.0.1:{port}", InputError, "status 404"),
        ("/short", "127.0.0.1:{port}", InputError, "broke off"),
        ("/large", "127.0.0.1:{port}", LimitError, "max_download_mb = 1"),
    ],
)
def test_what_is_not_allowed_or_not_there(
    host: str, tmp_path: Path, path: str, hosts: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        links.resolve(host + path, _settings(tmp_path, hosts.format(port=urlsplit(host).port)), tmp_path)


def test_downloads_of_one_request_share_their_bytes(host: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path, _authority(host))
    budget = DownloadBudget.of(settings)
    for number in range(2):  # the same link twice would be one download
        links.resolve(f"{host}/half?{number}", settings, tmp_path, budget=budget)
    with pytest.raises(LimitError, match="max_download_mb = 1"):
        links.resolve(host + "/there.tif", settings, tmp_path, budget=budget)


def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not answer"):
        links.resolve("http://127.0.0.1:1/a.tif", _settings(tmp_path, "127.0.0.1:1"), tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "192.88.99.1",
        "::1",
        "fe80::1%eth0",
        "2606:4700::1111%eth0",
        "fec0::1",
        "ff0e::1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::7f00:1",
        "::808:808",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "2002:808:808::1",
        "2001:0:808:808::1",
        "3fff::1",
        "5f00::1",
    ],
)
def test_a_name_that_resolves_to_a_private_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (address, 0))])
    with pytest.raises(ForbiddenError, match="private address"):
        links.resolve("http://images.example.org/a", _settings(tmp_path, "*.example.org"), tmp_path)


@each_row("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    assert not Address(0, (address, 80)).is_private


def test_a_zone_makes_an_address_private() -> None:
    assert Address(0, ("2606:4700::1111", 80, 0, 1)).is_private


def test_user_and_password_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ForbiddenError) as caught:
        links.resolve("http://user:secret@example.org/a.tif?token=secret", _settings(tmp_path, ""), tmp_path)
    assert "secret" not in str(caught.value)


def _list(folder: Path, base: Path, *endings: str) -> list[links.LinkedFile]:
    settings = _settings(base, "")
    return links.list_folder(folder.as_uri() + "/", settings, endings, FolderBudget.of(settings))


def test_a_folder_gives_its_images_by_code_point(tmp_path: Path) -> None:
    folder = tmp_path / "imagery"
    folder.mkdir()
    for name in ("b.tif", "a.TIF", "Z.png", "a.tif.msk", "a.tif.ovr", "a.tif.aux.xml", "notes.txt", "ä.jp2"):
        (folder / name).write_bytes(b"")
    (folder / "deeper.tif").mkdir()
    files = _list(folder, tmp_path, ".tif", ".png", ".jp2")
    assert [file.name for file in files] == ["Z.png", "a.TIF", "b.tif", "ä.jp2"]
    (folder / "c.tif").symlink_to(folder / "b.tif")
    (folder / "out.tif").symlink_to(tmp_path / "outside.tif")
    (tmp_path / "outside.tif").write_bytes(b"")
    files = _list(folder, tmp_path, ".tif")
    assert [file.name for file in files] == ["a.TIF", "b.tif", "c.tif"], "by its own name, and none from outside"
    empty = tmp_path / "imagery" / "deeper.tif"
    with pytest.raises(InputError, match="holds no images"):
        _list(empty, tmp_path, ".tif")
    with pytest.raises(InputError, match="there is no folder"):
        _list(folder / "none", tmp_path, ".tif")


@each_row(("files", "limit", "words"), [(4, 3, "those before them in the request"), (200, 3, "over 60 files")])
def test_no_more_of_a_folder_is_read_than_the_limit_needs(tmp_path: Path, files: int, limit: int, words: str) -> None:
    folder = tmp_path / "imagery"
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}.{'tif' if files == 4 else 'txt'}").touch()
    settings = Settings.from_plugin({"imagery": "imagery", "limits": {"max_images": limit}}, tmp_path)
    budget = FolderBudget.of(settings)
    with pytest.raises(LimitError, match=rf"{words}.* max_images = {limit}"):
        links.list_folder(folder.as_uri() + "/", settings, (".tif",), budget)
    assert budget.is_spent
    (folder / "0.tif").touch()
    with pytest.raises(LimitError, match=f"max_images = {limit}"):  # one budget for all folders of a request
        links.list_folder(folder.as_uri() + "/", settings, (".tif",), budget)
