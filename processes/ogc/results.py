"""OGC's results document: outputs keyed by their ids, written as a stream."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import msgspec

_TEXTS = ("text/csv", "application/geo+json-seq")
_BLOCK_BYTES = 3 * 2**18  # a multiple of 3, so that blocks of base64 can be put together


def blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's content, and close it."""
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def results_document(output: str, media_type: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the document of one output by value, without holding it whole.

    Args:
        output: its id.
        media_type: what it is.
        blocks: its content; all but the last are of a length that is a multiple of 3.
    """
    name, kind = msgspec.json.encode(output), msgspec.json.encode(media_type)
    first = next(blocks, b"")
    blocks = chain([first], blocks)
    if media_type == "text/plain":
        yield b"{%s: %s}" % (name, msgspec.json.encode(b"".join(blocks).decode()))
    elif media_type in _TEXTS:
        yield b'{%s: {"value": "' % name
        yield from _json_texts(blocks)
        yield b'", "mediaType": %s}}' % kind
    elif not media_type.endswith("json"):
        yield b'{%s: {"value": "' % name
        yield from (base64.b64encode(block) for block in blocks)
        yield b'", "encoding": "base64", "mediaType": %s}}' % kind
    elif first.lstrip()[:1] == b"{":
        yield b'{%s: {"value": ' % name
        yield from blocks
        yield b', "mediaType": %s}}' % kind
    else:  # a JSON value that is no object stands for itself
        yield b"{%s: " % name
        yield from blocks
        yield b"}"


def _json_texts(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks of UTF-8, which may end within a character, as parts of one JSON string."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in blocks:
        yield msgspec.json.encode(decoder.decode(block))[1:-1]
    decoder.decode(b"", final=True)
