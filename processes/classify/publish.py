"""The result: the objects with their labels, in an output format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
from numpy.typing import NDArray

from processes import SOFTWARE
from processes.classify.labels import ClassStatus, Labels
from processes.classify.planning.coordinates import unknown_shift_warnings
from processes.classify.planning.fields import IMAGE_ID
from processes.classify.planning.sources import PlannedRows, Sources
from processes.classify.summary import class_style, counts_summary
from processes.crs import CRS84, crs_label, is_longitude_latitude, parse_crs
from processes.errors import InputError, PackageError, RequestError, at_pointer
from processes.features.serving.stored_result import StoredResult, SummaryParts, store_result
from processes.features.writing.format import Format
from processes.features.writing.formats import offered_formats
from processes.features.writing.result import ROWS_AT_ONCE, RowBatch, result_layer
from processes.features.writing.table import table_field
from processes.features.writing.write import write_result

_OWN_COLUMNS = 3
"""A fid, a geometry and an id."""


def require_format(sources: Sources, output_format: Format, crs: pyproj.CRS | None) -> None:
    """Raise RequestError where a result cannot have a format or a CRS.

    Args:
        sources: what the run works on.
        output_format: the format.
        crs: CRS of the output; None = as suits the result.
    """
    if output_format.needs_geometry and sources.is_table:
        offers = ", ".join(item.media_type for item in offered_formats(is_table=True))
        raise RequestError.at(
            "/outputs/classifiedObjects/format/mediaType",
            InputError(f"images without a spatial reference give a table; the formats are {offers}"),
        )
    attributes = 0 if sources.layer is None else sources.layer.attributes.num_columns
    columns = attributes + len(sources.added_fields) + _OWN_COLUMNS
    if output_format.max_columns is not None and columns > output_format.max_columns:
        raise RequestError.at(
            "/outputs/classifiedObjects/format/mediaType",
            InputError(
                f"a {output_format.name} has at most {output_format.max_columns} columns, this result {columns}; "
                "ask for another format"
            ),
        )
    if crs is not None:
        with at_pointer("/inputs/outputCrs"):
            require_crs84(output_format, crs, crs_label(crs))


def require_crs84(output_format: Format, crs: pyproj.CRS, name: str) -> None:
    """Raise InputError where a format has coordinates in CRS84 only, and the output is to have another CRS.

    Args:
        output_format: of the output.
        crs: of the output.
        name: of the CRS, for the message.
    """
    if output_format.is_crs84_only and not is_longitude_latitude(crs):
        raise InputError(f"outputCrs is {name}, but {output_format.name} is always {CRS84}; ask for another format")


def publish(
    rows: PlannedRows,
    labels: Labels,
    output_format: Format,
    crs: pyproj.CRS | None,
    path: Path,
    name: str,
    stored: Path | None = None,
) -> dict[str, Any]:
    """Write the classified rows and return their summary.

    Args:
        rows: the rows.
        labels: of the rows.
        output_format: the format.
        crs: CRS of the output; None = that of the features or images, CRS84 in GeoJSON.
        path: a new file.
        name: name of the layer.
        stored: a new file from which other formats can be written later; None = there is none.

    Raises:
        RequestError: no row has a label, as the network gave no finite number for any.
    """
    sources, style = rows.sources, class_style(rows.sources)
    is_crs84_only = output_format.is_crs84_only

    def shift_warnings(target: pyproj.CRS | None, is_told: bool) -> list[str]:
        is_needed = is_told or stored is not None  # by other formats, later
        return unknown_shift_warnings(rows.layer.crs, target, sources.images) if is_needed else []

    parts = SummaryParts(
        counts=counts_summary(rows, labels),
        warnings=[
            *rows.warnings,
            *_not_finite_warnings(rows, labels),
            *_function_warnings(rows, labels),
            *_memory_warnings(labels),
            *sorted(labels.warnings),
        ],
        crs84_warnings=shift_warnings(parse_crs(CRS84), is_crs84_only),
        crs_warnings=shift_warnings(crs, not is_crs84_only),
        software=SOFTWARE,
    )
    result = result_layer(
        rows.layer,
        rows.ids,
        _schema(rows),
        lambda: _row_batches(rows, labels),
        name=name,
        key="id" if sources.layer is not None else IMAGE_ID,
        style=style,
        make_summary=lambda warnings: parts.summary(rows.layer.crs, output_format, crs, warnings),
    )
    if stored is None:
        return write_result(result, output_format, crs, path)
    store_result(result, style, parts, crs, stored)
    return StoredResult(stored).write(output_format, path)


def _function_warnings(rows: PlannedRows, labels: Labels) -> list[str]:
    """Warn of labels of a raster function that are no classes of the model: they stand in no count."""
    if labels.values is None or rows.sources.model.definition.multi_label:
        return []
    others = int(((labels.status == ClassStatus.OK) & (labels.winner < 0)).sum())
    words = f"{others} of {len(rows)} objects have a label that is none of the model's classes"
    return [f"{words}: it is the raster function's"] if others else []


def _not_finite_warnings(rows: PlannedRows, labels: Labels) -> list[str]:
    """Warn of rows for which the network gave no finite number; where all are so, raise RequestError."""
    broken = np.flatnonzero(labels.status == ClassStatus.NOT_FINITE)
    if not len(broken):
        return []
    first = rows.name(int(broken[0]))
    if len(broken) == len(rows):
        error = PackageError(f"the network's output is not a finite number for any object, from {first} on")
        raise RequestError.at("/inputs/model", error)
    return [
        f"{len(broken)} of {len(rows)} objects have the status {ClassStatus.NOT_FINITE.label}: the network gave "
        f"something that is no finite number; the first is {first}"
    ]


def _memory_warnings(labels: Labels) -> list[str]:
    """Warn where the memory was not enough for the batches, once, with the size that they came to."""
    if not labels.batch_limits:
        return []
    least = min(labels.batch_limits)
    return [
        f"the memory was not enough for the batches: they were halved, down to {least} "
        f"{'chip' if least == 1 else 'chips'}; the argument batch_size sets their size"
    ]


def result_fields(rows: PlannedRows) -> list[Mapping[str, str]]:
    """Return the fields of a result, without id and geometry, as Table Schema has them."""
    return [table_field(item) for item in _schema(rows)]


def _schema(rows: PlannedRows) -> pa.Schema:
    return pa.schema([*rows.layer.attributes.schema, *rows.sources.added_fields])


def _row_batches(rows: PlannedRows, labels: Labels) -> Iterator[RowBatch]:
    layer, schema = rows.layer, _schema(rows)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, len(rows) - start)
        objects = rows.objects[start : start + count]
        attributes = [_take(column, objects) for column in layer.attributes.columns]
        added = _added_columns(rows, labels, start, start + count)
        yield RowBatch(
            ids=None if rows.ids is None else _one_chunk(rows.ids.slice(start, count)),
            positions=objects + 1,
            geometry=None if layer.geometry is None else _take(layer.geometry, objects),
            attributes=pa.RecordBatch.from_arrays([*attributes, *added], schema=schema),
        )


def _take(column: pa.ChunkedArray, objects: NDArray[np.int64]) -> pa.Array:
    """Return the values of objects, whose indices ascend, `(n,)`.

    It goes chunk by chunk, as the texts of an Arrow array cannot have more than 2 GiB together.
    """
    if (np.diff(objects) == 1).all():
        return _one_chunk(column.slice(int(objects[0]), len(objects)))
    starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
    edges = np.searchsorted(objects, starts)
    return pa.concat_arrays(
        chunk.take(pa.array(objects[low:high] - start))
        for chunk, start, low, high in zip(column.chunks, starts[:-1], edges[:-1], edges[1:], strict=True)
        if low < high
    )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else pa.array([], column.type)
    )


def _added_columns(rows: PlannedRows, labels: Labels, start: int, stop: int) -> list[pa.Array]:
    """Return the values of the added fields of a range of rows."""
    definition, part = rows.sources.model.definition, slice(start, stop)
    winner, status = labels.winner[part], labels.status[part]
    unlabelled = (winner < 0) | (status != ClassStatus.OK)
    if labels.values is not None:
        names = pa.array(labels.values.labels[part], pa.string(), mask=status != ClassStatus.OK)
        values = _pick([item.value for item in definition.classes], winner, pa.int64(), unlabelled)
    elif definition.multi_label and labels.scores is not None:
        names, values = _multi_labels(
            labels.scores[part], winner < 0, rows.sources.arguments.score_threshold, definition.classes
        )
    else:
        names = _pick([item.name for item in definition.classes], winner, pa.string(), unlabelled)
        values = _pick([item.value for item in definition.classes], winner, pa.int64(), unlabelled)
    statuses = _pick([item.label for item in ClassStatus], status, pa.string(), None)
    columns = [names, values, _probabilities(labels.confidence[part]), statuses]
    if rows.image_ids is not None:
        position = 0 if rows.sources.layer is None else len(columns)
        columns.insert(position, rows.image_ids.slice(start, stop - start))
    if labels.scores is not None:
        columns += [_probabilities(scores) for scores in labels.scores[part].T]
    if labels.values is not None:
        fields = rows.sources.added_fields[len(columns) :]
        columns += [
            pa.array(column[part], item.type) for item, column in zip(fields, labels.values.fields, strict=True)
        ]
    return columns


def _pick(
    choices: Sequence[Any], indices: NDArray[Any], dtype: pa.DataType, is_missing: NDArray[np.bool_] | None
) -> pa.Array:
    """Return the choice at each index, `(n,)`; null where it is missing."""
    return pa.array(np.array(choices, dtype=object)[indices], dtype, mask=is_missing)


def _multi_labels(
    scores: NDArray[np.float32], is_missing: NDArray[np.bool_], threshold: float, classes: Sequence[Any]
) -> tuple[pa.Array, pa.Array]:
    """Return the joined names of the classes at or above the threshold, and the value where it is exactly one."""
    patterns, pattern_of = np.unique(scores >= threshold, axis=0, return_inverse=True)
    combinations = [list(compress(classes, pattern)) for pattern in patterns.tolist()]
    names = pa.array([";".join(item.name for item in items) for items in combinations], pa.string())
    values = pa.array([items[0].value if len(items) == 1 else None for items in combinations], pa.int64())
    indices = pa.array(pattern_of.reshape(-1), mask=is_missing)
    return names.take(indices), values.take(indices)


def _probabilities(values: NDArray[np.float32]) -> pa.Array:
    """Return probabilities with six decimals; null where one is not a number."""
    return pa.array(np.round(values.astype(np.float64), 6), pa.float64(), mask=np.isnan(values))
