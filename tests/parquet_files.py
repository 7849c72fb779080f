"""GeoParquet files that pyarrow writes, with `geo` metadata made by hand from the specification, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.files import read_layer
from processes.settings import Limits

SHAPES = [shapely.box(0, 0, 1, 1), None, shapely.box(2, 2, 3, 3)]


def wkb(shapes: Sequence[Any], **options: Any) -> pa.Array:
    given: dict[str, Any] = {"output_dimension": 4, "flavor": "iso"} | options
    return pa.array(shapely.to_wkb(np.array(shapes, dtype=object), **given), pa.binary())


def geo(column: Mapping[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """Return `geo` metadata of a file with the one geometry column `geometry`."""
    columns = {"geometry": {"encoding": "WKB", "geometry_types": []} | dict(column or {})}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": columns} | members


def save(
    path: Path, columns: Mapping[str, Any], metadata: Any = None, fields: Sequence[pa.Field] = (), **options: Any
) -> Path:
    """Write a file; `metadata` is that of one WKB column by default, bytes as they are, False for none."""
    table = pa.table(dict(columns))
    for item in fields:
        table = table.set_column(table.column_names.index(item.name), item, table.column(item.name))
    if metadata is not False:
        text = metadata if isinstance(metadata, bytes) else json.dumps(geo() if metadata is None else metadata)
        table = table.replace_schema_metadata({"geo": text})
    pq.write_table(table, path, **options)
    return path


def read(path: Path, limit: int = 10_000_000) -> Layer:
    return read_layer(path, "roofs.parquet", None, Limits(max_objects=limit))


def problem(path: Path) -> str:
    with pytest.raises(LayerError) as caught:
        read(path)
    assert str(path.parent) not in caught.value.detail
    return caught.value.detail
