"""What a server says is wrong with a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class InputFault:
    """One thing that is wrong with a request."""

    detail: str
    """What is wrong, in the server's words."""
    input_id: str | None
    """The input that it is about; None = the request as a whole."""


class ServerError(Exception):
    """An answer of a server that is no result, or none at all.

    Attributes:
        status: HTTP status; 0 where there was no answer.
        faults: what is wrong with the request, as far as the server says where.
    """

    def __init__(self, message: str, status: int = 0, faults: tuple[InputFault, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.faults = faults


def read_problem(status: int, body: bytes) -> ServerError:
    """Return the error that an answer tells of.

    Args:
        status: HTTP status of the answer.
        body: the answer; a problem document (RFC 7807), with `errors` as some servers write it, or anything.
    """
    document = _parsed(body)
    if document is None:
        return ServerError(f"The server answered with status {status}", status)
    words = [document.get(name) for name in ("detail", "description", "title", "type")]
    message = next(
        (word for word in words if isinstance(word, str) and word), f"The server answered with status {status}"
    )
    errors = document.get("errors")
    entries = [entry for entry in errors if isinstance(entry, Mapping)] if isinstance(errors, list) else []
    return ServerError(message, status, tuple(_fault(entry) for entry in entries))


def _fault(entry: Mapping[str, Any]) -> InputFault:
    detail = entry.get("detail") or entry.get("title") or entry.get("message") or "not accepted"
    return InputFault(str(detail), input_of(str(entry.get("pointer", ""))))


def input_of(pointer: str) -> str | None:
    """Return the id of the input that a JSON pointer (RFC 6901) leads to or into, or None."""
    steps = pointer.lstrip("#").split("/")
    if len(steps) < 3 or steps[:2] != ["", "inputs"]:
        return None
    return steps[2].replace("~1", "/").replace("~0", "~")


def _parsed(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, Mapping) else None
