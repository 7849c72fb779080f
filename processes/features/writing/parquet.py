"""GeoParquet 1.1, and plain Parquet of a table; attributes have the types that Parquet has for them.

https://geoparquet.org/releases/v1.1.0/ takes geometries in x, y and z only, as ISO WKB. As it recommends, a column has
the box of each geometry, whose statistics tell a reader which row groups it can skip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import is_longitude_latitude, is_north_first, without_code
from processes.features.wkb import is_plain
from processes.features.writing.ahead import one_ahead
from processes.features.writing.format import HEIGHTS, Format
from processes.features.writing.geometry import iso_wkb, late_warnings, output_transform, without_measures
from processes.features.writing.result import ResultLayer
from processes.features.writing.values import encode_json, plain_id_type, plain_ids

_GEOMETRY = "geometry"
_BOX_TYPE = pa.struct([(name, pa.float32()) for name in ("xmin", "ymin", "xmax", "ymax")])
_ROW_GROUP = 65536
"""Rows of a full row group."""
_OF_ONE_HEADER = frozenset({1, 2, 3, 1001, 1002, 1003})
"""ISO types without parts of another type, and without measures: where the header is that of ISO WKB, all is."""
_TYPES = ("Point", "LineString", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
"""GeoParquet's names by shapely's type ids."""


def write_parquet(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write row groups of some ten thousand rows; the summary is in the file's metadata, under `summary`.

    Arguments as `Format.write` has them.
    """
    transform = output_transform(result.crs, crs)
    fields = [] if result.id_type is None else [pa.field("id", plain_id_type(result.id_type))]
    fields += [item.remove_metadata() for item in result.schema]
    box_name = _box_name(result)
    if transform is not None:
        fields += [pa.field(_GEOMETRY, pa.large_binary()), pa.field(box_name, _BOX_TYPE)]
    schema = pa.schema(fields)
    extent = _Extent()

    def batches() -> Iterator[pa.RecordBatch]:
        for rows in result.rows():
            columns = [] if rows.ids is None else [plain_ids(rows.ids)]
            columns += rows.attributes.columns
            if transform is not None:
                geometries = without_measures(transform.apply(rows.geometry, rows.attributes.num_rows))
                wkb = None if transform.is_needed else _as_it_came(rows.geometry, geometries, result.iso_types)
                columns += [iso_wkb(geometries) if wkb is None else wkb, extent.add(geometries)]
            yield pa.record_batch(columns, schema=schema)

    from pyarrow.parquet import ParquetWriter  # slow to import, and other formats go without it

    # with a schema of Arrow beside Parquet's, Arrow would not see the metadata that are known at the end only
    # boxes hardly repeat: to try them in a dictionary would cost more than to write all else of them
    in_dictionaries = [name for name in schema.names if transform is None or name != box_name]
    options: dict[str, Any] = {"compression": "zstd", "store_schema": False, "use_dictionary": in_dictionaries}
    with path.open("xb") as file, ParquetWriter(file, schema, **options) as writer:
        for group in _groups(one_ahead(batches())):
            writer.write_table(pa.Table.from_batches(group), row_group_size=_ROW_GROUP)
        metadata = {"summary": encode_json(result.summary(late_warnings(transform))).decode()}
        if transform is not None:
            metadata["geo"] = encode_json(_geo(extent, transform.crs_transform.target, box_name)).decode()
        writer.add_key_value_metadata(metadata)
    return late_warnings(transform)


def _as_it_came(wkb: pa.Array | None, geometries: NDArray[np.object_], iso_types: frozenset[int]) -> pa.Array | None:
    """Return geometries that are ISO WKB as GeoParquet has it already; None = some may not be.

    Args:
        wkb: the geometries, `(n,)`.
        geometries: the same ones, read.
        iso_types: of the layer.
    """
    if wkb is None or not iso_types <= _OF_ONE_HEADER or not is_plain(wkb):
        return None
    has_more = (pc.sum(pc.binary_length(wkb)).as_py() or 0) != _wkb_bytes(geometries[~shapely.is_missing(geometries)])
    return None if has_more else wkb.cast(pa.large_binary())


def _wkb_bytes(geometries: NDArray[np.object_]) -> int:
    """Return how many bytes points, lines and polygons take as WKB, none of which has bytes that stand for nothing."""
    type_ids, dimensions = shapely.get_type_id(geometries), np.where(shapely.has_z(geometries), 3, 2)
    is_point, is_polygon = type_ids == shapely.GeometryType.POINT, type_ids == shapely.GeometryType.POLYGON
    positions = np.where(is_point, 1, shapely.get_num_coordinates(geometries))
    rings = (shapely.get_num_interior_rings(geometries) + 1) * (is_polygon & ~shapely.is_empty(geometries))
    return int((5 + 4 * ~is_point + 4 * rings + 8 * dimensions * positions).sum())


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield the batches of each row group."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(item.num_rows for item in group) >= _ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


