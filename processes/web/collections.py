"""Finished results as collections of OGC API - Features: Part 1 (17-069r4), and Part 2 (18-058r1) for their own CRS."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

import msgspec
import numpy as np
from flask import Response, request
from pygeoapi.api import API
from werkzeug.exceptions import MethodNotAllowed

from processes.crs import CRS84
from processes.errors import Fault, RequestError, collect_faults
from processes.features.serving.items import find_items, item_texts
from processes.features.serving.served_crs import served_crs
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.formats import FORMATS
from processes.features.writing.geojson import GEOJSON
from processes.jobs.form_names import INDEX
from processes.jobs.job import Job
from processes.jobs.manager import JobManager
from processes.jobs.status_info import job_url, output_link
from processes.ogc.problem import NotFoundError
from processes.ogc.process import LayerInfo
from processes.ogc.schema import quoted
from processes.sources.media_types import HTML, JSON
from processes.web.collection_pages import collection_page, collections_page, item_page, items_page
from processes.web.forms import made_form, stored_result
from processes.web.item_query import read_item_query, require_known
from processes.web.pages import wants_page
from processes.web.paging import HTML_FORM, JSON_FORM, ListPage
from processes.web.styles import STYLES
from processes.web.views import View
from processes.web.visible import find_layer, layer_id
from processes.web.who import current_person

_FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"
CONFORMANCE = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    *(
        f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{name}"
        for name in ("core", "oas30", "html", "geojson")
    ),
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
)
"""Classes that the collections conform to."""
_GEOJSON = GEOJSON.media_type


def collections_view(api: API, original: View) -> View:
    """Return the view of the list of collections, and of one of them; `original` has those of the configuration."""
    manager = cast(JobManager, api.manager)

    def collections(collection_id: str | None = None) -> Response:
        if collection_id is None:
            return _list(api, manager)
        if _is_configured(api, collection_id):
            return cast(Response, original(collection_id))
        return _describe(api, manager, collection_id)

    return collections


def items_view(api: API, original: View) -> View:
    """Return the view of a collection's features, and of one of them; `original` has those of the configuration."""
    manager = cast(JobManager, api.manager)

    def items(collection_id: str, item_id: str | None = None) -> Response:
        if _is_configured(api, collection_id):
            return cast(Response, original(collection_id, item_id))
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(valid_methods=["GET", "HEAD", "OPTIONS"])
        job, _ = find_layer(manager, collection_id)
        if item_id is None:
            return _items(api, manager, job)
        return _item(api, manager, job, item_id)

    return items


def _is_configured(api: API, collection_id: str) -> bool:
    return bool(api.config["resources"].get(collection_id, {}).get("type") == "collection")


def _list(api: API, manager: JobManager) -> Response:
    faults: list[Fault] = []
    page, is_page = ListPage.read(faults), _wants_page(faults)
    require_known(("f", "limit", "offset"), faults)
    if faults:
        raise RequestError(faults)
    jobs = manager.intake.store.layers(page.limit + 1, page.offset, current_person())
    form = HTML_FORM if is_page else JSON_FORM
    document = {
        "links": page.links(f"{api.base_url}/collections", len(jobs) > page.limit, form),
        "collections": [_summary(api, job, job.layer) for job in jobs[: page.limit] if job.layer is not None],
    }
    return collections_page(api, document) if is_page else _response(document, JSON)


def _describe(api: API, manager: JobManager, collection_id: str) -> Response:
    faults: list[Fault] = []
    is_page = _wants_page(faults)
    require_known(("f",), faults)
    if faults:
        raise RequestError(faults)
    document = _summary(api, *find_layer(manager, collection_id))
    return collection_page(api, document) if is_page else _response(document, JSON)


