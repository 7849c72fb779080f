"""The WSGI application: pygeoapi's, with views and a form of errors of this project."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import uuid
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Response, current_app, request
from flask_cors import CORS
from pygeoapi.api import API
from pygeoapi.api.processes import CONFORMANCE_CLASSES
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, NotFound

from processes.errors import FailureError, ServiceError
from processes.jobs.manager import JobManager
from processes.ogc.problem import NoSuchProcessError, is_error, is_refusal, status_of, type_of
from processes.settings import load_settings
from processes.sources.media_types import HTML, JSON
from processes.web.access import access_check, keep_private, visitors_of
from processes.web.assets import assets_view, restrict_page
from processes.web.body import limit_other_bodies
from processes.web.chips import chip_view
from processes.web.client import trust_proxies
from processes.web.collections import CONFORMANCE as FEATURES_CONFORMANCE
from processes.web.collections import collections_view, items_view
from processes.web.compression import compress
from processes.web.descriptions import describe_view, landing_view
from processes.web.events import events_view
from processes.web.execution import execute_view, validate_view
from processes.web.health import health_view
from processes.web.imagery import imagery_view
from processes.web.jobs import jobs_view, results_view
from processes.web.metrics import metrics_view
from processes.web.models import models_view
from processes.web.origins import origin_check
from processes.web.pages import error_page, has_own_templates, show_visitors, use_own_templates, wants_error_page
from processes.web.problem import (
    ProblemResponse,
    http_exception_response,
    problem_response,
    pygeoapi_error_response,
)
from processes.web.result_map import imagery_tile_view, map_view, object_tile_view
from processes.web.review import review_view
from processes.web.shares import keep_shared_private, share_reader, shares_view
from processes.web.sign_in import add_sign_in, add_sign_out
from processes.web.uploads import uploads_view
from processes.web.views import OPENAPI, SETTINGS, STOPPING, UPLOADS
from processes.web.who import audit_refusal

_logger = logging.getLogger(__name__)

_PYGEOAPI = "pygeoapi.flask_app"
_EXECUTE = "pygeoapi.execute_process_jobs"
_LANDING = "pygeoapi.landing_page"
_DESCRIBE = "pygeoapi.get_processes"
_API = "classify-objects-api"
"""Name of the application's extension that has pygeoapi's API object."""
_MANAGER = "processes.jobs.manager.JobManager"
_COLLECTIONS, _ITEMS = "pygeoapi.collections", "pygeoapi.collection_items"
_JOBS = "pygeoapi.get_jobs"
_RESULTS = "pygeoapi.get_job_result"
_OWN_ENDPOINTS = (
    _EXECUTE,
    _RESULTS,
    "job_output",
    "job_events",
    "chip",
    "object_tile",
    "imagery_tile",
    "assets",
    "pygeoapi.openapi",
    "pygeoapi.static",
    "static",
)
"""Endpoints whose responses have the media type that they declare."""
_LARGE_BODIES = (_EXECUTE, _ITEMS, "validate", "uploads")
"""Endpoints that take large bodies."""
_CLASSES = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
_CONFORMANCE = ("job-list", "dismiss", "html")
"""Classes that pygeoapi itself does not conform to."""
_PREFLIGHT_S = 3600


def _unexpected_error_response(error: Exception) -> ProblemResponse:
    """Log an unexpected error, and return a response that says no more than where to find it in the log."""
    reference = uuid.uuid4()
    _logger.error("request %s: %s %s failed", reference, request.method, request.path, exc_info=error)
    return problem_response(FailureError(f"the server failed at this request; the log has it as {reference}"))


def _service_error_response(error: ServiceError) -> ProblemResponse:
    """Return the response to an error; the audit is told of one that is a refusal."""
    if is_refusal(error):
        audit_refusal(type_of(error), status_of(error))
    return problem_response(error)


def _complete(response: Response) -> Response:
    """Return a response with the form of the contract, if it is an error of pygeoapi's views, and with its headers."""
    response.headers = Headers(response.headers)  # pygeoapi sets a plain dict, in which case matters
    if request.endpoint not in _OWN_ENDPOINTS and not _is_page(response.mimetype):
        response.content_type = JSON  # pygeoapi writes JSON, and declares it an image if the client accepts images
    if is_error(response.status_code) and not isinstance(response, ProblemResponse):
        response = _problem_of(response)
    api: API = current_app.extensions[_API]
    if isinstance(response, ProblemResponse) and wants_error_page():
        headers = {
            name: response.headers[name]
            for name in ("Allow", "Retry-After", "WWW-Authenticate")
            if name in response.headers
        }
        response = error_page(api, msgspec.json.decode(response.get_data()))
        response.headers.extend(headers)
    if response.mimetype == HTML and has_own_templates(api):
        restrict_page(response)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.vary.add("Accept")
    if request.path.startswith(
        ("/jobs", "/collections")
    ):  # caches must revalidate an output, which may have been deleted
        response.cache_control.no_cache = True
    return response