class _Extent(msgspec.Struct):
    """Types and bounds of all geometries, for the file's metadata."""

    types: set[str] = msgspec.field(default_factory=set)
    """Types of the geometries, as GeoParquet names them."""
    low: NDArray[np.float64] = msgspec.field(default_factory=lambda: np.full(3, np.inf))
    """Least x, y and z, in the CRS of the output, `(3,)`; infinite = there are none."""
    high: NDArray[np.float64] = msgspec.field(default_factory=lambda: np.full(3, -np.inf))
    """Largest x, y and z, in the CRS of the output, `(3,)`; minus infinity = there are none."""

    def add(self, geometries: NDArray[np.object_]) -> pa.Array:
        """Add geometries, None where one is missing, and return their boxes, null where there is none, `(n,)`."""
        has_z = shapely.has_z(geometries)
        for mask, dimensions in ((~has_z & ~shapely.is_missing(geometries), ""), (has_z, " Z")):
            type_ids = np.unique(shapely.get_type_id(geometries[mask])).tolist()
            self.types.update(_TYPES[type_id] + dimensions for type_id in type_ids)
        boxes = shapely.bounds(geometries)
        self._widen(0, boxes[:, :2], boxes[:, 2:])
        if has_z.any():
            heights = shapely.get_coordinates(geometries[has_z], include_z=True)[:, 2:]
            self._widen(2, heights, heights)
        has_box = ~np.isnan(boxes).any(axis=1)
        sides = [pa.array(side) for side in (*_rounded(boxes.T[:2], -np.inf), *_rounded(boxes.T[2:], np.inf))]
        return pa.StructArray.from_arrays(sides, fields=list(_BOX_TYPE), mask=pa.array(~has_box))

    def _widen(self, first: int, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Widen the extent by coordinates of the dimensions from `first` on, each `(n, dimensions)`."""
        if len(low):
            part = slice(first, first + low.shape[1])
            self.low[part] = np.fmin(self.low[part], np.fmin.reduce(np.where(np.isinf(low), np.nan, low)))
            self.high[part] = np.fmax(self.high[part], np.fmax.reduce(np.where(np.isinf(high), np.nan, high)))

    def bbox(self) -> list[float] | None:
        """Return the box of all coordinates, with heights where there are any; None = there are no coordinates."""
        is_finite = np.isfinite(self.low)
        if not is_finite[:2].all():
            return None
        return [*self.low[is_finite].tolist(), *self.high[is_finite].tolist()]


def _rounded(sides: NDArray[np.float64], outward: float) -> NDArray[np.float32]:
    """Return sides of boxes in single precision, rounded so that the boxes still hold what they held."""
    with np.errstate(over="ignore"):
        rounded = sides.astype(np.float32)
    is_inside = (rounded > sides) if outward < 0 else (rounded < sides)
    rounded[is_inside] = np.nextafter(rounded[is_inside], np.float32(outward))
    return rounded


def _box_name(result: ResultLayer) -> str:
    """Return the name of the column of boxes: `bbox`, with a number where an attribute has that name."""
    taken, number = {name.lower() for name in result.schema.names}, 0
    while (name := f"bbox_{number}" if number else "bbox") in taken:
        number += 1
    return name


def _geo(extent: _Extent, crs: pyproj.CRS, box_name: str) -> dict[str, Any]:
    """Return the metadata `geo`."""
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(extent.types)}
    if not is_longitude_latitude(crs) or is_north_first(crs):  # CRS84 is what GeoParquet means without a CRS
        column["crs"] = without_code(crs).to_json_dict()
    if (bbox := extent.bbox()) is not None:
        column["bbox"] = bbox
    column["covering"] = {"bbox": {item.name: [box_name, item.name] for item in _BOX_TYPE}}
    return {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}


def _reserved_names(result: ResultLayer) -> set[str]:
    ids = set() if result.id_type is None else {"id"}
    return ids if result.crs is None else ids | {_GEOMETRY}


def _kept_dimensions(_iso_types: frozenset[int]) -> int:
    return HEIGHTS


PARQUET = Format(
    media_type="application/vnd.apache.parquet",
    name="GeoParquet",
    ending=".parquet",
    schema={"type": "string", "format": "binary", "title": "GeoParquet"},
    write=write_parquet,
    reserved_names=_reserved_names,
    kept_dimensions=_kept_dimensions,
)
