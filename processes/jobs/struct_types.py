"""The types of msgspec, made ready before there are threads.

msgspec 0.22 looks at a Struct's fields when it is decoded first, and lets other threads run meanwhile: one that decodes
the same type then finds it half known, and the process ends with a segmentation fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec


def prepare_struct_types() -> None:
    """Let msgspec look at all types of Struct that are imported, while nobody decodes them."""
    for kind in _kinds(msgspec.Struct):
        with contextlib.suppress(TypeError, NameError):  # what cannot be decoded is not
            msgspec.json.Decoder(kind)
            msgspec.msgpack.Decoder(kind)


def _kinds(parent: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in parent.__subclasses__():
        yield child
        yield from _kinds(child)
