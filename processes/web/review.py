"""The view of a result for who looks through it: the objects that match, the least sure ones first."""

from __future__ import annotations

import math
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from flask import Response
from numpy.typing import NDArray
from pygeoapi.api import API

from processes.errors import Fault, RequestError
from processes.features.serving.object_filter import ObjectFilter
from processes.features.serving.stored_result import StoredResult
from processes.jobs.job import JobStatus
from processes.jobs.manager import JobManager
from processes.sources.media_types import JSON
from processes.web.forms import stored_result
from processes.web.object_query import read_object_filter, read_row
from processes.web.paging import ListPage
from processes.web.results import job_error
from processes.web.views import View
from processes.web.visible import find_job

_BINS = 20
_MAX_OBJECTS = 100


def review_view(api: API) -> View:
    """Return the view of the objects of a result, ordered by confidence."""
    manager = cast(JobManager, api.manager)

    def review(job_id: str) -> Response:
        job = find_job(manager, job_id)
        if job.status is not JobStatus.SUCCESSFUL or job.result is None:
            raise job_error(job)
        faults: list[Fault] = []
        page = ListPage.read(faults)
        wanted, row = read_object_filter(faults), read_row(faults)
        if faults:
            raise RequestError(faults)
        stored = stored_result(manager.intake, job)
        document = _document(stored, wanted, page) if row is None else _one(stored, row)
        return Response(msgspec.json.encode(document, enc_hook=str), content_type=JSON)

    return review


def _document(stored: StoredResult, wanted: ObjectFilter, page: ListPage) -> dict[str, Any]:
    """Return the objects of a page, and how the confidences of all that match lie.

    Args:
        stored: the result.
        wanted: which objects.
        page: the part of them.
    """
    table, names = stored.table(), stored.label_fields
    confidence = np.asarray(pc.fill_null(table[names.confidence].cast(pa.float64()), math.nan).to_numpy(), np.float64)
    matches = wanted.labels(table[names.label]) & wanted.statuses(table[names.status]) & wanted.confidences(confidence)
    rows = np.flatnonzero(matches)
    order = rows[np.argsort(confidence[rows], kind="stable")]  # those without a confidence come last
    shown = order[page.offset : page.offset + min(page.limit, _MAX_OBJECTS)]
    known = confidence[rows][~np.isnan(confidence[rows])]
    return {
        "matched": len(rows),
        "histogram": np.histogram(known, _BINS, (0, 1))[0].tolist(),
        "objects": _objects(stored, shown),
    }


def _one(stored: StoredResult, row: int) -> dict[str, Any]:
    """Return the object of a row, where there is one, as `_document` has it."""
    objects = _objects(stored, np.array([row])) if row < stored.count else []
    return {"matched": len(objects), "histogram": [0] * _BINS, "objects": objects}


def _objects(stored: StoredResult, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    part, names = stored.table().take(pa.array(rows)), stored.label_fields
    attributes = part.select([field.name for field in stored.schema]).to_pylist()
    return [
        {
            "id": _identifier(stored, part, index),
            "row": row,
            "label": properties[names.label],
            "confidence": properties[names.confidence],
            "status": properties[names.status],
            "properties": properties,
        }
        for index, (row, properties) in enumerate(zip(rows.tolist(), attributes, strict=True))
    ]


def _identifier(stored: StoredResult, rows: pa.Table, index: int) -> str:
    """Return what names a row in addresses: its id, or its position where it has none."""
    value = rows.column(1)[index].as_py() if stored.has_ids else None
    if value is None or value == "null":
        return str(rows.column(0)[index].as_py())
    if isinstance(value, str) and pa.types.is_large_string(rows.column(1).type):  # a JSON text
        decoded = msgspec.json.decode(value)
        return decoded if isinstance(decoded, str) else value
    return str(value)
