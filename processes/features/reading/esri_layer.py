"""Layers of Esri's feature services (https://developers.arcgis.com/rest/services-reference): asked for as GeoJSON, by
pages that begin at `resultOffset`.

These services tell of errors with status 200.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from processes.errors import LayerError
from processes.features.reading.paging import FeaturePage, FetchPage
from processes.sources.queries import service_link, with_query

_LAYER = re.compile(r"(?P<layer>.*/(?:FeatureServer|MapServer)/\d+)(?:/query)?/?")
_PAGE_FEATURES = 2000
"""Features to ask for at once, where the service lets that many be had."""


class _Pagination(msgspec.Struct):
    supports: bool = msgspec.field(default=False, name="supportsPagination")


class _EsriFault(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    details: list[str] | None = None


class _EsriDescription(msgspec.Struct):
    """The description of a layer, as far as it is used."""

    name: str = "layer"
    type: str = ""
    object_id_field: str | None = msgspec.field(default=None, name="objectIdField")
    max_record_count: int = msgspec.field(default=1000, name="maxRecordCount")
    formats: str = msgspec.field(default="", name="supportedQueryFormats")
    query: _Pagination = msgspec.field(default_factory=_Pagination, name="advancedQueryCapabilities")
    pagination: bool = msgspec.field(default=False, name="supportsPagination")
    """Where older services say it."""
    fields: list[dict[str, object]] | None = None

    @property
    def id_field(self) -> str | None:
        """The field by which pages are ordered."""
        ids = [str(item.get("name")) for item in self.fields or () if item.get("type") == "esriFieldTypeOID"]
        return self.object_id_field or next(iter(ids), None)


class _EsriAnswer(msgspec.Struct):
    error: _EsriFault | None = None
    exceeded: bool = msgspec.field(default=False, name="exceededTransferLimit")
    properties: dict[str, object] | None = None
    features: list[msgspec.Raw] = msgspec.field(default_factory=list)

    @property
    def is_cut_off(self) -> bool:
        """Whether there are more features."""
        return self.exceeded or bool((self.properties or {}).get("exceededTransferLimit"))


def is_esri_layer(href: str) -> bool:
    """Return whether a link names a layer of a feature service, as its path tells."""
    return _LAYER.fullmatch(service_link(href)[0].path) is not None


def esri_layer(href: str, get: Callable[[str], FeaturePage]) -> tuple[str, FeaturePage, FetchPage]:
    """Return the name of a layer, its first page, and what returns the others.

    Args:
        href: the link; parameters of its query are those of the query to the service, such as `where`.
        get: requests a URL.

    Raises:
        LayerError: the service refuses the query, or gives no GeoJSON.
    """
    parts, given = service_link(href)
    found = _LAYER.fullmatch(parts.path)
    path = found["layer"] if found else parts.path
    token = {name: value for name, value in given.items() if name.lower() == "token"}
    layer = _description(get(with_query(parts._replace(path=path), token, f="json")))
    if "geojson" not in layer.formats.lower().replace(" ", "").split(","):
        raise LayerError(
            f"the layer {layer.name!r} gives {layer.formats or 'no format that is known'}; only GeoJSON is read"
        )
    can_page = layer.query.supports or layer.pagination
    limit = min(layer.max_record_count, _PAGE_FEATURES) if can_page else None
    query = {"where": "1=1", "outFields": "*", "returnGeometry": "true"} | given
    order = layer.id_field if can_page and "orderByFields" not in query else query.get("orderByFields")
    start = int(given["resultOffset"]) if given.get("resultOffset", "").isdecimal() else 0

    def link(offset: int) -> str:
        return with_query(
            parts._replace(path=f"{path}/query"),
            query,
            f="geojson",
            outSR=4326,
            resultOffset=offset if can_page else None,
            resultRecordCount=limit,
            orderByFields=order,
        )

    def fetch(url: str) -> FeaturePage:
        page = get(url)
        answer = _decode(page, _EsriAnswer)
        _require_no_fault(answer.error)
        offset = int(service_link(url)[1].get("resultOffset", 0)) + len(answer.features)
        following = link(offset) if can_page and answer.is_cut_off and answer.features else None
        return msgspec.structs.replace(page, link=f'<{following}>; rel="next"' if following else None)

    return layer.name, fetch(link(start)), fetch


def _description(page: FeaturePage) -> _EsriDescription:
    _require_no_fault(_decode(page, _EsriAnswer).error)
    layer = _decode(page, _EsriDescription)
    if layer.type not in ("Feature Layer", "Table", ""):
        raise LayerError(f"{layer.name!r} is a {layer.type}, not a layer of features")
    return layer


def _require_no_fault(fault: _EsriFault | None) -> None:
    if fault is not None:
        said = " ".join(filter(None, (fault.message, *(fault.details or ()))))[:300]
        raise LayerError(f"the service answers with error {fault.code}: {said}")


def _decode[T](page: FeaturePage, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(page.text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"the service gives what its interface does not have: {err}") from err
