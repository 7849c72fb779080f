"""Layers in memory for the tests of what is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from processes.crs import parse_crs
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_table, with_signed_numbers
from processes.features.wkb import common_geometry_type, read_iso_types

BOX = shapely.box(500_000, 5_500_000, 500_010, 5_500_020)

TYPES: Mapping[str, tuple[pa.DataType, Any]] = {
    "flag": (pa.bool_(), True),
    "short": (pa.int16(), -3),
    "long": (pa.int64(), 2**62 + 1),
    "unsigned": (pa.uint64(), 2**63 + 1),
    "single": (pa.float32(), 1.5),
    "double": (pa.float64(), 0.1 + 0.2),
    "money": (pa.decimal128(10, 2), Decimal("1234.50")),
    "date": (pa.date32(), dt.date(2024, 2, 29)),
    "local": (pa.timestamp("ms"), dt.datetime(2024, 2, 29, 12, 30, 1, 500_000)),  # noqa: DTZ001 - without a zone
    "instant": (pa.timestamp("us", "Europe/Berlin"), dt.datetime(2024, 2, 29, 12, 30, 1, 500_000, dt.UTC)),
    "nanos": (pa.timestamp("ns", "UTC"), 1709209801500000001),
    "clock": (pa.time64("us"), dt.time(12, 30, 1)),
    "text": (pa.string(), 'é😀 "quoted", =1+1\nnext'),
    "blank": (pa.string(), ""),
    "blob": (pa.binary(), b"\x00\xff"),
    "nothing": (pa.string(), None),
    "category": (pa.dictionary(pa.int8(), pa.string()), "oak"),
    "list": (pa.list_(pa.int64()), [1, 2]),
    "record": (pa.struct([("a", pa.int64()), ("b", pa.string())]), {"a": 1, "b": "x"}),
}
"""A name, a type and a value for every type of attribute that a file can bring."""

ODD_NAMES = ['say "hi"', "a.b", "with blank", "größe😀", "comma,semi;", "x" * 300, "", "wkb_geometry", "OGC_FID", "'"]


def typed_attributes() -> pa.Table:
    """Return the values above, a row of nulls, and the values again, as a layer that is read has them."""
    columns = {
        name: pa.array([value, None, value]).cast(dtype) if name == "nanos" else pa.array([value, None, value], dtype)
        for name, (dtype, value) in TYPES.items()
    }
    return with_signed_numbers(plain_table(pa.table(columns)))


def make_layer(
    geometries: Sequence[Any],
    attributes: pa.Table | None = None,
    ids: Sequence[Any] | None = None,
    crs: str = "EPSG:32633",
    geometry_type: str = "Unknown",
) -> Layer:
    """Return a layer as it is read, with an attribute `n` that counts the features where no others are given.

    The type that is given is the declared one: it counts where no feature has a geometry.
    """
    shapes = np.empty(len(geometries), dtype=object)
    shapes[:] = geometries
    wkb = pa.array(shapely.to_wkb(shapes, output_dimension=4, flavor="iso"), pa.large_binary())
    column = pa.chunked_array([wkb])
    kinds = read_iso_types(column)
    return Layer(
        name="layer",
        crs=parse_crs(crs),
        geometry=column,
        geometry_type=common_geometry_type(kinds) if kinds else geometry_type,
        attributes=pa.table({"n": pa.array(range(len(geometries)), pa.int64())}) if attributes is None else attributes,
        ids=None if ids is None else pa.chunked_array([pa.array(ids)]),
    )


def make_table(attributes: pa.Table) -> Layer:
    """Return a layer without geometry."""
    return Layer("images", None, None, "Unknown", attributes, None)


def wkt(text: str) -> Any:
    return shapely.from_wkt(text)


def points_at(places: NDArray[np.float64]) -> list[Any]:
    points: list[Any] = np.asarray(shapely.points(places)).tolist()
    return points
