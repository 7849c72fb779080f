"""A complete request and its response. Threads work on it in steps, and only while the client takes the response."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from gunicorn.config import Config
from gunicorn.http.wsgi import Response, create

from processes.errors import UnavailableError
from processes.web.http.body import RequestBody
from processes.web.http.refusal import refusal
from processes.web.http.request import HttpRequest

_STEP_BYTES = 2**17
"""A step ends when so many bytes are ready to be sent."""

Application = Callable[[Mapping[str, Any], Callable[..., Any]], Any]
"""A WSGI application."""


class ResponsePart(msgspec.Struct, frozen=True):
    """What a step has made."""

    content: bytes
    """Bytes of the response."""
    has_ended: bool
    """Whether they are the last ones."""
    keeps_alive: bool
    """Whether the connection is used for another request afterwards."""
    is_broken: bool = False
    """Whether the response cannot be completed."""


class _Outbox:
    """What gunicorn's response takes for a socket."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.size_bytes = 0

    def sendall(self, block: bytes) -> None:
        self.blocks.append(block)
        self.size_bytes += len(block)

    def take(self) -> bytes:
        content = b"".join(self.blocks)
        self.blocks, self.size_bytes = [], 0
        return content


class Exchange:
    """A request and its response. One thread at a time works on it.

    Args:
        application: the WSGI application.
        configuration: gunicorn's.
        request: the head of the request.
        body: its body, complete; closed at the end.
        addresses: addresses of the client and of the server.
        must_close: returns whether the connection has to end with this response.
    """

    def __init__(
        self,
        application: Application,
        configuration: Config,
        request: HttpRequest,
        body: RequestBody,
        addresses: tuple[Any, Any],
        must_close: Callable[[], bool],
    ) -> None:
        self._application = application
        self._configuration = configuration
        self._request = request
        self._body = body
        self._addresses = addresses
        self._must_close = must_close
        self._outbox = _Outbox()
        self._response: Response | None = None
        self._content: Any = None
        self._blocks: Iterator[bytes] = iter(())

    def step(self) -> ResponsePart:
        """Make the next part of the response."""
        try:
            if self._response is None:
                self._response = self._begin()
            while self._outbox.size_bytes < _STEP_BYTES:
                block = next(self._blocks, None)
                if block is None:
                    return self._end(self._response)
                self._response.write(block)
        except Exception as err:  # noqa: BLE001 - whatever it is, the client is told
            return self._fail(err)
        return ResponsePart(self._outbox.take(), has_ended=False, keeps_alive=True)

    def close(self) -> None:
        """Drop what is left; nobody waits for it."""
        with contextlib.suppress(Exception):
            self._close()

    def _begin(self) -> Any:
        try:
            self._request.body = self._body.open()
        except OSError as err:
            raise UnavailableError("the server has no room for the request's body; try again later") from err
        response, environ = create(self._request, self._outbox, *self._addresses, self._configuration)
        environ["wsgi.multithread"] = True
        if self._request.chunked:  # the application need not know in which pieces it came
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["CONTENT_LENGTH"] = str(self._body.size_bytes)
        if self._must_close():
            response.force_close()
        self._content = self._application(environ, response.start_response)
        self._blocks = iter(self._content)
        return response

    def _end(self, response: Any) -> ResponsePart:
        response.close()
        self._close()
        is_short = response.response_length is not None and response.sent < response.response_length
        has_content = self._request.method != "HEAD" and response.status_code != HTTPStatus.NOT_MODIFIED
        return ResponsePart(self._outbox.take(), True, not response.should_close(), is_broken=is_short and has_content)

    def _fail(self, error: Exception) -> ResponsePart:
        self.close()
        is_begun = self._response is not None and self._response.headers_sent
        content = refusal(error, self._request.path)  # logs the error too
        return ResponsePart(b"" if is_begun else content, has_ended=True, keeps_alive=False, is_broken=is_begun)

    def _close(self) -> None:
        try:
            if hasattr(self._content, "close"):
                self._content.close()
        finally:
            self._content, self._blocks = None, iter(())
            self._body.close()
