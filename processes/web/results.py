"""Results of jobs over HTTP: raw or as a document, by value or by reference, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import BinaryIO

import msgspec
from flask import Response, request
from werkzeug.datastructures import ContentRange
from werkzeug.wsgi import wrap_file

from processes.errors import ServiceError
from processes.jobs.intake import Intake
from processes.jobs.job import Job, JobStatus, ResultFile
from processes.jobs.status_info import failure, output_link
from processes.ogc.problem import RESULT_NOT_READY, HttpError
from processes.ogc.results import blocks_of, results_document
from processes.web.conditional import PreconditionResult, evaluate

_JSON = "application/json"
_BLOCK_BYTES = 2**18


def job_error(job: Job) -> ServiceError:
    """Return why there are no results of a job."""
    if job.status is JobStatus.DISMISSED:
        return HttpError(410, f"the job {job.id} was dismissed")
    if job.is_expired:
        return HttpError(410, f"the time of the results of job {job.id} is over")
    if job.status is JobStatus.FAILED:
        return failure(job)
    return HttpError(404, f"the result of job {job.id} is not ready: it is {job.status.value}", RESULT_NOT_READY)


def results_response(intake: Intake, job: Job, base_url: str) -> Response:
    """Return the results of a successful job in the form that its request wants.

    Raises:
        HttpError: they are gone.
    """
    if job.response.nothing:
        return Response(b"{}", content_type=_JSON)
    if job.result is None:
        raise job_error(job)
    if not job.response.is_document:
        return _link_response(job, base_url) if job.response.by_reference else output_response(intake, job)
    if job.response.by_reference:
        document = {job.result.output: output_link(job, base_url)}
        return Response(msgspec.json.encode(document), content_type=_JSON)
    blocks = blocks_of(_opened(intake, job))
    return Response(results_document(job.result.output, job.result.media_type, blocks), content_type=_JSON)


def output_response(intake: Intake, job: Job) -> Response:
    """Return the output of a job itself: whole, or the part that the request names, or nothing but the headers.

    Raises:
        HttpError: it is gone.
    """
    if job.result is None:
        raise job_error(job)
    etag, modified = f"{job.id}-{job.fence}", (job.finished or job.updated).replace(microsecond=0)
    file = _opened(intake, job)
    try:
        outcome = evaluate(request, etag, modified, job.result.size_bytes)
        response = _content(file, job.result, outcome)
    except BaseException:
        file.close()
        raise
    is_compressed = outcome.status is HTTPStatus.NOT_MODIFIED and request.if_none_match.is_weak(etag)
    response.set_etag(etag, weak=is_compressed)
    response.last_modified = modified
    response.accept_ranges = "bytes"
    if job.result_name is not None:  # what a browser saves it as
        name = f"{job.result_name}{PurePosixPath(job.result.name).suffix}"
        response.headers.set("Content-Disposition", "inline", filename=name)
    return response


def _content(file: BinaryIO, result: ResultFile, outcome: PreconditionResult) -> Response:
    """Return all of an output, a part of it, or nothing."""
    part = outcome.part
    if outcome.status is HTTPStatus.OK:
        response = Response(wrap_file(request.environ, file), direct_passthrough=True)
        response.content_length = len(part)
    elif outcome.status is HTTPStatus.PARTIAL_CONTENT:
        file.seek(part.start)
        response = Response(_part_of(file, len(part)), outcome.status)
        response.content_length = len(part)
        response.content_range = ContentRange("bytes", part.start, part.stop, result.size_bytes)
    else:
        response = Response(status=outcome.status)
    response.call_on_close(file.close)
    response.content_type = result.media_type
    return response


def _part_of(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    while size_bytes and (block := file.read(min(size_bytes, _BLOCK_BYTES))):
        size_bytes -= len(block)
        yield block


def _link_response(job: Job, base_url: str) -> Response:
    link = output_link(job, base_url)
    rel = job.result.output if job.result is not None else "item"
    response = Response(status=204, headers={"Link": f'<{link["href"]}>; rel="{rel}"; type="{link["type"]}"'})
    del response.headers["Content-Type"]
    return response


def _opened(intake: Intake, job: Job) -> BinaryIO:
    if job.result is None:
        raise job_error(job)
    try:
        return intake.storage.open_result(job.id, job.result.name)
    except FileNotFoundError as err:
        raise HttpError(410, f"the results of job {job.id} are gone") from err
