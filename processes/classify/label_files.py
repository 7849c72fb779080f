"""Files of labels: one per section, and put together again for the result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.classify.labels import Labels
from processes.ogc.process import JobFiles, LostFilesError

_BATCH_LIMITS, _WARNINGS = "batch_limits", "warnings"
"""Entries of a file's metadata."""


def save_labels(path: Path, rows: NDArray[np.int64], labels: Labels) -> None:
    """Write the labels of some rows.

    Args:
        path: a new file.
        rows: indices of the rows in the result, `(k,)`.
        labels: of these rows, `(k,)`.
    """
    columns = {
        "row": pa.array(rows),
        "winner": pa.array(labels.winner),
        "confidence": pa.array(labels.confidence),
        "status": pa.array(labels.status),
    }
    if labels.scores is not None:
        columns["scores"] = pa.FixedSizeListArray.from_arrays(labels.scores.reshape(-1), labels.scores.shape[1])
    if labels.values is not None:
        for place, values in enumerate(labels.values.columns):
            columns[f"value-{place}"] = pa.array(values.tolist())
    limits = ",".join(map(str, sorted(labels.batch_limits)))
    table = pa.table(columns, metadata={_BATCH_LIMITS: limits, _WARNINGS: json.dumps(sorted(labels.warnings))})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def labels_name(section: int) -> str:
    """Return the name of the file that has the labels of a section."""
    return f"labels-{section:06}.arrow"


def gather_sections(files: JobFiles, sections: int, labels: Labels) -> None:
    """Copy the labels of all sections to those of all rows.

    Args:
        files: of the job.
        sections: number of sections.
        labels: of all rows, `(n,)`.

    Raises:
        LostFilesError: files of sections are gone or damaged. The first section is a part of the plan.
    """
    lost = []
    for section in range(sections):
        name = labels_name(section)
        try:
            gather_labels(files.fetch(name), labels)
        except (FileNotFoundError, pa.ArrowInvalid):
            lost.append(section)
            files.discard(name)
    if lost:
        raise LostFilesError(() if 0 in lost else lost)


def gather_labels(path: Path, labels: Labels) -> None:
    """Copy the labels of a section to the labels of all rows.

    Args:
        path: the section's file.
        labels: of all rows, `(n,)`.

    Raises:
        FileNotFoundError: there is no such file.
        ArrowInvalid: it is damaged.
    """
    if not path.stat().st_size:
        raise pa.ArrowInvalid("the file is empty")
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
    metadata = table.schema.metadata or {}
    limits = metadata.get(_BATCH_LIMITS.encode(), b"").decode()
    labels.warnings.update(json.loads(metadata.get(_WARNINGS.encode(), b"[]")))
    labels.batch_limits.update(int(limit) for limit in limits.split(",") if limit)
    rows = table.column("row").to_numpy()
    labels.winner[rows] = table.column("winner").to_numpy()
    labels.confidence[rows] = table.column("confidence").to_numpy()
    labels.status[rows] = table.column("status").to_numpy()
    if labels.scores is not None and len(rows):
        scores = table.column("scores").chunk(0).flatten().to_numpy()
        labels.scores[rows] = scores.reshape(len(rows), -1)
    if labels.values is not None:
        for place, values in enumerate(labels.values.columns):
            values[rows] = objects_of(table.column(f"value-{place}").to_pylist())


def objects_of(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return values as an array of objects, `(n,)`."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def labels_of(labels: Labels, rows: NDArray[np.int64]) -> Labels:
    """Return the labels of some of the rows."""
    scores = None if labels.scores is None else labels.scores[rows]
    values = None if labels.values is None else labels.values.of(rows)
    return Labels(
        labels.winner[rows],
        labels.confidence[rows],
        labels.status[rows],
        scores,
        values,
        set(labels.batch_limits),
        set(labels.warnings),
    )


def copy_labels(labels: Labels, rows: NDArray[np.int64], some: Labels) -> None:
    """Copy the labels of some rows to the labels of all.

    Args:
        labels: of all rows.
        rows: indices of the rows, `(k,)`.
        some: their labels, `(k,)`.
    """
    labels.winner[rows], labels.confidence[rows], labels.status[rows] = some.winner, some.confidence, some.status
    labels.batch_limits.update(some.batch_limits)
    labels.warnings.update(some.warnings)
    if labels.scores is not None and some.scores is not None and len(rows):
        labels.scores[rows] = some.scores
    if labels.values is not None and some.values is not None:
        labels.values.put(rows, some.values)