def _summary(api: API, job: Job, layer: LayerInfo) -> dict[str, Any]:
    """Return a collection, as the list has it too (Part 1, requirement 18)."""
    url, output = _url(api, job), output_link(job, api.base_url)["href"]
    links = [
        {"href": f"{url}?f=json", "rel": "self", "type": JSON, "title": "This collection"},
        {"href": f"{url}?f=html", "rel": "alternate", "type": HTML, "title": "As a web page"},
        {"href": f"{url}/items", "rel": "items", "type": _GEOJSON, "title": "Features"},
        {"href": f"{url}/items?f=html", "rel": "items", "type": HTML, "title": "Features as a web page"},
        *(
            {
                "href": f"{output}{item.ending}",
                "rel": "enclosure",
                "type": item.media_type,
                "title": f"All, {item.ending}",
            }
            for item in FORMATS
        ),
        *(
            {"href": f"{job_url(job, api.base_url)}/results/{name}", "rel": "stylesheet", "type": kind, "title": name}
            for name, kind in STYLES.items()
        ),
        {"href": job_url(job, api.base_url), "rel": "via", "type": JSON, "title": "The job that made it"},
    ]
    extent = {} if layer.bbox is None else {"extent": {"spatial": {"bbox": [layer.bbox], "crs": CRS84}}}
    return {
        "id": layer_id(job),
        "title": job.result_name or job.id,
        "description": job.message,
        "itemType": "feature",
        **extent,
        "crs": list(dict.fromkeys([CRS84, layer.crs])),
        "storageCrs": layer.crs,
        "links": links,
    }


def _items(api: API, manager: JobManager, job: Job) -> Response:
    stored, faults = stored_result(manager.intake, job), list[Fault]()
    is_page = _wants_page(faults)
    if faults:
        raise RequestError(faults)
    query, page, (crs, is_own) = read_item_query(stored)
    index = None
    if query.boxes is not None:
        index = manager.intake.forms.path(job, made_form(manager.intake, job, INDEX))
    found = find_items(stored, index, query, page.limit, page.offset)
    features = item_texts(stored, found.rows, crs, is_own)
    form = HTML_FORM if is_page else JSON_FORM
    url = f"{_url(api, job)}/items"
    links = page.links(url, found.has_more, form, _GEOJSON, len(found.rows))
    links.append({"href": _url(api, job), "rel": "collection", "type": JSON, "title": "The collection"})
    numbers = {"numberMatched": found.matched, "numberReturned": len(found.rows)}
    head = {"type": "FeatureCollection", **numbers, "links": links}
    content = msgspec.json.encode(head)[:-1] + b',"features":[\n' + b",\n".join(features) + b"\n]}"
    if is_page:
        return items_page(api, layer_id(job), msgspec.json.decode(content))
    return _features_response(content, stored, is_own)


def _item(api: API, manager: JobManager, job: Job, item_id: str) -> Response:
    faults: list[Fault] = []
    is_page = _wants_page(faults)
    require_known(("f", "crs"), faults)
    stored = stored_result(manager.intake, job)
    served = served_crs(stored)
    crs, is_own = served.own, True
    with collect_faults(faults, "/crs"):
        crs, is_own = served.chosen("crs", request.args.get("crs"))
    if faults:
        raise RequestError(faults)
    row = stored.row_of(item_id)
    if row is None:
        raise NotFoundError(f"the collection {quoted(layer_id(job))} has no feature {quoted(item_id)}")
    (feature,) = item_texts(stored, np.array([row]), crs, is_own)
    url = f"{_url(api, job)}/items/{quote(item_id, safe='')}"
    links = [
        {"href": url, "rel": "self", "type": _GEOJSON, "title": "This feature"},
        {"href": f"{url}?f=html", "rel": "alternate", "type": HTML, "title": "As a web page"},
        {"href": _url(api, job), "rel": "collection", "type": JSON, "title": "The collection"},
    ]
    content = feature[:-1] + b', "links": ' + msgspec.json.encode(links) + b"}"
    if is_page:
        return item_page(api, layer_id(job), msgspec.json.decode(content))
    return _features_response(content, stored, is_own)


def _url(api: API, job: Job) -> str:
    return f"{api.base_url}/collections/{quote(layer_id(job), safe='')}"


def _wants_page(faults: list[Fault]) -> bool:
    with collect_faults(faults, "/f"):
        return wants_page(_GEOJSON)
    return False


def _features_response(content: bytes, stored: StoredResult, is_own: bool) -> Response:
    response = _tagged(Response(content, content_type=_GEOJSON))
    response.headers["Content-Crs"] = f"<{served_crs(stored).own_uri if is_own else CRS84}>"
    return response


def _response(document: dict[str, Any], media_type: str) -> Response:
    return _tagged(Response(msgspec.json.encode(document), content_type=media_type))


def _tagged(response: Response) -> Response:
    response.add_etag()
    response.make_conditional(request)
    return response
