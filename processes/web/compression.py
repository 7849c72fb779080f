"""Answers compressed with gzip, as they are sent: no answer is held whole for it.

Flask's own extensions compress what streams with other algorithms alone, which not every client knows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from flask import Response, request

_TYPES = ("application/json", "application/problem+json", "application/yaml", "text/html", "text/csv", "text/plain")
_ENDINGS = ("+json", "+json-seq")
_LEVEL = 5
_GZIP_BITS = zlib.MAX_WBITS + 16
_MIN_BYTES = 1000
"""What is smaller fits into one packet anyway."""


def compressed(response: Response) -> Response:
    """Compress a response where the client takes that and it is worth it.

    Parts of an output are sent as they are, and so is the answer to HEAD, whose length clients go by to ask for parts.
    """
    if not _is_text(response.mimetype) or response.status_code == 204:
        return response
    response.vary.add("Accept-Encoding")
    is_whole = request.method != "HEAD" and response.status_code not in (206, 304)
    is_small = response.content_length is not None and response.content_length < _MIN_BYTES
    if not is_whole or is_small or response.content_encoding or not _is_wanted():
        return response
    response.direct_passthrough = False
    response.response = _blocks(response.response)
    response.content_encoding = "gzip"
    response.headers.pop("Content-Length", None)
    etag, _ = response.get_etag()
    if etag is not None:  # the same output in other bytes
        response.set_etag(etag, weak=True)
    return response


def _is_text(media_type: str | None) -> bool:
    return media_type is not None and (media_type in _TYPES or media_type.endswith(_ENDINGS))


def _is_wanted() -> bool:
    return request.accept_encodings["gzip"] > 0 if request.accept_encodings else False


def _blocks(content: Iterable[bytes] | Iterable[str]) -> Iterator[bytes]:
    gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_BITS)
    for block in content:
        if part := gzip.compress(block.encode() if isinstance(block, str) else block):
            yield part
    yield gzip.flush()
