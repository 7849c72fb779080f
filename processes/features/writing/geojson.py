"""GeoJSON (RFC 7946): one collection of features, always in CRS84."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, CrsTransform, parse_crs
from processes.features.writing.ahead import one_ahead
from processes.features.writing.format import HEIGHTS, Format
from processes.features.writing.geojson_geometry import geometry_texts
from processes.features.writing.geometry import OutputTransform
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.texts import TEXT, in_one, joined
from processes.features.writing.values import encode_json, encoded, json_texts

_POSITIONS_AT_ONCE = 2**15
"""Of which texts are made: they have a few megabytes."""


def write_geojson(result: ResultLayer, _crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write a FeatureCollection, one feature per line, with the summary as a foreign member at the end.

    Arguments as `Format.write` has them.
    """
    transform = crs84_transform(result)
    with path.open("xb") as file:
        file.write(b'{"type": "FeatureCollection", "name": %s, "features": [' % encode_json(result.name))
        separator = b"\n"
        for features in feature_texts(result, transform):
            file.write(separator)
            file.write(in_one(features, ",\n"))
            separator = b",\n"
        file.write(b'\n], "summary": %s}\n' % encode_json(result.summary(transform.warnings)))
    return transform.warnings


def crs84_transform(result: ResultLayer) -> OutputTransform:
    """Return the transform of a result's geometries to CRS84."""
    lonlat = parse_crs(CRS84)
    return OutputTransform(CrsTransform(result.crs or lonlat, lonlat), only_finite=True)


def feature_texts(result: ResultLayer, transform: OutputTransform) -> Iterator[pa.Array]:
    """Yield the rows of each batch as JSON texts of Features, on one line each, `(n,)`."""

    def with_geometries() -> Iterator[tuple[RowBatch, NDArray[np.object_]]]:
        for rows in result.rows():
            yield rows, transform.apply(rows.geometry, rows.attributes.num_rows)

    for rows, geometries in one_ahead(with_geometries()):
        ids = id_texts(rows.ids, len(geometries))
        for part in _parts(geometries):
            own = geometry_texts(geometries[part])
            yield features_of(ids[part], own, rows.attributes.slice(part.start, len(own)))


def _parts(geometries: NDArray[np.object_]) -> Iterator[slice]:
    """Yield ranges of geometries with not many more positions than `_POSITIONS_AT_ONCE`, save where one alone has."""
    ends = np.cumsum(shapely.get_num_coordinates(geometries))
    cuts = np.flatnonzero(np.diff(ends // _POSITIONS_AT_ONCE)) + 1
    for start, stop in pairwise(sorted({0, *cuts.tolist(), len(geometries)})):
        yield slice(start, stop)


def features_of(ids: pa.Array, geometries: pa.Array, attributes: pa.RecordBatch) -> pa.Array:
    """Return the JSON texts of Features, on one line each, `(n,)`.

    Args:
        ids: JSON texts; null where a feature has none.
        geometries: JSON texts.
        attributes: of the features.
    """
    return joined(
        '{"type": "Feature", ',
        joined('"id": ', ids, ", "),
        '"geometry": ',
        geometries,
        ', "properties": ',
        _objects(attributes),
        "}",
        skips_null=True,
    )


def _objects(batch: pa.RecordBatch) -> pa.Array | str:
    """Return rows as JSON objects, without the properties that a feature does not have."""
    texts = [json_texts(item, values) for item, values in zip(batch.schema, batch.columns, strict=True)]
    if not texts:
        return "{}"
    first = "," if texts[0].null_count else ""  # where it is absent, another one's comma would come first
    members = [
        joined(f"{',' if index else first}{encode_json(name).decode()}:", values)
        for index, (name, values) in enumerate(zip(batch.schema.names, texts, strict=True))
    ]
    objects = joined("{", *members, "}", skips_null=True)
    return pc.replace_substring(objects, "{,", "{", max_replacements=1) if first else objects


def id_texts(ids: pa.Array | None, count: int) -> pa.Array:
    """Return ids as JSON texts, `(count,)`; null where a feature has none."""
    if ids is None:
        return pa.nulls(count, TEXT)
    if pa.types.is_large_string(ids.type):  # JSON texts already
        return ids
    return pc.if_else(ids.is_valid(), encoded(ids.to_pylist()), pa.scalar(None, TEXT))


def only_heights(_iso_types: frozenset[int]) -> int:
    """Return the dimensions that GeoJSON keeps."""
    return HEIGHTS


GEOJSON = Format(
    media_type="application/geo+json",
    name="GeoJSON",
    ending=".geojson",
    schema={"type": "object", "format": "geojson-feature-collection"},
    write=write_geojson,
    needs_geometry=True,
    is_crs84_only=True,
    keeps_json_values=True,
    kept_dimensions=only_heights,
)
