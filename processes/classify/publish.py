"""Publishing what was found: the objects with their labels, in the form that is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
from numpy.typing import NDArray

from processes import SOFTWARE
from processes.classify.inference import ClassStatus, Labels
from processes.classify.planning.fields import IMAGE_ID
from processes.classify.planning.sources import PlannedRows, Sources
from processes.crs import CRS84, epsg_name, is_longitude_latitude
from processes.errors import InputError, RequestError, at_pointer
from processes.features.writing.prepare import prepare
from processes.features.writing.result import (
    CRS84_ONLY,
    CSV,
    FLATGEOBUF,
    GEOJSON,
    GEOJSON_SEQ,
    GEOPACKAGE,
    NEEDS_GEOMETRY,
    PARQUET,
    ROWS_AT_ONCE,
    TABLE,
    ClassStyle,
    MediaType,
    RowBatch,
)
from processes.features.writing.table import table_field
from processes.features.writing.write import write_result

_MAX_GEOPACKAGE_COLUMNS = 2000
"""As SQLite has it."""
_OWN_COLUMNS = 3
"""A fid, a geometry and an id."""


def offered_media_types(sources: Sources) -> list[MediaType]:
    """Return the forms that suit a result, the default first; a table of a feature layer is had by naming it."""
    if sources.is_table:
        return [TABLE, CSV, PARQUET, GEOPACKAGE]
    return [GEOJSON, GEOPACKAGE, FLATGEOBUF, PARQUET, GEOJSON_SEQ, CSV]


def require_form(sources: Sources, media_type: MediaType, crs: pyproj.CRS | None) -> None:
    """Raise RequestError where a result cannot have a form or a CRS."""
    if media_type in NEEDS_GEOMETRY and sources.is_table:
        raise RequestError.at(
            "/outputs/classifiedObjects/format/mediaType",
            InputError(
                "images without a spatial reference give a table; "
                f"the formats are {', '.join(offered_media_types(sources))}"
            ),
        )
    attributes = 0 if sources.layer is None else sources.layer.attributes.num_columns
    columns = attributes + len(sources.added_fields) + _OWN_COLUMNS
    if media_type == GEOPACKAGE and columns > _MAX_GEOPACKAGE_COLUMNS:
        raise RequestError.at(
            "/outputs/classifiedObjects/format/mediaType",
            InputError(
                f"a GeoPackage has at most {_MAX_GEOPACKAGE_COLUMNS} columns, this result {columns}; "
                "ask for another format"
            ),
        )
    if crs is not None:
        with at_pointer("/inputs/outputCrs"):
            require_crs84(media_type, crs, epsg_name(crs))


def require_crs84(media_type: MediaType | None, crs: pyproj.CRS, name: str) -> None:
    """Raise InputError where a format has coordinates in CRS84 only, and the output is to have another CRS.

    Args:
        media_type: of the output; None = not known yet.
        crs: of the output.
        name: of the CRS, for the message.
    """
    if media_type in CRS84_ONLY and not is_longitude_latitude(crs):
        raise InputError(f"outputCrs is {name}, but GeoJSON is always {CRS84}; ask for another format")


def publish(
    rows: PlannedRows, labels: Labels, media_type: MediaType, crs: pyproj.CRS | None, path: Path, name: str
) -> dict[str, Any]:
    """Write the classified rows and return their summary.

    Args:
        rows: the rows.
        labels: what was found for them.
        media_type: the form.
        crs: of the output; None = that of the features or images, CRS84 in GeoJSON.
        path: a new file.
        name: of the layer.
    """
    sources, found = rows.sources, _summary(rows, labels)
    result = prepare(
        rows.layer,
        rows.ids,
        _schema(rows),
        lambda: _rows(rows, labels),
        media_type,
        name=name,
        key="id" if sources.layer is not None else IMAGE_ID,
        style=ClassStyle(
            sources.options.label_field, tuple((item.name, item.color) for item in sources.model.definition.classes)
        ),
        summary=lambda warnings: {**found, "warnings": [*rows.warnings, *warnings], "software": SOFTWARE},
    )
    return dict(result.summary(write_result(result, media_type, crs, path)))


def result_fields(rows: PlannedRows) -> list[Mapping[str, str]]:
    """Return the fields that a result has, without id and geometry, as Table Schema has them."""
    return [table_field(item) for item in _schema(rows)]


def _schema(rows: PlannedRows) -> pa.Schema:
    return pa.schema([*rows.layer.attributes.schema, *rows.sources.added_fields])


def _rows(rows: PlannedRows, labels: Labels) -> Iterator[RowBatch]:
    layer, schema = rows.layer, _schema(rows)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, len(rows) - start)
        objects = rows.objects[start : start + count]
        attributes = [_taken(column, objects) for column in layer.attributes.columns]
        added = _added_columns(rows, labels, start, start + count)
        yield RowBatch(
            ids=None if rows.ids is None else _one_chunk(rows.ids.slice(start, count)),
            positions=objects + 1,
            geometry=None if layer.geometry is None else _taken(layer.geometry, objects),
            attributes=pa.RecordBatch.from_arrays([*attributes, *added], schema=schema),
        )


def _taken(column: pa.ChunkedArray, objects: NDArray[np.int64]) -> pa.Array:
    """Return the values of some rows' objects, whose places ascend; chunk by chunk, as one text has its limits."""
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
    definition, part = rows.sources.model.definition, slice(start, stop)
    winner, status = labels.winner[part], labels.status[part]
    unlabelled = (winner < 0) | (status != ClassStatus.OK)
    if definition.multi_label and labels.scores is not None:
        names, values = _multi_labels(
            labels.scores[part], winner < 0, rows.sources.arguments.score_threshold, definition.classes
        )
    else:
        names = _picked([item.name for item in definition.classes], winner, pa.string(), unlabelled)
        values = _picked([item.value for item in definition.classes], winner, pa.int64(), unlabelled)
    states = _picked([item.label for item in ClassStatus], status, pa.string(), None)
    columns = [names, values, _probabilities(labels.confidence[part]), states]
    if rows.image_ids is not None:
        place = 0 if rows.sources.layer is None else len(columns)
        columns.insert(place, rows.image_ids.slice(start, stop - start))
    if labels.scores is not None:
        columns += [_probabilities(scores) for scores in labels.scores[part].T]
    return columns


