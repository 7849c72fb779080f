"""Styles of a finished result: its classes in their colours, by an address with an ending."""

from __future__ import annotations

import msgspec
from flask import Response, request

from processes.features.serving.stored_result import StoredResult
from processes.features.writing.maplibre_style import maplibre_style
from processes.features.writing.qgis_style import style_text
from processes.features.writing.sld_style import sld_text
from processes.jobs.intake import Intake
from processes.jobs.job import Job
from processes.jobs.status_info import output_link
from processes.ogc.problem import NotFoundError
from processes.web.forms import stored_result

STYLES = {
    "style.qml": "application/vnd.qgis.qml+xml",
    "style.sld": "application/vnd.ogc.sld+xml",
    "style.json": "application/vnd.mapbox.style+json",
}
"""Media types of the styles by their names."""


def style_response(intake: Intake, job: Job, name: str, base_url: str) -> Response:
    """Return a style of a successful job's result.

    Args:
        intake: the intake, which has the files of jobs.
        job: the job.
        name: of the style, one of `STYLES`.
        base_url: URL of the service.

    Raises:
        NotFoundError: the result is a table, or its geometries do not share a symbol.
        GoneError: the result is gone.
    """
    stored = stored_result(intake, job)
    if stored.crs is None:
        raise NotFoundError(f"the result of job {job.id} is a table; it has no style")
    response = Response(_content(stored, name, job, base_url), content_type=STYLES[name])
    response.add_etag()
    response.make_conditional(request)
    return response


def _content(stored: StoredResult, name: str, job: Job, base_url: str) -> bytes:
    if name == "style.json":
        data = f"{output_link(job, base_url)['href']}.geojson"
        return msgspec.json.encode(maplibre_style(stored.style, stored.name, {"type": "geojson", "data": data}))
    family = stored.family
    if family is None:
        raise NotFoundError(
            "the objects are of several types of geometry, which one symbol cannot show; style.json can"
        )
    text = style_text(stored.style, family) if name == "style.qml" else sld_text(stored.style, family, stored.name)
    return text.encode()
