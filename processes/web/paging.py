"""Pages of a list: `limit`, `offset`, and the links between pages."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from flask import request

from processes.errors import Fault, InputError
from processes.ogc.schema import quoted
from processes.sources.media_types import HTML, JSON

JSON_FORM, HTML_FORM = "json", "html"
"""Forms that a page can have, as the parameter `f` names them."""

_MEDIA_TYPES = {JSON_FORM: JSON, HTML_FORM: HTML}
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 10_000
_MAX_OFFSET = 2**31 - 1
_MAX_DIGITS = 4000
"""Python does not parse longer numbers."""


class ListPage(msgspec.Struct, frozen=True):
    """The part of a list that the request names."""

    limit: int
    """Largest number of entries."""
    offset: int
    """Number of entries before the page."""

    @classmethod
    def read(cls, faults: list[Fault]) -> ListPage:
        """Read the request's parameters, and add what is wrong with them to `faults`."""
        limit = min(_number("limit", faults, _DEFAULT_LIMIT, 1), _MAX_LIMIT)
        return cls(limit, min(_number("offset", faults, 0, 0), _MAX_OFFSET))

    def links(
        self, url: str, has_more: bool, form: str = JSON_FORM, json_type: str = JSON, shown: int | None = None
    ) -> list[dict[str, str]]:
        """Return the links of a page of this list, with the request's other parameters.

        Args:
            url: URL of the list.
            has_more: whether another page follows.
            form: form of this page, and of the pages before and after it.
            json_type: media type of the list as JSON.
            shown: number of entries of this page where another one follows; None = as many as it may have.
        """
        media_types = {**_MEDIA_TYPES, JSON_FORM: json_type}

        def link(rel: str, offset: int, title: str) -> dict[str, str]:
            address = _address(url, offset, request.args.get("f"))
            return {"href": address, "rel": rel, "type": media_types[form], "title": title}

        other, title = (HTML_FORM, "As a web page") if form == JSON_FORM else (JSON_FORM, "As JSON")
        address = _address(url, self.offset, other)
        links = [
            link("self", self.offset, "This page"),
            {"href": address, "rel": "alternate", "type": media_types[other], "title": title},
        ]
        if has_more:
            links.append(link("next", self.offset + (self.limit if shown is None else shown), "Next page"))
        if self.offset:
            links.append(link("prev", max(0, self.offset - self.limit), "Page before"))
        return links


def _number(name: str, faults: list[Fault], default: int, minimum: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) >= minimum):
        faults.append(
            Fault(f"/{name}", InputError(f"{name} is {quoted(text)}, not a whole number of {minimum} or more"))
        )
        return default
    return int(text)


def _address(url: str, offset: int, form: str | None) -> str:
    other_parameters = [(name, value) for name, value in request.args.items(multi=True) if name not in ("offset", "f")]
    position = [("offset", str(offset))] if offset else []
    query = urlencode([*other_parameters, *position, *([("f", form)] if form is not None else [])])
    return f"{url}?{query}" if query else url
