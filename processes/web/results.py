"""Results of jobs as HTTP responses: raw or as a document, by value or by reference, whole or in parts."""

from __future__ import annotations

import os
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
from processes.jobs.job import Job, JobStatus
from processes.jobs.status_info import failure, output_link
from processes.ogc.problem import GoneError, ResultNotReadyError
from processes.ogc.results import blocks_of, results_document
from processes.sources.media_types import JSON
from processes.web.conditional import PreconditionResult, evaluate
from processes.web.views import json_response

_BLOCK_BYTES = 2**18


def job_error(job: Job) -> ServiceError:
    """Return the error for the results of a job that has none."""
    if job.status is JobStatus.DISMISSED:
        return GoneError(f"the job {job.id} was dismissed")
    if job.is_expired:
        return GoneError(f"the time of the results of job {job.id} is over")
    if job.status is JobStatus.FAILED:
        return failure(job)
    return ResultNotReadyError(f"the result of job {job.id} is not ready: it is {job.status.value}")


def results_response(intake: Intake, job: Job, base_url: str) -> Response:
    """Return the results of a successful job in the form that its request names.

    Args:
        intake: the intake, which has the files of jobs.
        job: the job.
        base_url: URL of the service.

    Raises:
        GoneError: the results have been deleted.
    """
    if job.response.nothing:
        return Response(b"{}", content_type=JSON)
    if job.result is None:
        raise job_error(job)
    if not job.response.is_document:
        return _link_response(job, base_url) if job.response.by_reference else output_response(intake, job)
    if job.response.by_reference:
        document = {job.result.output: output_link(job, base_url)}
        return json_response(document)
    blocks = blocks_of(_open(intake, job, job.result.name))
    return Response(results_document(job.result.output, job.result.media_type, blocks), content_type=JSON)


class OutputFile(msgspec.Struct, frozen=True):
    """A file that a job's output is sent from."""

    name: str
    """Among the job's files."""
    media_type: str
    etag: str
    crs: str | None
    """URI of the CRS of its coordinates; None = it has none."""


def output_response(intake: Intake, job: Job) -> Response:
    """Return the output of a job itself; errors as those of `file_response`."""
    if job.result is None:
        raise job_error(job)
    crs = (job.summary or {}).get("crs")
    return file_response(intake, job, OutputFile(job.result.name, job.result.media_type, f"{job.id}-{job.fence}", crs))


def file_response(intake: Intake, job: Job, output: OutputFile) -> Response:
    """Return a file of a job's output: whole, or the part that the request names, or the headers only.

    Args:
        intake: the intake, which has the files of jobs.
        job: the job.
        output: the file.

    Raises:
        GoneError: the file has been deleted.
        PreconditionFailedError: it is not the one that the request names.
    """
    modified = (job.finished or job.updated).replace(microsecond=0)
    file = _open(intake, job, output.name)
    try:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        outcome = evaluate(request, output.etag, modified, size_bytes)
        response = _content(file, size_bytes, outcome)
    except BaseException:
        file.close()
        raise
    is_compressed = outcome.status is HTTPStatus.NOT_MODIFIED and request.if_none_match.is_weak(output.etag)
    response.content_type = output.media_type
    response.set_etag(output.etag, weak=is_compressed)
    response.last_modified = modified
    response.accept_ranges = "bytes"
    if job.result_name is not None:  # name under which a browser saves it
        name = f"{job.result_name}{PurePosixPath(output.name).suffix}"
        response.headers.set("Content-Disposition", "inline", filename=name)
    if output.crs is not None:  # OGC 18-058r1, 6.3
        response.headers["Content-Crs"] = f"<{output.crs}>"
    return response


def _content(file: BinaryIO, size_bytes: int, outcome: PreconditionResult) -> Response:
    """Return all of an output, a part of it, or nothing."""
    part = outcome.part
    if outcome.status is HTTPStatus.OK:
        response = Response(wrap_file(request.environ, file), direct_passthrough=True)
        response.content_length = len(part)
    elif outcome.status is HTTPStatus.PARTIAL_CONTENT:
        file.seek(part.start)
        response = Response(_part_of(file, len(part)), outcome.status)
        response.content_length = len(part)
        response.content_range = ContentRange("bytes", part.start, part.stop, size_bytes)
    else:
        response = Response(status=outcome.status)
    response.call_on_close(file.close)
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


def _open(intake: Intake, job: Job, name: str) -> BinaryIO:
    try:
        return intake.storage.open_result(job.id, name)
    except FileNotFoundError as err:
        raise GoneError(f"the results of job {job.id} are gone") from err
