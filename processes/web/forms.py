"""Forms of a finished result beside its own, by an address with the ending of their files."""

from __future__ import annotations

from pathlib import PurePosixPath

from flask import Response, current_app

from processes.errors import FailureError, UnavailableError
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.formats import FORMATS
from processes.jobs.intake import Intake
from processes.jobs.job import Job
from processes.jobs.storage import FORMS
from processes.ogc.problem import GoneError, NotFoundError
from processes.web.results import OutputFile, file_response, job_error, output_response
from processes.web.views import STOPPING
from processes.web.who import current_client


def form_response(intake: Intake, job: Job, output: str) -> Response | None:
    """Return a successful job's output in the form that an ending names; None = the name is that of no form.

    Args:
        intake: the intake, which has the files of jobs.
        job: the job.
        output: name of the output with an ending: `classifiedObjects.gpkg`.

    Raises:
        NotFoundError: the result cannot have this form.
        GoneError: the result is gone.
        UnavailableError: it takes long to make the form, or many clients wait for such work.
    """
    name, ending = PurePosixPath(output).stem, PurePosixPath(output).suffix
    if job.result is None or name != job.result.output or not ending:
        return None
    output_format = next((item for item in FORMATS if item.ending == ending), None)
    if output_format is None:
        endings = ", ".join(item.ending for item in FORMATS)
        raise NotFoundError(f"the output {name!r} has no form {ending!r}; there are {endings}")
    if output_format.media_type == job.result.media_type:
        return output_response(intake, job)
    stored = stored_result(intake, job)
    reason = stored.why_not(output_format)
    if reason is not None:
        raise NotFoundError(f"the result of job {job.id} cannot have the form {ending!r}: {reason}")
    made = f"{FORMS}/{made_form(intake, job, ending)}"
    file = OutputFile(
        made, output_format.media_type, f"{job.id}-{job.fence}{ending}", stored.content_crs(output_format)
    )
    return file_response(intake, job, file)


def stored_result(intake: Intake, job: Job) -> StoredResult:
    """Return a result as other forms are made from it.

    Raises:
        NotFoundError: an earlier version of the service did not keep it.
        GoneError: it is gone.
    """
    try:
        return intake.forms.stored(job)
    except FileNotFoundError as err:
        raise _missing(intake, job) from err


def made_form(intake: Intake, job: Job, form: str) -> str:
    """Return the name of the file of a form, which is made if need be; arguments and errors as `Forms.make` has them.

    Raises:
        UnavailableError: many clients wait for such work.
        GoneError: the result went meanwhile.
    """
    client = current_client()
    with intake.waiting_permit(client) as is_permitted:
        if not is_permitted:
            raise UnavailableError("too many clients wait for results; try again later")
        try:
            return intake.forms.make(job, form, _is_stopping)
        except FileNotFoundError as err:
            raise _missing(intake, job) from err
        except FailureError as err:
            now = intake.store.get(job.id)
            if now is None or now.result is None:
                raise GoneError(f"the results of job {job.id} are gone") from err
            raise


def _missing(intake: Intake, job: Job) -> Exception:
    """Return the error where the files that forms are made from are not there."""
    now = intake.store.get(job.id)
    if now is None or now.result is None:
        return GoneError(f"the results of job {job.id} are gone") if now is None else job_error(now)
    ending = PurePosixPath(now.result.name).suffix
    return NotFoundError(
        f"job {job.id} was done by an earlier version of the service; its result has the form {ending!r} only"
    )


def _is_stopping() -> bool:
    stopping = current_app.extensions.get(STOPPING)
    return stopping is not None and stopping.is_set()
