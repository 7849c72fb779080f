"""Web pages of collections and their features."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Response
from pygeoapi.api import API
from pygeoapi.util import DATETIME_FORMAT, render_j2_template

_TEMPLATES = {"path": str(Path(__file__).with_name("templates"))}
_MAX_TEXT = 200


def collections_page(api: API, document: Mapping[str, Any]) -> Response:
    """Return the page of a list of collections."""
    return _page(api, "collections.html", document)


def collection_page(api: API, document: Mapping[str, Any]) -> Response:
    """Return the page of a collection."""
    return _page(api, "collection.html", document)


def items_page(api: API, name: str, document: Mapping[str, Any]) -> Response:
    """Return the page of some features of a collection.

    Args:
        api: pygeoapi's API object.
        name: of the collection.
        document: the FeatureCollection, decoded.
    """
    rows = [(item["id"], _texts(item["properties"])) for item in document["features"]]
    fields = list(dict.fromkeys(key for _, properties in rows for key in properties))
    numbers = {key: document[key] for key in ("numberMatched", "numberReturned")}
    return _page(api, "items.html", {"id": name, "fields": fields, "rows": rows, **numbers, "links": document["links"]})


def item_page(api: API, name: str, document: Mapping[str, Any]) -> Response:
    """Return the page of a feature; arguments as those of `items_page`."""
    properties, links = _texts(document["properties"]), document["links"]
    data = {"collection": name, "id": document["id"], "properties": properties, "links": links}
    return _page(api, "item.html", data)


def _texts(properties: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value)[:_MAX_TEXT] for name, value in properties.items()}


def _page(api: API, template: str, data: Mapping[str, Any]) -> Response:
    now = {"now": datetime.now(UTC).strftime(DATETIME_FORMAT)}
    page = render_j2_template(api.tpl_config, _TEMPLATES, template, {**data, **now}, api.default_locale)
    return Response(page, content_type="text/html; charset=utf-8")
