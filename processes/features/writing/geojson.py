"""GeoJSON (RFC 7946): one collection of features, always in CRS84."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, CrsTransform, parse_crs
from processes.features.layer import OMIT_NULLS, is_json_text
from processes.features.writing.ahead import one_ahead
from processes.features.writing.format import HEIGHTS, Format
from processes.features.writing.geometry import OutputTransform
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.values import encode_json, json_values


def write_geojson(result: ResultLayer, _crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write a FeatureCollection, one feature per line, with the summary as a foreign member at the end.

    Arguments as `Format.write` has them.
    """
    transform = crs84_transform(result)
    with path.open("xb") as file:
        file.write(b'{"type": "FeatureCollection", "name": %s, "features": [' % encode_json(result.name))
        separator = b"\n"
        for features in feature_texts(result, transform):
            if features:
                file.write(separator + b",\n".join(features))
                separator = b",\n"
        file.write(b'\n], "summary": %s}\n' % encode_json(result.summary(transform.warnings)))
    return transform.warnings


def crs84_transform(result: ResultLayer) -> OutputTransform:
    """Return the transform of a result's geometries to CRS84."""
    lonlat = parse_crs(CRS84)
    return OutputTransform(CrsTransform(result.crs or lonlat, lonlat), only_finite=True)


def feature_texts(result: ResultLayer, transform: OutputTransform) -> Iterator[list[bytes]]:
    """Yield the rows of each batch as JSON texts of Features, on one line each."""

    def with_geometries() -> Iterator[tuple[RowBatch, list[str]]]:
        for rows in result.rows():
            yield rows, geometry_texts(transform.apply(rows.geometry, rows.attributes.num_rows))

    for rows, texts in one_ahead(with_geometries()):
        yield [
            b'{"type": "Feature", %s"geometry": %s, "properties": %s}'
            % (b'"id": %s, ' % identifier if identifier else b"", geometry.encode(), encode_json(properties))
            for identifier, geometry, properties in zip(
                id_texts(rows.ids, len(texts)), texts, properties_of(rows.attributes), strict=True
            )
        ]


def geometry_texts(geometries: NDArray[np.object_]) -> list[str]:
    """Return geometries as the JSON texts of GeoJSON."""
    texts: list[str | None] = np.asarray(shapely.to_geojson(geometries)).tolist()
    # GEOS gives an empty polygon an empty ring, which RFC 7946 does not know
    return ["null" if text is None else text.replace("[[]]", "[]") for text in texts]


def id_texts(ids: pa.Array | None, count: int) -> list[bytes | None]:
    """Return ids as JSON texts; None where a feature has none."""
    if ids is None:
        return [None] * count
    if pa.types.is_large_string(ids.type):  # JSON texts already
        return [None if text is None else text.encode() for text in ids.to_pylist()]
    return [None if value is None else encode_json(value) for value in ids.to_pylist()]


def properties_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the properties of each row, without those that its feature does not have."""
    if not batch.num_columns:
        yield from ({} for _ in range(batch.num_rows))
    names = batch.schema.names
    columns = [
        json_values(item, values, msgspec.UNSET) for item, values in zip(batch.schema, batch.columns, strict=True)
    ]
    if not any(is_json_text(item) or item.metadata == OMIT_NULLS for item in batch.schema):  # each has them all
        yield from (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
        return
    for values in zip(*columns, strict=True):
        yield {name: value for name, value in zip(names, values, strict=True) if value is not msgspec.UNSET}


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
