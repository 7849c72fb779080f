"""The map of a finished result: its style, and its tiles of objects and of imagery, made when they are asked for."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlencode

from flask import Response, request
from pygeoapi.api import API

from processes.classify.stored_chips import ChipGoneError
from processes.classify.stored_images import StoredImages, stored_images
from processes.crs.web_mercator import TileAddress, to_longitude_latitude
from processes.errors import Fault, RequestError, ServiceError, UnavailableError
from processes.features.serving.map_index import MAX_OBJECTS, MapIndex
from processes.features.serving.object_tiles import object_tile
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.maplibre_style import maplibre_style
from processes.imagery.map_tiles import TILE_PX
from processes.jobs.form_names import CHIPS, MAP, stored_name
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.manager import JobManager
from processes.jobs.status_info import job_url
from processes.ogc.problem import GoneError, NotFoundError
from processes.web.chips import require_still_allowed
from processes.web.forms import made_form, stored_result
from processes.web.object_query import read_object_filter
from processes.web.results import job_error
from processes.web.views import View, json_response
from processes.web.visible import find_job
from processes.web.who import current_client

MVT, WEBP = "application/vnd.mapbox-vector-tile", "image/webp"
_NUMBER = re.compile(r"\d{1,8}", re.ASCII)
_AT_ONCE = 2
"""Tiles that a web process makes at the same time."""
_WAIT_S = 20
_VERSION = 1
"""Of what tiles look like; a new one makes those that browsers keep stale."""
_LAST_ZOOM = 20
"""Of tiles of objects; a map enlarges them beyond it."""


def map_view(api: API) -> View:
    """Return the view of what a map of a result needs."""
    manager = cast(JobManager, api.manager)

    def document(job_id: str) -> Response:
        job = _job(manager, job_id)
        stored, index = _opened(manager.intake, job)
        return json_response(_document(manager.intake, job, stored, index, job_url(job, api.base_url)))

    return document


def object_tile_view(api: API) -> View:
    """Return the view of a tile of a result's objects."""
    manager, turns = cast(JobManager, api.manager), threading.BoundedSemaphore(_AT_ONCE)

    def tile(job_id: str, zoom: str, column: str, row: str) -> Response:
        job, address = _job(manager, job_id), _address(zoom, column, row)
        faults: list[Fault] = []
        wanted = read_object_filter(faults)
        if faults:
            raise RequestError(faults)
        names = {"class": wanted.class_name, "status": wanted.status, "low": wanted.low, "high": wanted.high}
        etag = f"{job.id}-{job.fence}-{_VERSION}-{zoom}-{column}-{row}-{urlencode(names)}"

        def make() -> Response:
            stored, index = _opened(manager.intake, job)
            return Response(object_tile(stored, index, address, wanted), content_type=MVT)

        return _tile(manager.intake, etag, turns, make)

    return tile


def imagery_tile_view(api: API) -> View:
    """Return the view of a tile of a result's imagery."""
    manager, turns = cast(JobManager, api.manager), threading.BoundedSemaphore(_AT_ONCE)

    def tile(job_id: str, zoom: str, column: str, row: str) -> Response:
        job, address = _job(manager, job_id), _address(zoom, column, row)

        def make() -> Response:
            images = _images(manager.intake, job)
            require_still_allowed(images.paths(address), manager.intake.settings)
            try:
                content = images.tile(address, manager.intake.forms.access(job))
            except ChipGoneError as err:
                raise GoneError(f"the imagery of job {job.id} is gone: {err}") from err
            return Response(content or b"", 200 if content else 204, content_type=WEBP)

        return _tile(manager.intake, f"{job.id}-{job.fence}-{_VERSION}-{zoom}-{column}-{row}", turns, make)

    return tile


def _job(manager: JobManager, job_id: str) -> Job:
    """Return a job whose result can be had."""
    job = find_job(manager, job_id)
    if job.status is not JobStatus.SUCCESSFUL or job.result is None:
        raise job_error(job)
    return job


def _address(*parts: str) -> TileAddress:
    """Return the tile of a zoom, a column and a row."""
    if all(_NUMBER.fullmatch(part) for part in parts):
        address = TileAddress(*map(int, parts))
        if address.exists:
            return address
    raise NotFoundError(f"there is no tile {'/'.join(parts)}")


def _opened(intake: Intake, job: Job) -> tuple[StoredResult, MapIndex]:
    """Return a result, and where its objects lie on a map.

    Raises:
        NotFoundError: it cannot be shown on a map.
    """
    stored = stored_result(intake, job)
    if stored.crs is None:
        raise NotFoundError(f"the result of job {job.id} is a table; it has no map")
    if stored.count > MAX_OBJECTS:
        raise NotFoundError(f"the result of job {job.id} has {stored.count} objects; a map shows {MAX_OBJECTS} at most")
    return stored, MapIndex(intake.forms.path(job, made_form(intake, job, MAP)))


def _images(intake: Intake, job: Job) -> StoredImages:
    try:
        return stored_images(intake.forms.path(job, stored_name(job.fence, CHIPS)), intake.storage.seal)
    except FileNotFoundError as err:
        raise NotFoundError(f"where the imagery of job {job.id} lies was not kept") from err


def _tile(intake: Intake, etag: str, turns: threading.BoundedSemaphore, make: Callable[[], Response]) -> Response:
    """Return a tile that `make` makes, unless the client has it already."""
    if request.if_none_match.contains_weak(etag):
        response = Response(status=304)
    else:
        with _turn(intake, turns):
            response = make()
    response.set_etag(etag)
    return response


@contextmanager
def _turn(intake: Intake, turns: threading.BoundedSemaphore) -> Iterator[None]:
    """Wait until few enough tiles are being made.

    Raises:
        UnavailableError: it takes too long.
    """
    with intake.waiting_permit(current_client()) as is_permitted:
        if not is_permitted or not turns.acquire(timeout=_WAIT_S):
            raise UnavailableError("too many clients look at maps; try again later")
        try:
            yield
        finally:
            turns.release()


def _document(intake: Intake, job: Job, stored: StoredResult, index: MapIndex, url: str) -> dict[str, Any]:
    """Return what a map needs; `url` is that of the job."""
    source = {
        "type": "vector",
        "tiles": [f"{url}/map/objects/{{z}}/{{x}}/{{y}}.mvt"],
        "minzoom": 0,
        "maxzoom": _LAST_ZOOM,
    }
    style = maplibre_style(stored.style, stored.name, source)
    document: dict[str, Any] = {"style": style, "objects": len(index)}
    box = index.extent
    try:
        images = _images(intake, job)
        require_still_allowed(images.paths(None), intake.settings)
        first, last = images.zooms(intake.forms.access(job))
    except (ChipGoneError, ServiceError) as err:
        document["problem"] = f"the imagery cannot be shown: {err}"
    else:
        box = box or images.extent
        tiles = [f"{url}/map/imagery/{{z}}/{{x}}/{{y}}.webp"]
        style["sources"]["imagery"] = {
            "type": "raster",
            "tiles": tiles,
            "tileSize": TILE_PX,
            "minzoom": first,
            "maxzoom": last,
        }
        paint = {"raster-fade-duration": 0, "raster-resampling": "nearest"}
        style["layers"].insert(0, {"id": "imagery", "type": "raster", "source": "imagery", "paint": paint})
    if box is not None:
        document["bounds"] = to_longitude_latitude(box)
    return document
