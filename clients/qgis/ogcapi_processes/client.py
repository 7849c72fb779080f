"""Requests to a server, by QGIS's own network: its proxy, its authentication, its time-outs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from qgis.core import QgsApplication, QgsBlockingNetworkRequest, QgsFeedback, QgsNetworkAccessManager
from qgis.PyQt.QtCore import QEventLoop, QFile, QIODevice, QUrl
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest

from .connections import Connection
from .description import ProcessDescription, read_page, read_process
from .problems import ServerError, read_problem

STATUS: Final = QNetworkRequest.Attribute.HttpStatusCodeAttribute
ACCEPT: Final = "application/json, */*;q=0.5"
"""Some servers answer with a page where JSON is not preferred."""


@dataclass(frozen=True)
class Reply:
    """An answer that is no error."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def media_type(self) -> str:
        """Media type of the body; empty = not stated."""
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ServerError: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ServerError("The server's answer is no JSON", self.status) from error


class Client:
    """One server. Every method raises a `ServerError` for what is no result."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def processes(self, tell: Callable[[str], Any]) -> list[ProcessDescription]:
        """Return the server's processes, all pages of them.

        Args:
            tell: is told of each process that is left out, as its description is an error or cannot be understood.
        """
        found, address, asked = [], self.address("processes"), set()
        while address not in asked:
            asked.add(address)
            reply = self.get(address)
            try:
                ids, following = read_page(reply.json())
            except ValueError as error:
                raise ServerError("The server's list of processes cannot be understood", reply.status) from error
            for process_id in ids:
                if process_id is None:
                    tell("a process without an id is left out")
                else:
                    found += self._understood(process_id, tell)
            address = urljoin(address, following) if ids else address
        return found

    def process(self, process_id: str) -> ProcessDescription:
        """Return a process."""
        reply = self.get(self.address("processes", process_id))
        try:
            return read_process(reply.json())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServerError("its description cannot be understood", reply.status) from error

    def _understood(self, process_id: str, tell: Callable[[str], Any]) -> list[ProcessDescription]:
        try:
            return [self.process(process_id)]
        except ServerError as error:
            if error.status == 0:  # nor would it answer about the others
                raise
            tell(f"{process_id} is left out: {error}")
            return []

    def address(self, *steps: str) -> str:
        """Return the address of something below the server's own, which its links may not know."""
        return "/".join([self.connection.url, *(quote(step, safe="") for step in steps)])

    def get(self, address: str, feedback: QgsFeedback | None = None) -> Reply:
        """Return what is at an address.

        Args:
            address: with its host.
            feedback: what breaks the request off; None = nothing does.
        """
        call = self._call(address)
        call.get(self._request(address), True, feedback)
        return _answer(call)

    def post(self, address: str, body: bytes, headers: Mapping[str, str], feedback: QgsFeedback | None = None) -> Reply:
        """Send something, and return the answer.

        Args:
            address: with its host.
            body: what is sent.
            headers: among them the body's `Content-Type`.
            feedback: what breaks the request off; None = nothing does.
        """
        call = self._call(address)
        call.post(self._request(address, headers), body, True, feedback)
        return _answer(call)

    def delete(self, address: str) -> Reply:
        """Delete what is at an address."""
        call = self._call(address)
        call.deleteResource(self._request(address))
        return _answer(call)

    def takes_uploads(self) -> bool:
        """Return whether the server takes files, as this project's service does."""
        call = self._call(self.address("uploads"))
        call.head(self._request(self.address("uploads")), True)
        return int(call.reply().attribute(STATUS) or 0) not in (0, 404, 501)

    def upload(self, path: Path, media_type: str, feedback: QgsFeedback) -> Reply:
        """Send a file, which is read as it is sent.

        Args:
            path: the file.
            media_type: what it is.
            feedback: what breaks the upload off, and is told of its progress.
        """
        file = QFile(str(path))
        if not file.open(QIODevice.OpenModeFlag.ReadOnly):
            raise ServerError(f"{path.name} cannot be read")
        name = quote(path.name)
        headers = {"Content-Type": media_type, "Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        call = self._call(self.address("uploads"))
        call.uploadProgress.connect(lambda sent, size: feedback.setProgress(100 * sent / size if size > 0 else 0))
        call.post(self._request(self.address("uploads"), headers), file, True, feedback)
        file.close()
        return _answer(call)

    def download(self, address: str, path: Path, feedback: QgsFeedback) -> Reply:
        """Write what is at an address to a file as it comes; the answer's body is empty.

        Args:
            address: with its host.
            path: the file.
            feedback: what breaks the download off.
        """
        if urlsplit(address).scheme not in ("http", "https"):
            raise ServerError(f"The server links to {address}, which is no address of a host")
        request = self._request(address)
        if self._is_own(address) and self.connection.authcfg:
            QgsApplication.authManager().updateNetworkRequest(request, self.connection.authcfg)
        reply, loop = QgsNetworkAccessManager.instance().get(request), QEventLoop()
        with path.open("wb") as file:
            reply.readyRead.connect(lambda: file.write(bytes(reply.readAll())))
            reply.finished.connect(loop.quit)
            feedback.canceled.connect(reply.abort)
            if not reply.isFinished():
                loop.exec()
            file.write(bytes(reply.readAll()))
        feedback.canceled.disconnect(reply.abort)
        status = int(reply.attribute(STATUS) or 0)
        if reply.error() != QNetworkReply.NetworkError.NoError:
            raise read_problem(status, path.read_bytes()) if status else ServerError(reply.errorString())
        return Reply(status, _headers(reply), b"")

    def _call(self, address: str) -> QgsBlockingNetworkRequest:
        call = QgsBlockingNetworkRequest()
        if self._is_own(address):  # what the server links to elsewhere learns no secret
            call.setAuthCfg(self.connection.authcfg)
        return call

    def _is_own(self, address: str) -> bool:
        return urlsplit(address)[:2] == urlsplit(self.connection.url)[:2]

    def _request(self, address: str, headers: Mapping[str, str] | None = None) -> QNetworkRequest:
        request = QNetworkRequest(QUrl(address))
        has_secret = self._is_own(address) and bool(self.connection.authcfg)
        policies = QNetworkRequest.RedirectPolicy
        policy = policies.SameOriginRedirectPolicy if has_secret else policies.NoLessSafeRedirectPolicy
        request.setAttribute(QNetworkRequest.Attribute.RedirectPolicyAttribute, policy)
        usual = {"Accept": ACCEPT, "Accept-Language": QgsApplication.locale() or "en"}
        for name, value in {**usual, **(headers or {})}.items():
            request.setRawHeader(name.encode(), value.encode())
        return request


def _answer(call: QgsBlockingNetworkRequest) -> Reply:
    reply = call.reply()
    status, body = int(reply.attribute(STATUS) or 0), bytes(reply.content())
    if status == 0:
        raise ServerError(call.errorMessage() or "The server does not answer")
    if status >= 400:
        raise read_problem(status, body)
    return Reply(status, _headers(reply), body)


def _headers(reply: Any) -> Mapping[str, str]:
    return {
        bytes(name).decode("latin-1").lower(): bytes(reply.rawHeader(name)).decode("latin-1")
        for name in reply.rawHeaderList()
    }
