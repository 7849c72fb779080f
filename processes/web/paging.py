"""Pages of a list: `limit`, `offset`, and the links from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import request

from processes.errors import Fault, InputError
from processes.ogc.schema import quoted

JSON, HTML = "json", "html"
"""Forms that a page can have, as the parameter `f` names them."""

_MEDIA_TYPES = {JSON: "application/json", HTML: "text/html"}
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 10_000
_MAX_OFFSET = 2**31 - 1
_MAX_DIGITS = 4000
"""Python reads no longer numbers."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """The part of a list that the request wants."""

    limit: int
    offset: int

    @classmethod
    def read(cls, faults: list[Fault]) -> ListPage:
        """Read the request's parameters; what is wrong with them is added to `faults`."""
        limit = min(_number("limit", faults, _DEFAULT_LIMIT, 1), _MAX_LIMIT)
        return cls(limit, min(_number("offset", faults, 0, 0), _MAX_OFFSET))

    def links(self, url: str, has_more: bool, form: str = JSON) -> list[dict[str, str]]:
        """Return the links of a page of this list, with the request's other parameters.

        Args:
            url: of the list.
            has_more: whether another page follows.
            form: of this page, and of those before and after it.
        """

        def link(rel: str, offset: int, title: str) -> dict[str, str]:
            address = _address(url, offset, request.args.get("f"))
            return {"href": address, "rel": rel, "type": _MEDIA_TYPES[form], "title": title}

        other, title = (HTML, "As a web page") if form == JSON else (JSON, "As JSON")
        address = _address(url, self.offset, other)
        links = [
            link("self", self.offset, "This page"),
            {"href": address, "rel": "alternate", "type": _MEDIA_TYPES[other], "title": title},
        ]
        if has_more:
            links.append(link("next", self.offset + self.limit, "Next page"))
        if self.offset:
            links.append(link("prev", max(0, self.offset - self.limit), "ListPage before"))
        return links


def _number(name: str, faults: list[Fault], default: int, least: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) >= least):
        faults.append(Fault(f"/{name}", InputError(f"{name} is {quoted(text)}, not a whole number of {least} or more")))
        return default
    return int(text)


def _address(url: str, offset: int, form: str | None) -> str:
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in ("offset", "f")]
    places = [("offset", str(offset))] if offset else []
    query = urlencode([*kept, *places, *([("f", form)] if form is not None else [])])
    return f"{url}?{query}" if query else url
