"""GeoParquet 1.1 out, and plain Parquet of a table; attributes have the types that Parquet has for them.

https://geoparquet.org/releases/v1.1.0/ takes geometries in x, y and z only, as ISO WKB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray
from pyarrow.parquet import ParquetWriter

from processes.crs import CRS84, parse_crs
from processes.features.writing.geometry import iso_wkb, output_transform, without_measures
from processes.features.writing.result import ResultLayer
from processes.features.writing.values import encode_json, plain_id_type, plain_ids

_GEOMETRY = "geometry"
_ROW_GROUP = 65536
_TYPES = ("Point", "LineString", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
"""Names by shapely's type ids."""


def write_parquet(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> int:
    """Write row groups of some ten thousand rows; the summary is in the file's metadata, under `summary`."""
    transform = output_transform(result.crs, crs)
    fields = [] if result.id_type is None else [pa.field("id", plain_id_type(result.id_type))]
    fields += [item.remove_metadata() for item in result.schema]
    if transform is not None:
        fields.append(pa.field(_GEOMETRY, pa.large_binary()))
    schema = pa.schema(fields)
    extent = _Extent()

    def batches() -> Iterator[pa.RecordBatch]:
        for rows in result.rows():
            columns = [] if rows.ids is None else [plain_ids(rows.ids)]
            columns += rows.attributes.columns
            if transform is not None:
                shapes = without_measures(transform.moved(rows.geometry, rows.attributes.num_rows))
                extent.add(shapes)
                columns.append(iso_wkb(shapes))
            yield pa.record_batch(columns, schema=schema)

    # with a schema of Arrow beside Parquet's, Arrow would not see the metadata that are known at the end only
    options = {"compression": "zstd", "store_schema": False}
    with path.open("xb") as file, ParquetWriter(file, schema, **options) as writer:
        for group in _groups(batches()):
            writer.write_table(pa.Table.from_batches(group), row_group_size=_ROW_GROUP)
        lost = 0 if transform is None else transform.lost
        metadata = {"summary": encode_json(result.summary(lost)).decode()}
        if transform is not None:
            metadata["geo"] = encode_json(_geo(extent, transform.crs_transform.target)).decode()
        writer.add_key_value_metadata(metadata)
    return lost


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield batches together that fill a row group."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(item.num_rows for item in group) >= _ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


@dataclass(slots=True)
class _Extent:
    """What the file's metadata say of all geometries together."""

    types: set[str] = field(default_factory=set)
    """As GeoParquet names them."""
    low: NDArray[np.float64] = field(default_factory=lambda: np.full(3, np.inf))
    """Least x, y and z; infinite = there are none."""
    high: NDArray[np.float64] = field(default_factory=lambda: np.full(3, -np.inf))
    """Largest x, y and z; infinite = there are none."""

    def add(self, geometries: NDArray[np.object_]) -> None:
        there = ~shapely.is_missing(geometries)
        has_z = shapely.has_z(geometries)
        for mask, ending in ((there & ~has_z, ""), (there & has_z, " Z")):
            self.types.update(
                _TYPES[kind] + ending for kind in np.unique(shapely.get_type_id(geometries[mask])).tolist()
            )
        coordinates = shapely.get_coordinates(geometries, include_z=True)
        coordinates[np.isinf(coordinates)] = np.nan
        if len(coordinates):
            self.low = np.fmin(self.low, np.fmin.reduce(coordinates))
            self.high = np.fmax(self.high, np.fmax.reduce(coordinates))

    def bbox(self) -> list[float] | None:
        """Return the box of all coordinates, with heights where there are any; None = there are no coordinates."""
        known = np.isfinite(self.low)
        if not known[:2].all():
            return None
        return [*self.low[known].tolist(), *self.high[known].tolist()]


def _geo(extent: _Extent, crs: pyproj.CRS) -> dict[str, Any]:
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(extent.types)}
    if crs.to_authority() != parse_crs(CRS84).to_authority():  # CRS84 is what GeoParquet means without a CRS
        column["crs"] = crs.to_json_dict()
    if (bbox := extent.bbox()) is not None:
        column["bbox"] = bbox
    return {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
