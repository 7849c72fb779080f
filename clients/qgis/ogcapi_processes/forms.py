"""The forms in which a layer or file reaches a server: as a link, as an upload, within the request."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from qgis.core import QgsFeedback

from .client import Client
from .description import InputKind, ProcessInput
from .formats import GEOJSON, bare
from .problems import ServerError
from .sources import InputSource, media_type

LARGEST_IN_REQUEST: Final = 50_000_000
"""Bytes of a file that is still sent within a request."""


NO_UPLOADS: Final = (403, 404, 405, 413, 415, 501)
"""Statuses with which a server refuses a file for good."""


class Form(enum.Enum):
    """How a value reaches a server."""

    LINK = "as a link"
    UPLOAD = "as an upload"
    IN_REQUEST = "in the request"


@dataclass
class Uploads:
    """The files that a server has been sent, as long as QGIS runs."""

    addresses: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    """Address of each upload, by server, path, size and time of change."""

    def link(self, client: Client, path: Path, feedback: QgsFeedback) -> str:
        """Return the link to an upload of a file; one that the server still has is not sent again.

        Args:
            client: the server.
            path: the file.
            feedback: what breaks the upload off, and is told of it.
        """
        stat = path.stat()
        key = (client.connection.url, str(path), stat.st_size, stat.st_mtime_ns)
        known = self.addresses.get(key)
        if known is not None:
            try:
                return str(client.get(known).json()["href"])
            except (KeyError, ServerError):
                del self.addresses[key]
        feedback.pushInfo(f"Sending {path.name}, {stat.st_size / 1e6:.1f} MB …")
        reply = client.upload(path, media_type(path), feedback)
        if "location" in reply.headers:
            self.addresses[key] = urljoin(client.address("uploads"), reply.headers["location"])
        return str(reply.json()["href"])


@dataclass
class InputForms:
    """The forms that the value of one input can have for a server, and the one that is tried now."""

    given: ProcessInput
    sources: Sequence[InputSource]
    forms: list[Form]
    """The best first."""
    _made: dict[Form, Any] = field(default_factory=dict)
    """Values that were made before."""

    @property
    def has_other(self) -> bool:
        """Whether the value is a link now, and can be something else; beyond that only the form would change."""
        return self.forms[:1] == [Form.LINK] and len(self.forms) > 1

    def value(self, client: Client, uploads: Uploads, folder: Path, feedback: QgsFeedback) -> Any:
        """Return the value for a request, in the first of the forms that the server does not refuse.

        Args:
            client: the server.
            uploads: what it has been sent before.
            folder: where files are written that are sent.
            feedback: what breaks an upload off, and is told of it.

        Raises:
            ServerError: there is no form for it, or the server refuses it.
        """
        if not self.forms:
            names = ", ".join(source.name for source in self.sources)
            raise ServerError(f"{self.given.title}: there is no way to give {names} to this server")
        if self.forms[0] in self._made:
            return self._made[self.forms[0]]
        try:
            values = [self._form_of(source, client, uploads, folder, feedback) for source in self.sources]
        except ServerError as error:
            if error.status not in NO_UPLOADS or len(self.forms) == 1:
                raise
            feedback.pushInfo(f"The server takes no such file: {error}")
            del self.forms[0]
            return self.value(client, uploads, folder, feedback)
        self._made[self.forms[0]] = values if self.given.always_list or len(values) > 1 else values[0]
        return self._made[self.forms[0]]

    def _form_of(
        self, source: InputSource, client: Client, uploads: Uploads, folder: Path, feedback: QgsFeedback
    ) -> Any:
        if self.forms[0] is Form.LINK:
            return {"href": source.link}
        if self.forms[0] is Form.UPLOAD:
            return {"href": uploads.link(client, source.make_file(folder), feedback)}
        return self._in_request(source, folder)

    def _in_request(self, source: InputSource, folder: Path) -> Any:
        if source.make_geojson is not None and _takes_geojson(self.given):
            return json.loads(_small(source.make_geojson(folder)).read_bytes())
        file = _small(source.make_file(folder))
        content = base64.b64encode(file.read_bytes()).decode()
        own = media_type(file)
        accepted = [name for name in self.given.media_types if bare(name) == own] or [own]
        return {"value": content, "encoding": "base64", "mediaType": accepted[0]}


def forms_for(given: ProcessInput, sources: Sequence[InputSource], client: Client) -> InputForms:
    """Return the forms that an input's layers or files can have, the best first.

    Args:
        given: the input.
        sources: what a person has chosen, at least one.
        client: the server.
    """
    forms = []
    if given.takes_link and all(_is_for(source.link, client.connection.url) for source in sources):
        forms.append(Form.LINK)
    if given.takes_link and client.takes_uploads():
        forms.append(Form.UPLOAD)
    if _takes_geojson(given) or given.kind is not InputKind.VECTOR or not given.takes_link:
        forms.append(Form.IN_REQUEST)
    return InputForms(given, sources, forms)


def _is_for(link: str | None, server: str) -> bool:
    """Say whether a server may be able to read a link: a file's only where the server is on this machine."""
    is_here = urlsplit(server).hostname in ("127.0.0.1", "localhost", "::1")
    return link is not None and (is_here or not link.startswith("file:"))


def _takes_geojson(given: ProcessInput) -> bool:
    return any(bare(name) in GEOJSON for name in given.media_types)


def _small(path: Path) -> Path:
    size = path.stat().st_size
    if size > LARGEST_IN_REQUEST:
        raise ServerError(
            f"{path.name} has {size / 1e6:.0f} MB, too much for a request, and this server takes no files"
        )
    return path
