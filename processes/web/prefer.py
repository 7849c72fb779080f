"""The `Prefer` header of RFC 7240."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from werkzeug.http import parse_list_header

_MAX_WAIT_S = 24 * 3600
_RETURNS = ("minimal", "representation")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client prefers of what this service can do."""

    respond_async: bool
    wait_s: int | None
    """So long the client would wait for a result, in whole seconds; None = it says nothing of that."""
    returns: Literal["minimal", "representation"] | None
    """Whether a link to a result will do, or the result itself is wanted; None = it says nothing of that."""

    @classmethod
    def parse(cls, headers: Iterable[str]) -> Preferences:
        """Read the values of all `Prefer` headers of a request.

        They are lists of tokens, without case, whose parameters are ignored. Of a preference that is given twice the
        first counts, and what is not understood is ignored.
        """
        given: dict[str, str] = {}
        for header in headers:
            for item in parse_list_header(header):
                name, _, value = item.split(";")[0].partition("=")
                given.setdefault(name.strip().lower(), value.strip().strip('"'))
        wait = given.get("wait", "")
        wait_s = min(int(wait[:9]), _MAX_WAIT_S) if wait.isascii() and wait.isdecimal() else None
        returns = given.get("return", "").lower()
        return cls("respond-async" in given, wait_s, cast(Any, returns) if returns in _RETURNS else None)
