"""Native encodings of geometries, against WKB that is put together here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from processes.features.reading.geoarrow import ENCODINGS, wkb_of
from random_layers import TYPE_NAMES, Shape, shape_of_wkb
from tables import each_row

DEPTHS = {"point": 0, "linestring": 1, "polygon": 2, "multipoint": 1, "multilinestring": 2, "multipolygon": 3}


def encoded(values: list[Any], encoding: str) -> pa.Array:
    """Return geometries of lists of coordinates in a native encoding, null where there is none."""
    item: pa.DataType = pa.struct([("x", pa.float64()), ("y", pa.float64())])
    for _ in range(DEPTHS[encoding]):
        item = pa.list_(item)
    return pa.array(values, item)


@each_row("encoding", ENCODINGS)
@each_row("values", [[None], [None, None, None], [[], None], [[]], []], ids=str)
def test_geometries_without_any_coordinate_are_null_or_empty(encoding: str, values: list[Any]) -> None:
    # a group of rows in a file need not have more; shapely 2.2 raises an IndexError for most encodings
    nothing = {"x": float("nan"), "y": float("nan")} if encoding == "point" else []
    column = encoded([value if value is None else nothing for value in values], encoding)
    empty = Shape([name.lower() for name in TYPE_NAMES].index(encoding), "XY", ())
    found = wkb_of(column, encoding, "features 'a'").to_pylist()
    assert [wkb if wkb is None else shape_of_wkb(wkb) for wkb in found] == [
        None if v is None else empty for v in values
    ]


@each_row("values", [[[[]]], [[[]], None, []]], ids=str)
def test_parts_without_any_coordinate_make_an_empty_geometry(values: list[Any]) -> None:
    found = wkb_of(encoded(values, "polygon"), "polygon", "features 'a'").to_pylist()
    assert [wkb if wkb is None else shape_of_wkb(wkb).places for wkb in found] == [
        v if v is None else [] for v in values
    ]
