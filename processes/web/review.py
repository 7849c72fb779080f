"""The view of a result for who looks through it: the objects that match, the least sure ones first."""

from __future__ import annotations

import math
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from flask import Response, request
from numpy.typing import NDArray
from pygeoapi.api import API

from processes.classify.planning.fields import DEFAULT_FIELD
from processes.errors import Fault, InputError, RequestError
from processes.features.serving.stored_result import StoredResult
from processes.jobs.job import JobStatus
from processes.jobs.manager import JobManager
from processes.ogc.schema import quoted
from processes.sources.media_types import JSON
from processes.web.forms import stored_result
from processes.web.jobs import find_job
from processes.web.paging import ListPage
from processes.web.results import job_error
from processes.web.views import View

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
        low, high = _share("minConfidence", 0, faults), _share("maxConfidence", 1, faults)
        if faults:
            raise RequestError(faults)
        stored = stored_result(manager.intake, job)
        document = _document(stored, low, high, page)
        return Response(msgspec.json.encode(document, enc_hook=str), content_type=JSON)

    return review


def _document(stored: StoredResult, low: float, high: float, page: ListPage) -> dict[str, Any]:
    """Return the objects of a page, and how the confidences of all that match lie.

    Args:
        stored: the result.
        low: least confidence; 0 takes objects without one, too.
        high: greatest confidence.
        page: which objects.
    """
    table, label = stored.table(), stored.style.label_field
    value, status = (
        ("Confidence", "ClassStatus") if label == DEFAULT_FIELD else (f"{label}_Confidence", f"{label}_Status")
    )
    confidence = np.asarray(pc.fill_null(table[value].cast(pa.float64()), math.nan).to_numpy(), np.float64)
    matches = _matches(table, label, status)
    with np.errstate(invalid="ignore"):
        matches &= ((confidence >= low) & (confidence <= high)) | (np.isnan(confidence) & (low == 0))
    rows = np.flatnonzero(matches)
    order = rows[np.argsort(confidence[rows], kind="stable")]  # those without a confidence come last
    shown = order[page.offset : page.offset + min(page.limit, _MAX_OBJECTS)]
    part = table.take(pa.array(shown))
    attributes = part.select([field.name for field in stored.schema]).to_pylist()
    known = confidence[rows][~np.isnan(confidence[rows])]
    return {
        "matched": len(rows),
        "histogram": np.histogram(known, _BINS, (0, 1))[0].tolist(),
        "objects": [
            {
                "id": _identifier(stored, part, index),
                "label": properties[label],
                "confidence": properties[value],
                "status": properties[status],
                "properties": properties,
            }
            for index, properties in enumerate(attributes)
        ],
    }


def _matches(table: pa.Table, label: str, status: str) -> NDArray[np.bool_]:
    """Return which rows have the class and the status that the request names; True = matches."""
    matches = np.ones(table.num_rows, np.bool_)
    if name := request.args.get("class"):
        names = pc.binary_join_element_wise(";", pc.fill_null(table[label], ""), ";", "")
        matches &= np.asarray(pc.match_substring(names, f";{name};"), np.bool_)
    if kind := request.args.get("status"):
        matches &= np.asarray(pc.equal(table[status], kind), np.bool_)
    return matches


def _identifier(stored: StoredResult, rows: pa.Table, index: int) -> str:
    """Return what names a row in addresses: its id, or its position where it has none."""
    value = rows.column(1)[index].as_py() if stored.has_ids else None
    if value is None or value == "null":
        return str(rows.column(0)[index].as_py())
    if isinstance(value, str) and pa.types.is_large_string(rows.column(1).type):  # a JSON text
        decoded = msgspec.json.decode(value)
        return decoded if isinstance(decoded, str) else value
    return str(value)


def _share(name: str, default: float, faults: list[Fault]) -> float:
    text = request.args.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        faults.append(Fault(f"/{name}", InputError(f"{name} is {quoted(text)}, not a number from 0 to 1")))
        return default
    return value
