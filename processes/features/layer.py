"""A feature layer in memory: Arrow, one column per attribute, never a Python object per feature."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from processes.errors import LayerError

JSON_TEXT = {b"classify_objects:json": b"text"}
"""Metadata of a column of JSON texts: values of mixed types, or nested. Null = the feature has no such attribute."""
TYPE_OF_VALUES = b"classify_objects:type"
"""Key of the metadata of such a column, where all its values are of one type: that type's name."""
JSON_COLUMN = JSON_TEXT | {TYPE_OF_VALUES: b"json"}
"""Metadata of a column of JSON texts that is JSON in the file itself, and so in formats with such columns."""
OMIT_NULLS = {b"classify_objects:json": b"omit-null"}
"""Metadata of a column in which null means that the feature has no such attribute."""


def is_json_text(item: pa.Field) -> bool:
    """Return whether a column holds JSON texts."""
    return (item.metadata or {}).items() >= JSON_TEXT.items()


def is_json_column(item: pa.Field) -> bool:
    """Return whether a column is JSON in the file that it came from."""
    return (item.metadata or {}).items() >= JSON_COLUMN.items()


class Layer(msgspec.Struct, frozen=True):
    """Features in their order."""

    name: str
    """As the file has it, else the file's name without ending."""
    crs: pyproj.CRS | None
    """None = the layer is a table without geometry."""
    geometry: pa.ChunkedArray | None
    """WKB, null where a feature has no geometry, `(n,)`; None = the layer is a table."""
    geometry_type: str
    """As GDAL names it: `Polygon`, `Point Z`, `LineString M`, `Point ZM`, …, `Unknown` for several."""
    attributes: pa.Table
    """In the input's order."""
    ids: pa.ChunkedArray | None
    """Integers or texts, or JSON texts where both occur; None = the features have no ids, `(n,)`."""
    warnings: tuple[str, ...] = ()
    """Sentences for the summary about what was not read as it stands in the file, one for each kind."""

    def __len__(self) -> int:
        return int(self.attributes.num_rows) if self.geometry is None else len(self.geometry)

    @property
    def nbytes(self) -> int:
        """Size in memory in bytes."""
        return sum(part.nbytes for part in (self.geometry, self.attributes, self.ids) if part is not None)

    def geometries(self, start: int, stop: int) -> NDArray[np.object_]:
        """Return the geometries of a range of features, None where there is none, `(stop - start,)`."""
        if self.geometry is None:
            return np.full(stop - start, None)
        return from_wkb(self.geometry.slice(start, stop - start).to_pylist(), start)

    def geometries_at(self, features: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the geometries of the features at these indices, None where there is none, `(n,)`."""
        if self.geometry is None:
            return np.full(len(features), None)
        column = self.geometry
        return from_wkb(
            [column[index].as_py() for index in features.tolist()], int(features[0]) if len(features) else 0
        )


def from_wkb(texts: list[bytes | None], first: int) -> NDArray[np.object_]:
    """Return the geometries of WKB texts; `first` is the index of the first one in the layer, for messages.

    Raises:
        LayerError: one cannot be read, or is a GeometryCollection.
    """
    wkb = np.empty(len(texts), dtype=object)
    wkb[:] = texts
    try:
        with np.errstate(invalid="ignore"):  # a coordinate that is no number is no fault of the WKB
            geometries: NDArray[np.object_] = shapely.from_wkb(wkb)
    except (shapely.errors.ShapelyError, NotImplementedError) as err:
        raise LayerError(f"a geometry among features {first + 1} to {first + len(texts)} cannot be read") from err
    refuse_collections(geometries, first)
    return geometries


def refuse_collections(geometries: NDArray[np.object_], first: int) -> None:
    """Raise LayerError for a GeometryCollection; the message has the feature's position from 1."""
    collections = np.flatnonzero(shapely.get_type_id(geometries) == shapely.GeometryType.GEOMETRYCOLLECTION)
    if collections.size:
        raise LayerError(
            f"feature {first + int(collections[0]) + 1} is a GeometryCollection; "
            "only points, lines and polygons are read"
        )
