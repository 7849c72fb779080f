"""The view of an object's chip: a picture of what the model saw."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from flask import Response, request
from pygeoapi.api import API

from processes.classify.stored_chips import ChipGoneError, StoredChip
from processes.errors import ForbiddenError, UnavailableError
from processes.features.serving.stored_result import StoredResult
from processes.jobs.form_names import CHIP, CHIPS, stored_name
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus
from processes.jobs.manager import JobManager
from processes.jobs.storage import FORMS
from processes.ogc.problem import GoneError, NotFoundError
from processes.settings import Settings
from processes.sources.links import allowed_path
from processes.sources.uploads import is_upload, was_upload
from processes.web.forms import made_form, stored_result
from processes.web.results import OutputFile, file_response, job_error
from processes.web.views import View
from processes.web.visible import find_job
from processes.web.who import current_client

_PNG = "image/png"


def chip_view(api: API) -> View:
    """Return the view of a chip."""
    manager = cast(JobManager, api.manager)

    def chip(job_id: str, object_id: str) -> Response:
        job, intake = find_job(manager, job_id), manager.intake
        if job.status is not JobStatus.SUCCESSFUL or job.result is None:
            raise job_error(job)
        stored = stored_result(intake, job)
        row = stored.row_of(object_id)
        if row is None:
            raise NotFoundError(f"the result of job {job.id} has no object {object_id!r}")
        try:
            return _response(intake, job, stored, row, object_id)
        except ChipGoneError as err:
            raise GoneError(f"the chip of object {object_id!r} is gone: {err}") from err

    return chip


def _response(intake: Intake, job: Job, stored: StoredResult, row: int, object_id: str) -> Response:
    try:
        chips = intake.forms.path(job, stored_name(job.fence, CHIPS))
    except FileNotFoundError as err:
        raise NotFoundError(f"where the chips of job {job.id} lie was not kept") from err
    found = StoredChip(chips, row, stored.geometry_at(row), intake.storage.seal)
    if not found.has_image:
        raise NotFoundError(f"object {object_id!r} has no chip: it touches no image")
    settings = intake.settings
    require_still_allowed(found.paths, settings)
    if not found.is_quick:
        name = made_form(intake, job, f"{CHIP}{row}")
        return file_response(intake, job, OutputFile(f"{FORMS}/{name}", _PNG, f"{job.id}-{job.fence}-chip-{row}", None))
    with intake.waiting_permit(current_client()) as is_permitted:
        if not is_permitted:
            raise UnavailableError("too many clients wait for results; try again later")
        content = found.png(intake.forms.access(job))
    response = Response(content, content_type=_PNG)
    response.add_etag()
    response.make_conditional(request)
    return response


def require_still_allowed(paths: Iterable[Path], settings: Settings) -> None:
    """Raise an error where images of a result may not be read any more: what was allowed once need not be now.

    The error names no folder: whoever follows a link that shares the job reads it too.

    Args:
        paths: of the images; those that are not absolute were not read from a folder.
        settings: what the deployment allows.

    Raises:
        GoneError: an image is a file that was sent, and is kept no more.
        ForbiddenError: an image lies where links may not point any more.
    """
    for path in filter(Path.is_absolute, paths):
        if is_upload(path, settings):
            continue
        if was_upload(path, settings):
            raise GoneError("the file that was sent as its image was removed, or its time is over")
        try:
            allowed_path(path.as_uri(), settings)
        except ForbiddenError as err:
            raise ForbiddenError("its image lies in a folder that this server does not allow any more") from err
