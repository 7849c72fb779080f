"""What a Parquet file says of its geometry columns: by GeoParquet's metadata `geo`, or by the types of the columns.

GeoParquet 0.1 to 2.0: https://geoparquet.org/releases/. Parquet's types GEOMETRY and GEOGRAPHY:
https://github.com/apache/parquet-format/blob/master/Geospatial.md. GeoArrow: https://geoarrow.org/extension-types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pyproj

from processes.crs import CRS84, parse_crs
from processes.errors import InputError, LayerError

_MAX_GEO_BYTES = 8 * 2**20
_VERSION = re.compile(r"[012]\.")
_NAMES = ("geometry", "geom", "wkb_geometry", "the_geom")
"""Of several geometry columns the first that has one of these names is read, else the first."""


class GeometryColumn(msgspec.Struct):
    """What is known of a column of geometries."""

    encoding: str
    """`WKB`, or a native one."""
    crs: dict[str, Any] | str | msgspec.UnsetType | None = msgspec.UNSET
    """PROJJSON; WKT in GeoParquet 0.3 and before; the name of a CRS in Parquet's types.

    None = it is not known; absent = longitude and latitude.
    """
    edges: str | None = None
    """How points are joined; None = `planar`, by straight lines."""
    covering: dict[str, dict[str, list[str]]] | None = None
    """Columns of bounding boxes."""


class GeometryColumns(msgspec.Struct):
    """What is known of all columns of geometries."""

    primary_column: str
    columns: dict[str, GeometryColumn]

    @property
    def primary(self) -> GeometryColumn:
        """Return the column that is read."""
        return self.columns[self.primary_column]


class _GeoVersion(msgspec.Struct):
    version: str | None = None
    schema_version: str | None = None
    """The version before 0.3."""


def describe_geometry(file: pq.ParquetFile, subject: str) -> GeometryColumns:
    """Return what a file says of its geometry columns; `subject`: how messages name it.

    Raises:
        LayerError: it has none, or the metadata are not those of a GeoParquet.
    """
    metadata = file.metadata.metadata or {}
    by_types = _described_by_types(file, metadata)
    if b"geo" in metadata:
        geo = _described_by_geo(metadata[b"geo"], subject)
        if geo.primary.crs is msgspec.UNSET and geo.primary_column in by_types:
            geo.primary.crs = by_types[geo.primary_column].crs
        return geo
    if not by_types:
        raise LayerError(
            f"{subject}: a Parquet file without the metadata `geo` is no GeoParquet, and none of its columns is of the "
            "type GEOMETRY"
        )
    return GeometryColumns(next((name for name in _NAMES if name in by_types), next(iter(by_types))), by_types)


def read_crs(column: GeometryColumn, subject: str) -> pyproj.CRS:
    """Return the CRS of a column; coordinates in a Parquet file are always in x, y order.

    Args:
        column: the column.
        subject: how messages name the file.

    Raises:
        LayerError: it has none that can be used.
    """
    if column.crs is msgspec.UNSET:
        return parse_crs(CRS84)
    if column.crs is None:
        raise LayerError(f"{subject} has no CRS: the metadata `geo` says that it is not known")
    try:
        crs = _parse(column.crs) if isinstance(column.crs, str) else pyproj.CRS.from_json_dict(column.crs)
    except (InputError, pyproj.exceptions.CRSError, RecursionError, TypeError, ValueError) as err:
        raise LayerError(f"{subject}: the metadata `geo` has a CRS that cannot be read") from err
    if not (crs.is_projected or crs.is_geographic):
        raise LayerError(f"{subject}: {crs.name[:80]!r} is no CRS of places on the ground")
    return crs


def _parse(text: str) -> pyproj.CRS:
    if text.lstrip().startswith("{"):
        return pyproj.CRS.from_json(text)
    return pyproj.CRS.from_wkt(text) if "[" in text else parse_crs(re.sub("^srid:", "EPSG:", text))


def _described_by_geo(text: bytes, subject: str) -> GeometryColumns:
    try:
        if len(text) > _MAX_GEO_BYTES:
            raise msgspec.ValidationError(f"larger than {_MAX_GEO_BYTES} bytes")
        frame = msgspec.json.decode(text, type=_GeoVersion)
        version = frame.version or frame.schema_version
        if version is None:
            raise msgspec.ValidationError("Object missing required field `version`")
        if not _VERSION.match(version):
            raise LayerError(f"{subject} is GeoParquet {version[:20]!r}; versions 0.1 to 2.0 are read")
        geo = msgspec.json.decode(text, type=GeometryColumns)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise LayerError(f"{subject}: the metadata `geo` is not that of a GeoParquet: {err}") from err
    if geo.primary_column not in geo.columns:
        raise LayerError(f"{subject}: the metadata `geo` does not describe the primary column")
    return geo


def _described_by_types(file: pq.ParquetFile, metadata: Mapping[bytes, bytes]) -> dict[str, GeometryColumn]:
    """Return the columns of Parquet's types GEOMETRY and GEOGRAPHY, and of GeoArrow's types, by name."""
    columns = {}
    for item in file.schema_arrow:
        extension = (item.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
        kind, _, encoding = extension.partition(".")
        if kind == "geoarrow":
            described = _json((item.metadata or {}).get(b"ARROW:extension:metadata", b""))
            columns[item.name] = GeometryColumn(
                "WKB" if encoding == "wkb" else encoding, described.get("crs"), described.get("edges")
            )
    for index in range(len(file.schema.names)):
        leaf = file.schema.column(index)
        if leaf.logical_type.type in ("GEOMETRY", "GEOGRAPHY") and leaf.path == leaf.name:
            described = _json(leaf.logical_type.to_json().encode())
            crs = described.get("crs") or msgspec.UNSET
            if isinstance(crs, str) and crs.startswith("projjson:"):
                crs = metadata.get(crs.removeprefix("projjson:").encode(), b"{}").decode(errors="replace")
            edges = described.get("algorithm", "spherical") if leaf.logical_type.type == "GEOGRAPHY" else None
            columns[leaf.name] = GeometryColumn("WKB", crs, edges)
    return columns


def _json(text: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one where the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
