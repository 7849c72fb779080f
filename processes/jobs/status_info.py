"""A job as the document `statusInfo` of OGC API - Processes, with its links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from processes.errors import FailureError, ServiceError
from processes.jobs.job import Job, JobStatus
from processes.ogc.problem import problem_document
from processes.sources.media_types import JSON

_RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"


def status_info(job: Job, base_url: str) -> dict[str, Any]:
    """Return the document, with the error if the job failed; no member is ever null.

    It has the members of version 1.0 of the standard, and in addition those of the draft of version 2.0.

    Args:
        job: the job.
        base_url: URL of the service, without a slash at its end.
    """
    times = {"created": job.created, "started": job.started, "finished": job.finished, "updated": job.updated}
    info: dict[str, Any] = {
        "jobID": job.id,
        "id": job.id,
        "processID": job.process,
        "type": "process",
        "processingEntityType": "process",
        "status": job.status.value,
        "message": job.message,
        "progress": job.progress,
        **{name: rfc3339(time) for name, time in times.items() if time is not None},
    }
    if job.summary is not None and job.status is JobStatus.SUCCESSFUL:
        info["summary"] = job.summary
    elif job.summary is not None:
        info["classes"] = job.summary["classes"]
    if job.status is JobStatus.FAILED:
        info["exception"] = problem_document(failure(job), execution_path(job))
    url = job_url(job, base_url)
    info["links"] = [
        {"href": url, "rel": "self", "type": JSON, "title": "This job"},
        {"href": url, "rel": "monitor", "type": JSON, "title": "How the job goes"},
    ]
    if job.status is JobStatus.SUCCESSFUL and not job.is_expired:
        info["links"].append({"href": f"{url}/results", "rel": _RESULTS, "type": _type(job), "title": "Results"})
    return info


def job_url(job: Job, base_url: str) -> str:
    """Return the URL of a job."""
    return f"{base_url}/jobs/{job.id}"


def execution_path(job: Job) -> str:
    """Return the path to which the request of a job was sent."""
    return f"/processes/{job.process}/execution"


def failure(job: Job) -> ServiceError:
    """Return the error of a failed job, as a synchronous request would have got it."""
    return job.error or FailureError(f"the server failed; the log has it as job {job.id}")


def output_link(job: Job, base_url: str) -> dict[str, str]:
    """Return a link to the output of a job.

    Raises:
        ValueError: the job has no output.
    """
    if job.result is None:
        raise ValueError(f"job {job.id} has no result")
    return {"href": f"{job_url(job, base_url)}/results/{job.result.output}", "type": job.result.media_type}


def _type(job: Job) -> str:
    return JSON if job.response.is_document or job.result is None else job.result.media_type


def rfc3339(time: datetime) -> str:
    """Return a time as documents have it, in milliseconds."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
