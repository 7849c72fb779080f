"""Layers of WFS 2.0 (OGC 09-025r2): asked for as GeoJSON, by pages that begin at `startIndex`.

The capabilities are read by OWSLib, which is given their bytes and requests nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from processes.errors import LayerError
from processes.features.reading.paging import FeaturePage, FetchPage
from processes.sources.queries import parameter, service_link, with_query

WFS = "application/vnd.ogc.wfs"
"""Media type of a link to a WFS."""
_VERSION = "2.0.0"
_PAGE_FEATURES = 1000
_FORMATS = (
    re.compile(r"application/(geo\+json|vnd\.geo\+json)"),
    re.compile(r"(application/json; ?subtype=)?geojson"),
    re.compile(r"application/json"),
    re.compile(r"json"),
)
"""Names that servers give to GeoJSON, the best first."""
_LONGITUDE_FIRST = ("CRS84", "EPSG::4326", "EPSG:4326")
"""CRS to ask for: in GeoJSON all mean longitude and latitude, in this order."""
_MATCHED = re.compile(rb"""<(?:\w+:)?FeatureCollection\b[^>]*?\bnumberMatched\s*=\s*["'](\w+)["']""")
_FAULT = re.compile(rb"<(?:\w+:)?(?:ExceptionReport|ServiceExceptionReport)\b")
_FAULT_TEXT = re.compile(rb"<(?:\w+:)?(?:ExceptionText|ServiceException)\b[^>]*>\s*(.*?)\s*</", re.DOTALL)


class _WfsPage(msgspec.Struct):
    features: list[msgspec.Raw]


def is_wfs(href: str, media_type: str) -> bool:
    """Return whether a link names a WFS, as its media type or its query tells."""
    return media_type == WFS or (parameter(service_link(href)[1], "service") or "").upper() == "WFS"


def wfs_layer(href: str, get: Callable[[str], FeaturePage]) -> tuple[str, FeaturePage, FetchPage]:
    """Return the name of a layer, its first page, and what returns the others.

    Args:
        href: the link, with the parameter `typeNames`; others of its query are sent along.
        get: requests a URL.

    Raises:
        LayerError: the service has no such layer, gives no GeoJSON, or refuses the request.
    """
    parts, given = service_link(href)
    capabilities = _capabilities(
        _text(get(with_query(parts, _of_server(given), service="WFS", version=_VERSION, request="GetCapabilities")))
    )
    name = _layer_name(parameter(given, "typeNames") or parameter(given, "typeName"), list(capabilities.contents))
    query: dict[str, Any] = {
        "service": "WFS",
        "version": _VERSION,
        "request": "GetFeature",
        "typeNames": name,
        "typeName": None,
        "srsName": parameter(given, "srsName") or _crs(capabilities.contents[name]),
    }
    hits = _text(get(with_query(parts, given, **query, resultType="hits", outputFormat=None, count=None)))
    matched = _matched(hits)
    start = int(parameter(given, "startIndex") or 0) if (parameter(given, "startIndex") or "0").isdecimal() else 0
    output_format = parameter(given, "outputFormat") or _geojson(capabilities)

    def link(offset: int) -> str:
        return with_query(
            parts, given, **query, resultType=None, outputFormat=output_format, count=_PAGE_FEATURES, startIndex=offset
        )

    def fetch(url: str) -> FeaturePage:
        page = get(url)
        _text(page)
        try:
            count = len(msgspec.json.decode(page.text, type=_WfsPage).features)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise LayerError(f"the service does not answer with GeoJSON as {output_format!r}: {err}") from err
        end = int(parameter(service_link(url)[1], "startIndex") or 0) + count
        following = link(end) if count else None  # whatever it says is matched: MapServer says what it gives at once
        return msgspec.structs.replace(page, link=f'<{following}>; rel="next"' if following else None, matched=matched)

    return name.rpartition(":")[2], fetch(link(start)), fetch


def _layer_name(asked: str | None, offered: list[str]) -> str:
    """Return the name of a layer as the service has it; who asks may leave out the prefix of its namespace.

    Raises:
        LayerError: there is no such layer, or several are meant.
    """
    meant = [name for name in offered if asked in (name, name.rpartition(":")[2])]
    exact = [name for name in meant if name == asked]
    if len(exact or meant) != 1:
        said = "names no layer by typeNames=" if asked is None else f"asks for the layer {asked[:100]!r}"
        raise LayerError(f"the link {said}; the service has {', '.join(map(repr, offered[:40])) or 'none'}")
    return (exact or meant)[0]


def _of_server(given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that are the server's own, such as MapServer's `map`, and not the request's."""
    ours = {"typenames", "typename", "srsname", "count", "startindex", "outputformat", "resulttype", "cql_filter"}
    return {name: value for name, value in given.items() if name.lower() not in ours}


def _capabilities(text: bytes) -> Any:
    from lxml.etree import LxmlError  # slow to import, and most links name files
    from owslib.feature.wfs200 import WebFeatureService_2_0_0
    from owslib.util import ServiceException

    try:
        return WebFeatureService_2_0_0("", _VERSION, xml=text)
    except (ServiceException, LxmlError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as err:
        raise LayerError(f"the service does not give the capabilities of a WFS {_VERSION}") from err


def _geojson(capabilities: Any) -> str:
    """Return what a server calls GeoJSON.

    Raises:
        LayerError: it does not give it.
    """
    operations = {item.name: item for item in capabilities.operations}
    stated = operations["GetFeature"].parameters.get("outputFormat", {}) if "GetFeature" in operations else {}
    names = stated.get("values", ())
    for pattern in _FORMATS:
        for offered in names:
            if pattern.fullmatch(offered.lower()):
                return str(offered)
    raise LayerError(f"the service gives its layers as {', '.join(names) or 'nothing that is known'}, not as GeoJSON")


def _crs(layer: Any) -> str | None:
    """Return the CRS to ask for, as the server writes it; None = its own."""
    offered = [str(crs.id) for crs in layer.crsOptions or ()]
    return next((crs for ending in _LONGITUDE_FIRST for crs in offered if crs.upper().endswith(ending)), None)


def _matched(text: bytes) -> int | None:
    """Return the number of features that an answer states; None = unknown."""
    found = _MATCHED.search(text)
    return int(found[1]) if found and found[1].isdigit() else None


def _text(page: FeaturePage) -> bytes:
    """Return an answer; raise LayerError where it is an exception."""
    text = bytes(page.text)
    if _FAULT.search(text[:4096]):
        said = b" ".join(_FAULT_TEXT.findall(text)).decode(errors="replace")[:300]
        raise LayerError(f"the service refuses the request: {said}")
    return text