def _problem_of(response: Response) -> ProblemResponse:
    if response.status_code == HTTPStatus.NOT_FOUND and request.endpoint == _DESCRIBE:
        process_id = (request.view_args or {}).get("process_id")
        return problem_response(NoSuchProcessError(f"there is no process {process_id!r}"))
    return pygeoapi_error_response(response)


def _is_page(media_type: str | None) -> bool:
    """Return whether pygeoapi's own views write this media type."""
    return media_type is None or media_type.endswith("json") or media_type.startswith("text/")


def _refuse_folders() -> None:
    """Raise NotFound for an output with a slash behind it: GDAL looks for a folder there, and would get the file."""
    if request.path.endswith("/") and request.endpoint in (_RESULTS, "job_output"):
        raise NotFound


def _cors(origins: Sequence[str]) -> dict[str, Any]:
    """Return the options of flask_cors: what web pages of these origins may do."""
    return {
        "origins": list(origins),
        "send_wildcard": "*" in origins,
        "methods": ["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
        "allow_headers": [
            *("Accept", "Authorization", "Content-Disposition", "Content-Type", "Prefer"),
            *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"),
        ],
        "expose_headers": [
            "Location",
            "Link",
            "Preference-Applied",
            "ETag",
            "Content-Range",
            "Content-Disposition",
            "Content-Crs",
            "Retry-After",
        ],
        "max_age": _PREFLIGHT_S,
    }


def create_application(configuration: Path) -> Flask:
    """Return a new application, independent of those made before; its state folder has the OpenAPI document already.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at the working folder.
    """
    settings = load_settings(configuration)
    pygeoapi = _import_pygeoapi(configuration, settings.state / OPENAPI)
    app: Flask = pygeoapi.APP
    api = pygeoapi.api_
    if not isinstance(api.manager, JobManager):
        raise RuntimeError(f"server.manager is {api.manager.name!r}; this service needs its own, {_MANAGER}")
    use_own_templates(api)
    show_visitors(api)
    app.extensions |= {STOPPING: threading.Event(), SETTINGS: settings, _API: api}
    classes = [*(f"{_CLASSES}{name}" for name in _CONFORMANCE), *FEATURES_CONFORMANCE]
    CONFORMANCE_CLASSES.extend(name for name in classes if name not in CONFORMANCE_CLASSES)  # one list for all
    app.view_functions[_EXECUTE] = execute_view(api, app.view_functions[_EXECUTE])
    app.view_functions[_LANDING] = landing_view(api, app.view_functions[_LANDING])
    app.view_functions[_DESCRIBE] = describe_view(api, app.view_functions[_DESCRIBE])
    app.view_functions[_COLLECTIONS] = collections_view(api, app.view_functions[_COLLECTIONS])
    app.view_functions[_ITEMS] = items_view(api, app.view_functions[_ITEMS])
    app.view_functions[_JOBS] = jobs_view(api)
    app.view_functions[_RESULTS] = results_view(api)
    app.add_url_rule("/jobs/<job_id>/results/<output>", "job_output", app.view_functions[_RESULTS])
    app.add_url_rule("/jobs/<job_id>/objects/<path:object_id>/chip.png", "chip", chip_view(api))
    app.add_url_rule("/processes/<process_id>/validate", "validate", validate_view(api), methods=["POST"])
    app.add_url_rule("/jobs/<job_id>/review", "review", review_view(api))
    app.add_url_rule("/jobs/<job_id>/map", "map", map_view(api))
    tile = "<zoom>/<column>/<row>"
    app.add_url_rule(f"/jobs/<job_id>/map/objects/{tile}.mvt", "object_tile", object_tile_view(api))
    app.add_url_rule(f"/jobs/<job_id>/map/imagery/{tile}.webp", "imagery_tile", imagery_tile_view(api))
    shares = shares_view(api)
    app.add_url_rule("/jobs/<job_id>/shares", "shares", shares, methods=["GET", "POST"])
    app.add_url_rule("/jobs/<job_id>/shares/<share_id>", "share", shares, methods=["DELETE"])
    app.add_url_rule("/jobs/<job_id>/events", "job_events", events_view(api))
    app.add_url_rule("/models", "models", models_view(api, settings))
    app.add_url_rule("/imagery", "imagery", imagery_view(settings))
    app.add_url_rule("/assets/<path:name>", "assets", assets_view())
    uploads = uploads_view(api, settings)
    app.add_url_rule(UPLOADS, "uploads", uploads, methods=["POST"])
    app.add_url_rule(f"{UPLOADS}/<upload_id>", "upload", uploads, methods=["GET", "DELETE"])
    app.add_url_rule("/metrics", "metrics", metrics_view(api))
    app.add_url_rule("/health", "health", health_view(api))
    visitors = visitors_of(settings, api)
    if visitors is not None:
        if visitors.issuer is None:
            add_sign_in(app, api, visitors)
        else:
            from processes.web.sign_in_at_issuer import add_sign_in_at_issuer

            add_sign_in_at_issuer(app, api, visitors, visitors.issuer)
        add_sign_out(app, api, visitors)
        app.after_request(keep_private)
    trust_proxies(app, settings.proxies)
    app.url_map.merge_slashes = False  # it would redirect, to whatever host the client names
    app.before_request(origin_check(settings, api.config["server"]["url"]))
    app.before_request(_refuse_folders)
    app.before_request(lambda: limit_other_bodies(request, _LARGE_BODIES))
    app.before_request(share_reader(api))
    app.before_request(access_check(settings, visitors))
    app.register_error_handler(ServiceError, _service_error_response)
    app.register_error_handler(HTTPException, http_exception_response)
    app.register_error_handler(Exception, _unexpected_error_response)
    # the last one registered runs first: an error gets its form, is compressed, and gets the headers of CORS
    if settings.origins:
        CORS(app, **_cors(settings.origins))
    app.after_request(compress)
    app.after_request(keep_shared_private)
    app.after_request(_complete)
    return app


def _import_pygeoapi(configuration: Path, openapi: Path) -> Any:
    """Return pygeoapi's module of its application, imported anew.

    It reads its configuration while it is imported, from the files that two variables of the environment name, and
    keeps the application and all that belongs to it as globals. An import for each application is the only way to have
    one of its own configuration. What was made by a former import goes on with the globals of that.
    """
    os.environ["PYGEOAPI_CONFIG"] = str(configuration)
    os.environ["PYGEOAPI_OPENAPI"] = str(openapi)
    sys.modules.pop(_PYGEOAPI, None)
    return importlib.import_module(_PYGEOAPI)
