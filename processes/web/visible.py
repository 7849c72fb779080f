"""What of jobs and their results a request may see: what another has made is not there, in the very same words."""

from __future__ import annotations

from http import HTTPStatus

from flask import g

from processes.access.person import Role
from processes.jobs.job import Job, is_job_id
from processes.jobs.manager import JobManager
from processes.ogc.problem import NoSuchJobError, NotFoundError
from processes.ogc.process import LayerInfo
from processes.ogc.schema import quoted
from processes.web.who import audit_refusal, current_person

SHARED_JOB = "shared_job"
"""Name in Flask's `g` of the id of the job that the request's link gives reading of; absent = it has no such link."""
SHARE = "share"
"""Name of the parameter and of the cookie that have the secret of a link that shares a job."""
ANOTHERS = "made by another"
"""Why a request for what is another's is refused, as the audit says it."""


def find_job(manager: JobManager, job_id: str, *, to_change: bool = False) -> Job:
    """Return a job that this request may see.

    Args:
        manager: the jobs.
        job_id: of the job.
        to_change: True = it is to be changed, which a link that shares it does not allow.

    Raises:
        NoSuchJobError: there is no job of that id, or it is another's.
    """
    job = manager.intake.store.get(job_id) if is_job_id(job_id) else None
    if job is None:
        raise NoSuchJobError(f"there is no job {job_id!r}")
    if not (current_person().may_see(job.maker) or (not to_change and g.get(SHARED_JOB) == job.id)):
        audit_refusal(ANOTHERS, HTTPStatus.NOT_FOUND)
        raise NoSuchJobError(f"there is no job {job_id!r}")
    return job


def find_layer(manager: JobManager, collection_id: str) -> tuple[Job, LayerInfo]:
    """Return the job whose result is a collection that this request may see, and what is told of the collection.

    A collection has the name of its result, which is its maker's. To an operator one of another maker has the id of its
    job, as several makers may have given the same name; a link that shares a result names it so, too.

    Raises:
        NotFoundError: there is no such collection, or it is another's.
    """
    store, person = manager.intake.store, current_person()
    job = store.layer(collection_id, person.name or None) if person.name or person.role is Role.OPERATOR else None
    if job is None and person.role is Role.OPERATOR:  # what was made before anybody had to say who they are
        job = store.layer(collection_id)
    if job is None and is_job_id(collection_id):
        job = store.get(collection_id)
        if job is not None and not (person.may_see(job.maker) or g.get(SHARED_JOB) == job.id):
            audit_refusal(ANOTHERS, HTTPStatus.NOT_FOUND)
            job = None
    if job is None or job.layer is None:
        raise NotFoundError(f"there is no collection {quoted(collection_id)}")
    return job, job.layer


def layer_id(job: Job) -> str:
    """Return the name under which this request finds the collection of a job's result; see `find_layer`."""
    person = current_person()
    is_own = job.maker == (person.name or None) and (bool(person.name) or person.role is Role.OPERATOR)
    return job.result_name if is_own and job.result_name is not None else job.id