def _picked(
    choices: Sequence[Any], places: NDArray[Any], dtype: pa.DataType, missing: NDArray[np.bool_] | None
) -> pa.Array:
    """Return the choice at each place; null where it is missing."""
    return pa.array(np.array(choices, dtype=object)[places], dtype, mask=missing)


def _multi_labels(
    scores: NDArray[np.float32], missing: NDArray[np.bool_], threshold: float, classes: Sequence[Any]
) -> tuple[pa.Array, pa.Array]:
    """Return the joined names of the classes at or above the threshold, and the value where it is exactly one."""
    patterns, pattern_of = np.unique(scores >= threshold, axis=0, return_inverse=True)
    found = [[item for item, there in zip(classes, pattern, strict=True) if there] for pattern in patterns.tolist()]
    names = pa.array([";".join(item.name for item in items) for items in found], pa.string())
    values = pa.array([items[0].value if len(items) == 1 else None for items in found], pa.int64())
    places = pa.array(pattern_of.reshape(-1), mask=missing)
    return names.take(places), values.take(places)


def _probabilities(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(np.round(values.astype(np.float64), 6), pa.float64(), mask=np.isnan(values))


def _summary(rows: PlannedRows, labels: Labels) -> dict[str, Any]:
    """Return the model, and counts by class and by status."""
    definition = rows.sources.model.definition
    by_status = np.bincount(labels.status, minlength=len(ClassStatus))
    counts: Counter[str] = Counter({item.name: 0 for item in definition.classes})
    if definition.multi_label and labels.scores is not None:
        above = (labels.scores >= rows.sources.arguments.score_threshold).sum(axis=0)
        counts.update({item.name: int(count) for item, count in zip(definition.classes, above, strict=True)})
    else:
        found = np.bincount(labels.winner[labels.status == ClassStatus.OK], minlength=len(definition.classes))
        for item, count in zip(definition.classes, found, strict=True):
            counts[item.name] += int(count)
    return {
        "model": {"id": rows.sources.model.id, "sha256": rows.sources.model.sha256},
        "counts": dict(counts),
        "status": {
            item.label: int(by_status[item]) for item in ClassStatus if by_status[item] or item is ClassStatus.OK
        },
    }
