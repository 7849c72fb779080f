"""A request as gunicorn's incremental parser reads it, in the form that gunicorn's WSGI side understands."""

from __future__ import annotations

from typing import Any, Self

from gunicorn.asgi.parser import CallbackRequest
from gunicorn.http.errors import ExpectationFailed, InvalidRequestLine
from gunicorn.util import split_request_uri


class HttpRequest(CallbackRequest):  # type: ignore[misc] # gunicorn is not typed
    """The head of a request, checked."""

    body: Any = None
    """Where the application reads the body."""
    _expected_100_continue = False
    """gunicorn's WSGI side would announce it; the connection has done so, before the body arrived."""

    @classmethod
    def from_parser(cls, parser: Any, is_ssl: bool = False) -> Self:
        """Return the request whose head a parser has read.

        Args:
            parser: gunicorn's parser.
            is_ssl: whether the connection is encrypted.

        Raises:
            ParseException: the head is not one that this server understands.
        """
        request: Self = super().from_parser(parser, is_ssl)
        try:
            parts = split_request_uri(request.uri)
        except ValueError as err:
            raise InvalidRequestLine(request.uri) from err
        request.path, request.query = parts.path or "", parts.query or ""
        # a name with an underscore would look like that of another header to the application
        request.headers_bytes = [item for item in request.headers_bytes if b"_" not in item[0]]
        request.headers = [
            (name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in request.headers_bytes
        ]
        expectations = [value.lower() for name, value in request.headers_bytes if name == b"expect"]
        if request.version >= (1, 1) and any(value != b"100-continue" for value in expectations):
            raise ExpectationFailed(request.uri)
        return request

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head."""
        return bool(self.chunked or self.content_length)

    @property
    def awaits_continue(self) -> bool:
        """Whether the client waits until it is told to send the body."""
        return bool(self._expect_100_continue) and self.has_body
