"""A classified layer, ready to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
from numpy.typing import NDArray

from processes.features.layer import Layer
from processes.features.wkb import read_iso_types
from processes.features.writing.class_style import ClassStyle

ROWS_AT_ONCE = 16384
"""Most rows that are Python objects at a time."""


class RowBatch(msgspec.Struct, frozen=True):
    """A range of rows of a result."""

    ids: pa.Array | None
    """`(n,)`; None = the rows have no ids."""
    positions: NDArray[np.int64]
    """Position of each row's feature in the input, from 1, `(n,)`."""
    geometry: pa.Array | None
    """WKB, null where a row has no geometry, `(n,)`; None = the result is a table."""
    attributes: pa.RecordBatch
    """The input's attributes and the added fields, n rows."""


class ResultLayer(msgspec.Struct, frozen=True):
    """A classified layer, ready to be written."""

    name: str
    crs: pyproj.CRS | None
    """CRS of the geometry in `rows`; None = a table without geometry."""
    geometry_type: str
    """The type that the input declares, as GDAL names it."""
    iso_types: frozenset[int]
    """ISO types of the geometries: 1 = point … 6 = multi-polygon, + 1000 with Z, + 2000 with M."""
    key: str
    """Name of the column that identifies rows in a table."""
    id_type: pa.DataType | None
    """Type of the rows' ids; None = the rows have no ids."""
    ids_ascend: bool
    """True = all ids are whole numbers, each larger than the one before."""
    schema: pa.Schema
    """Schema of the attributes and the added fields."""
    rows: Callable[[], Iterator[RowBatch]]
    """Yields all rows from the first one, each time it is called."""
    make_summary: Callable[[Sequence[str]], Mapping[str, Any]]
    """Returns the summary with these warnings of the writing."""
    style: ClassStyle | None
    """None = the map shows the result as it likes."""
    early_times: frozenset[int]
    """Indices in `schema` of the attributes that have times before 1970."""
    warnings: tuple[str, ...] = ()
    """Warnings of what the format changes or leaves out."""

    def summary(self, late_warnings: Sequence[str] = ()) -> dict[str, Any]:
        """Return the summary, with warnings that are known when all rows are written."""
        return dict(self.make_summary([*self.warnings, *late_warnings]))


def result_layer(
    layer: Layer,
    ids: pa.ChunkedArray | None,
    schema: pa.Schema,
    rows: Callable[[], Iterator[RowBatch]],
    *,
    name: str,
    key: str,
    style: ClassStyle | None,
    make_summary: Callable[[Sequence[str]], Mapping[str, Any]],
) -> ResultLayer:
    """Return a layer's rows as a result, not yet fitted to a format.

    Args:
        layer: the objects of the rows.
        ids: of the rows; None = they have none.
        schema: of the rows' attributes.
        rows: yields the rows, each time it is called.
        name: of the result.
        key: name of the column that identifies rows in a table.
        style: of the classes; None = the result has none.
        make_summary: returns the summary with these warnings.
    """
    return ResultLayer(
        name=name,
        crs=layer.crs,
        geometry_type=layer.geometry_type,
        iso_types=read_iso_types(layer.geometry),
        key=key,
        id_type=None if ids is None else ids.type,
        ids_ascend=_ascend(ids),
        schema=schema,
        rows=rows,
        make_summary=make_summary,
        style=style,
        early_times=frozenset(index for index, values in enumerate(layer.attributes.columns) if _is_early(values)),
    )


def _is_early(values: pa.ChunkedArray) -> bool:
    """Return whether values are times, one of them before 1970."""
    if not pa.types.is_timestamp(values.type):
        return False
    earliest = pc.min(values).cast(pa.int64()).as_py()
    return earliest is not None and earliest < 0


def _ascend(ids: pa.ChunkedArray | None) -> bool:
    """Return whether ids are whole numbers from 0, none missing, each larger than the one before."""
    if ids is None or not pa.types.is_integer(ids.type) or ids.null_count:
        return False
    values: NDArray[np.int64] = ids.to_numpy()
    return bool((np.diff(values) > 0).all()) and (len(values) == 0 or values[0] >= 0)


def with_attributes(rows: RowBatch, columns: Sequence[pa.Array], schema: pa.Schema) -> RowBatch:
    """Return rows with other attributes.

    Args:
        rows: the rows, n of them.
        columns: the attributes, each `(n,)`.
        schema: of the attributes.
    """
    return msgspec.structs.replace(rows, attributes=pa.RecordBatch.from_arrays(columns, schema=schema))
