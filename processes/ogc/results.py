"""OGC's results document: outputs keyed by their ids, written as a stream.

The media type decides how an output stands in it: JSON as it is; `text/*` and JSON text sequences (`*+json-seq`),
all in UTF-8, as a string; anything else as base64. Plain text and JSON values that are no objects stand there without
their media type, everything else is a qualified value with it.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import msgspec

from processes.sources.media_types import plain_media_type

_BLOCK_BYTES = 3 * 2**18  # a multiple of 3, so that the base64 of blocks can be joined


def blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's content, and close it."""
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def results_document(output: str, media_type: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the document of one output by value, without holding it whole.

    Args:
        output: id of the output.
        media_type: of the content.
        blocks: the content; all but the last are of a length that is a multiple of 3.
    """
    name, media_type_text = msgspec.json.encode(output), msgspec.json.encode(media_type)
    media_type = plain_media_type(media_type)
    first = next(blocks, b"")
    blocks = chain([first], blocks)
    if media_type == "text/plain":
        yield b"{%s: %s}" % (name, msgspec.json.encode(b"".join(blocks).decode()))
    elif media_type.startswith("text/") or media_type.endswith("+json-seq"):
        yield b'{%s: {"value": "' % name
        yield from _json_texts(blocks)
        yield b'", "mediaType": %s}}' % media_type_text
    elif not media_type.endswith("json"):
        yield b'{%s: {"value": "' % name
        yield from (base64.b64encode(block) for block in blocks)
        yield b'", "encoding": "base64", "mediaType": %s}}' % media_type_text
    elif first.lstrip()[:1] == b"{":
        yield b'{%s: {"value": ' % name
        yield from blocks
        yield b', "mediaType": %s}}' % media_type_text
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
