"""The `Prefer` header of RFC 7240."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import msgspec
from werkzeug.http import parse_list_header

_MAX_WAIT_S = 24 * 3600
_RETURNS = ("minimal", "representation")


class Preferences(msgspec.Struct, frozen=True):
    """The preferences of a client that this service knows."""

    respond_async: bool
    wait_s: int | None
    """Seconds that the client would wait for a result; None = it does not say."""
    returns: Literal["minimal", "representation"] | None
    """minimal = a link to the result is enough, representation = the result itself; None = the client does not say."""

    @classmethod
    def parse(cls, headers: Iterable[str]) -> Preferences:
        """Read the values of all `Prefer` headers of a request.

        They are lists of tokens, without case; parameters of a token are ignored. If a preference is repeated the first
        counts. Unknown preferences are ignored.
        """
        tokens: dict[str, str] = {}
        for header in headers:
            for item in parse_list_header(header):
                name, _, value = item.split(";")[0].partition("=")
                tokens.setdefault(name.strip().lower(), value.strip().strip('"'))
        wait = tokens.get("wait", "")
        wait_s = min(int(wait[:9]), _MAX_WAIT_S) if wait.isascii() and wait.isdecimal() else None
        returns = tokens.get("return", "").lower()
        return cls("respond-async" in tokens, wait_s, cast(Any, returns) if returns in _RETURNS else None)
