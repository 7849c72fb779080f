"""The `Prefer` header of RFC 7240."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from werkzeug.http import parse_list_header


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client prefers of what this service can do."""

    respond_async: bool

    @classmethod
    def parse(cls, headers: Iterable[str]) -> Preferences:
        """Read the values of all `Prefer` headers of a request: lists of tokens, without case, parameters ignored."""
        tokens = [
            item.split(";")[0].split("=")[0].strip().lower() for header in headers for item in parse_list_header(header)
        ]
        return cls(respond_async="respond-async" in tokens)
