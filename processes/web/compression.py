"""Responses compressed with gzip while they are sent; no response is held whole.

Flask's extensions compress streams only with other algorithms, which not every client knows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from flask import Response, request

from processes.sources.media_types import HTML, JSON, PROBLEM_JSON

_TYPES = (
    *(JSON, PROBLEM_JSON, HTML, "application/yaml", "text/csv", "text/plain", "text/css", "text/javascript"),
    "application/vnd.mapbox-vector-tile",
)
_ENDINGS = ("+json", "+json-seq")
_LEVEL = 5
_GZIP_BITS = zlib.MAX_WBITS + 16
_MIN_BYTES = 1000
"""A smaller response fits into one packet anyway."""


def compress(response: Response) -> Response:
    """Compress a response if the client accepts that and it is worth it.

    Parts of an output are sent as they are. So is the response to HEAD: clients use its length to request parts.
    """
    if not _is_text(response.mimetype) or response.status_code == 204:
        return response
    response.vary.add("Accept-Encoding")
    is_whole = request.method != "HEAD" and response.status_code not in (206, 304)
    is_small = response.content_length is not None and response.content_length < _MIN_BYTES
    if not is_whole or is_small or response.content_encoding or not _is_accepted():
        return response
    response.direct_passthrough = False
    if hasattr(response.response, "close"):
        response.call_on_close(response.response.close)
    response.response = _blocks(response.response)
    response.content_encoding = "gzip"
    response.headers.pop("Content-Length", None)
    etag, _ = response.get_etag()
    if etag is not None:  # the same output in other bytes
        response.set_etag(etag, weak=True)
    return response


def _is_text(media_type: str | None) -> bool:
    return media_type is not None and (media_type in _TYPES or media_type.endswith(_ENDINGS))


def _is_accepted() -> bool:
    return request.accept_encodings["gzip"] > 0 if request.accept_encodings else False


def _blocks(content: Iterable[bytes] | Iterable[str]) -> Iterator[bytes]:
    gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_BITS)
    for block in content:
        if part := gzip.compress(block.encode() if isinstance(block, str) else block):
            yield part
    yield gzip.flush()
