"""Parts of a file of a host, by requests with the header `Range`."""

from __future__ import annotations

import urllib3

from processes.errors import InputError
from processes.settings import Settings
from processes.sources.host_links import display_link
from processes.sources.host_requests import PASSING, HostRequests, passing_error
from processes.sources.hosts import PARTIAL
from processes.sources.pacing import PassingError, Tries
from processes.sources.remote_files import ContentRange, RemoteFile


class HostRanges:
    """Reads parts of a file of a host.

    Args:
        file: what is known of it.
        settings: name the allowed hosts, and the limits.
        patience_s: seconds for one part with all its tries; None = a share of the limit of sections.
    """

    def __init__(self, file: RemoteFile, settings: Settings, patience_s: float | None = None) -> None:
        self._file = file
        self._requests = HostRequests(settings, patience_s)
        self._href = file.href
        """Where the host has led: asked for first, until that fails."""

    def read(self, start: int, end: int) -> bytes:
        tries, parts = self._requests.tries(self._file.href), list[bytes]()
        while start < end:
            try:
                part = self._part(start, end, tries)
            except PassingError as err:
                tries.failed(err)
                continue
            tries.succeeded()
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._requests.close()

    def _part(self, start: int, end: int, tries: Tries) -> bytes:
        """Return bytes from `start` on, at least one: a host may answer with fewer than it is asked for."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        return self._requests.get(
            self._href, headers, tries, lambda response, href: self._content(response, href, start, end)
        )

    def _content(self, response: urllib3.BaseHTTPResponse, href: str, start: int, end: int) -> bytes:
        if response.status != PARTIAL:
            raise self._refusal(response, href)
        link, found = display_link(self._file.href), ContentRange.of(response.headers.get("Content-Range"))
        if found is None or found.start != start or found.end > end:
            raise InputError(f"{link}: the host answers with another part than it was asked for")
        self._file.require_same(found.size_bytes, *stamps_of(response))
        content = response.read(found.end - start + 1)
        if len(content) < found.end - start:
            raise PassingError("the host broke off its answer")
        if len(content) > found.end - start:
            raise InputError(f"{link}: the host answers with more than it says")
        self._href = href
        return content

    def _refusal(self, response: urllib3.BaseHTTPResponse, href: str) -> Exception:
        """Return the error of an answer that holds no part of the file."""
        is_elsewhere = href != self._file.href and response.status >= 400
        if is_elsewhere:
            self._href = self._file.href  # where it led once may have held for a while only
        if response.status in PASSING:
            return passing_error(response)
        if is_elsewhere:
            return PassingError(f"the host answers with status {response.status}", 0)
        link = display_link(self._file.href)
        if response.status in (200, 416):  # the file is there, but not as it was
            return InputError(f"{link} can no longer be read by parts, or was changed")
        return InputError(f"{link}: the host answers with status {response.status}")


def stamps_of(response: urllib3.BaseHTTPResponse) -> tuple[str | None, str | None]:
    """Return what an answer says of the file's state: `ETag`, and `Last-Modified`."""
    return response.headers.get("ETag"), response.headers.get("Last-Modified")
