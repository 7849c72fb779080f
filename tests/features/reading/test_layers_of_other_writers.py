"""Random layers that other programs write are read as they were meant: all rows, columns, types, nulls, ids and the CRS.

`FORMS` is the table of what each form of file holds. What is drawn stays within it, so nothing may be lost or warned of.
`LAYER_EXAMPLES=2000` runs more examples than `make test`, others each time.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st

from binary_writers import write_flatbuffers, write_struct_shapefile
from other_writers import (
    ABSENT,
    write_csv,
    write_gdal,
    write_gdal_shapefile,
    write_json,
    write_json_sequence,
    write_parquet,
    write_sqlite,
)
from processes.features.layer import Layer, is_json_text
from processes.features.reading.files import read_layer
from processes.settings import Limits
from random_layers import (
    CRS,
    KINDS,
    LINE,
    MULTI_LINE,
    MULTI_POLYGON,
    NAMES,
    POINT,
    POLYGON,
    Column,
    Holds,
    Kind,
    RandomLayer,
    Shape,
    finite,
    random_layers,
    shape_of_wkb,
    texts,
)
from tables import each_row

exactly = settings(
    derandomize="LAYER_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    max_examples=int(os.environ.get("LAYER_EXAMPLES", "15")),
    suppress_health_check=list(HealthCheck),
)

Values = Sequence[Any]
ALL_DIMENSIONS = ("XY", "XYZ", "XYM", "XYZM")
NAMED_CRS = [name for name in CRS if name != "custom"]
# GDAL compares a .prj that it does not know with all CRS, which takes it half a second
SHAPEFILE_CRS = list(CRS) if "LAYER_EXAMPLES" in os.environ else NAMED_CRS
EPSG = [name for name in NAMED_CRS if name not in ("Esri", "CRS84")]
UTC = "UTC"


@dataclass(frozen=True)
class Form:
    """A form of file, as another program writes it."""

    write: Callable[..., None]
    ending: str
    holds: Holds
    habits: Mapping[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    """What the format leaves to its writers, by the name that the writer has for it."""
    shape_as_read: Callable[[Shape], Shape | None] = lambda shape: shape
    """What the form keeps of a geometry."""
    empty_has_columns: bool = True
    """False = a layer without features has no attributes."""
    sorted_by_id: bool = False
    """True = the features are in the order of their ids, however they were inserted."""


def of(*names: str) -> dict[str, Kind]:
    """Return kinds of attributes that a form keeps as they are."""
    return {name: KINDS[name] for name in names}


def becomes(kind: Kind, dtype: pa.DataType, convert: Callable[[Any], Any] = lambda value: value) -> Kind:
    """Return a kind that is read as another type; `convert` is for each value that is not null."""
    return replace(kind, read=lambda values: (dtype, [v if v is None else convert(v) for v in values]))


def text_without_values(kind: Kind) -> Kind:
    """Return a kind that is read as text where all values are null, as nothing else is known of them."""

    def read(values: Values) -> tuple[pa.DataType, list[Any]]:
        return (pa.string(), list(values)) if set(values) <= {None} else kind.read_values(values)

    return replace(kind, read=read)


# GeoJSON: a column has the narrowest type that holds its values


def read_of_json(values: Values) -> tuple[pa.DataType, list[Any]]:
    """Return the type that holds JSON values; where no other does, JSON texts, whose type has offsets of 64 bits."""
    found = [value for value in values if value is not None and value is not ABSENT]
    types = {type(value) for value in found}
    largest = max((abs(value) for value in found if type(value) is int), default=0)
    if ABSENT in values and None in values:
        return pa.large_string(), list(values)
    if not types or types == {str}:
        return pa.string(), list(values)
    if types == {float} or (types == {float, int} and largest <= 2**53):
        return pa.float64(), [float(value) if type(value) is int else value for value in values]
    if types == {int} and all(-(2**63) <= value < 2**63 for value in found):
        return pa.int64(), list(values)
    return (pa.bool_() if types == {bool} else pa.large_string()), list(values)


json_texts = st.one_of(texts, st.text(st.characters(codec="utf-8"), max_size=4))
scalars = st.one_of(st.booleans(), KINDS["int64"].values, st.integers(), finite, json_texts)
nested = st.one_of(
    st.lists(scalars, max_size=2), st.dictionaries(json_texts, st.one_of(st.none(), scalars), max_size=2)
)
_JSON_VALUES = {
    "booleans": st.booleans(),
    "whole numbers": KINDS["int64"].values,
    "large numbers": st.integers(),
    "fractions": finite,
    "numbers": st.one_of(st.integers(-(2**53) - 1, 2**53 + 1), finite),
    "texts": json_texts,
    "nested": nested,
    "anything": st.one_of(scalars, nested),
}
JSON_KINDS = {name: Kind(values, pa.null(), read_of_json) for name, values in _JSON_VALUES.items()} | {
    f"{name}, or absent": Kind(st.one_of(st.just(ABSENT), values), pa.null(), read_of_json)
    for name, values in _JSON_VALUES.items()
}


def json_ids(count: int) -> st.SearchStrategy[list[Any] | None]:
    numbers, none = KINDS["int64"].values, st.none()
    of_each = (numbers, json_texts, st.one_of(none, numbers), st.one_of(none, json_texts, numbers))
    return st.one_of(none, *(st.lists(ids, min_size=count, max_size=count) for ids in of_each))


JSON_HOLDS = Holds(JSON_KINDS, names=st.one_of(NAMES, json_texts), crs=NAMED_CRS, ids=json_ids)
SEQUENCE_HOLDS = replace(JSON_HOLDS, crs=["CRS84"], min_rows=1)
thousandths = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
few_digits = st.one_of(st.sampled_from([0.0, -0.0, 5e-324, 1e22, 1.5e300]), thousandths)
"""GDAL's GeoJSON has as many digits as people would write."""
GDAL_JSON_KINDS = {
    "boolean": text_without_values(KINDS["boolean"]),
    "int32": text_without_values(becomes(KINDS["int32"], pa.int64())),
    "int64": text_without_values(KINDS["int64"]),
    "float64": text_without_values(replace(KINDS["float64"], values=few_digits)),
    "text": KINDS["text"],
}

# CSV: a column is of numbers or booleans where all its values are, as a program writes them


def read_of_csv(values: Values) -> tuple[pa.DataType, list[Any]]:
    """Return what a column of texts is read as."""
    found = [value for value in values if value is not None]
    for pattern, dtype, convert in (
        (r"-?(0|[1-9]\d{0,18})", pa.int64(), int),
        (r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]\d+)?", pa.float64(), float),
        (r"true|false", pa.bool_(), "true".__eq__),
    ):
        if found and all(re.fullmatch(pattern, value, re.ASCII) for value in found):
            return dtype, [value if value is None else convert(value) for value in values]
    return pa.string(), list(values)


CSV_KINDS = {
    name: Kind(values, pa.string(), read_of_csv)
    for name, values in {
        "texts": texts,
        "whole numbers": st.integers(-(2**63), 2**63 - 1).map(str),
        "fractions": finite.map(repr),
        "booleans": st.sampled_from(["true", "false"]),
        "codes": st.sampled_from(["00501", "+1", "1.", ".5", "True", "1e5", " 1", "NaN", "1_000", "٣", "12", "0x1F"]),
    }.items()
}

# what GDAL reads of GeoPackage and FlatGeobuf

COMMON = of("boolean", "int16", "int32", "int64", "float32", "float64", "text", "bytes")


def _times(name: str, zone: str | None) -> Kind:
    """Return a kind of times; where all are null nothing is known of a zone."""
    kind = KINDS[name]
    return replace(
        kind, read=lambda values: (pa.timestamp("ms", None if set(values) <= {None} else zone), list(values))
    )


TIMES = {"local": _times("local", None), "utc": _times("utc", UTC), "zoned": _times("zoned", "+05:30")}


def _whole_seconds_before_1970(moment: dt.datetime) -> dt.datetime:
    """GDAL 3.12 writes 1969-12-31T23:59:59.999 as 1970-01-01T00:00:00 where it comes through Arrow."""
    return moment.replace(microsecond=0) if moment.year < 1970 else moment


TIMES_BY_GDAL = {
    name: replace(kind, values=kind.values.map(_whole_seconds_before_1970)) for name, kind in TIMES.items()
}


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a day has no zone


FLATGEOBUF_DATES = {"date": becomes(KINDS["date"], pa.timestamp("ms"), _midnight)}
"""A FlatGeobuf has times only."""


def _stored_by_sqlite(value: float) -> float | None:
    """SQLite stores NaN as null, and -0.0 as the whole number 0."""
    return None if math.isnan(value) else value + 0.0


SQLITE_FLOATS = {name: becomes(KINDS[name], KINDS[name].arrow, _stored_by_sqlite) for name in ("float32", "float64")}
GEOPACKAGE_NAMES = st.one_of(
    NAMES, st.sampled_from(["fid", "FID", "id", "ogc_fid", "OGC_FID", "rowid", "oid", "geom", "OGR_STYLE", "_rowid_"])
)


def fids(lowest: int, highest: int) -> Callable[[int], st.SearchStrategy[list[Any] | None]]:
    """Return ids in any order, with gaps."""
    some = st.sampled_from([n for n in (2**63 - 1, -(2**63), 2**31, 2**53 + 1, -1, 0) if lowest <= n <= highest])
    numbers = st.one_of(st.integers(max(lowest, -5), 12), some, st.integers(lowest, highest))
    return lambda count: st.lists(numbers, min_size=count, max_size=count, unique=True)


def null_if_empty(shape: Shape) -> Shape | None:
    return shape if shape.coordinates else None


# Shapefiles

SHAPEFILE_NAMES = st.one_of(
    st.sampled_from(["a", "A", "name", "Name", "SELECT", "ÄÖ", "a b", "x.y", "1st", "ABCDEFGHIJ", "a_very_lon"]),
    st.text("abcXYZ_09é", min_size=1, max_size=4),
)
"""Up to ten bytes."""
SHAPEFILE_KINDS = {
    "boolean": KINDS["boolean"],
    "int64": replace(KINDS["int64"], values=st.one_of(st.just(10**18 - 1), st.integers(1 - 10**17, 10**18 - 1))),
    "float64": replace(KINDS["float64"], values=thousandths),
    # blanks fill a field: GDAL takes those around a text for none of its own, and a field of blanks is null
    "text": becomes(
        replace(KINDS["text"], values=st.one_of(st.just("größe"), st.text("aé 0,'\"\\", max_size=6))),
        pa.string(),
        lambda text: text.strip(" ") or None,
    ),
    "date": KINDS["date"],
}
SHAPEFILE_KINDS_BY_STRUCT = SHAPEFILE_KINDS | {
    "int16": becomes(KINDS["int16"], pa.int32()),
    "int32": becomes(KINDS["int32"], pa.int64()),
    "float64": replace(KINDS["float64"], values=finite),
}
ENCODINGS = (
    ("utf-8", "UTF-8", 0),
    ("latin-1", "ISO-8859-1", 0),
    ("cp1252", "ANSI 1252", 0),
    ("cp1252", None, 0x03),
    ("utf-8", None, 0),
)
"""What the texts are in, the text of the .cpg, and the language driver id of the .dbf."""


def turned(layer: RandomLayer) -> RandomLayer:
    """Turn the rings of polygons: outer ones are clockwise in a Shapefile."""
    return replace(layer, shapes=[shape and _turned(shape) for shape in layer.shapes])


def _turned(shape: Shape) -> Shape:
    if shape.type == POLYGON:
        return replace(shape, coordinates=tuple(ring[::-1] for ring in shape.coordinates))
    if shape.type == MULTI_POLYGON:
        return replace(shape, coordinates=tuple(tuple(ring[::-1] for ring in part) for part in shape.coordinates))
    return shape


def in_shapefile(shape: Shape) -> Shape | None:
    """An empty geometry is none, and a single part is no part."""
    if shape.type in (MULTI_LINE, MULTI_POLYGON) and len(shape.coordinates) == 1:
        shape = Shape(shape.type - 3, shape.dimensions, shape.coordinates[0])
    return null_if_empty(_turned(shape))


# GeoParquet

PARQUET_KINDS = {
    **KINDS,
    "uint8": becomes(Kind(st.integers(0, 255), pa.uint8()), pa.int16()),
    "uint32": becomes(Kind(st.integers(0, 2**32 - 1), pa.uint32()), pa.int64()),
    "uint64": becomes(Kind(st.integers(0, 2**63 - 1), pa.uint64()), pa.int64()),
    "money": becomes(
        Kind(st.decimals(-(10**6), 10**6, places=2), pa.decimal128(9, 2)), pa.float64(), lambda value: float(value)
    ),
    "exact": becomes(
        Kind(st.integers(-(10**19), 10**19).map(lambda n: decimal.Decimal(n).scaleb(-3)), pa.decimal128(22, 3)),
        pa.string(),
        lambda value: str(value.quantize(decimal.Decimal("0.001"))),
    ),
    "category": becomes(Kind(texts, pa.dictionary(pa.int8(), pa.string())), pa.string()),
    "list": Kind(
        st.lists(KINDS["int32"].values, max_size=2), pa.list_(pa.int32()), lambda v: (pa.large_string(), list(v))
    ),
}
PARQUET_HABITS = {
    "geometry": st.sampled_from(["geometry", "the shape"]),
    "large": st.booleans(),
    "rows": st.sampled_from([1, 2, 100]),
    "compression": st.sampled_from(["snappy", "zstd", "gzip", "none"]),
}

FORMS: Mapping[str, Form] = {
    "GeoJSON by json": Form(
        write_json,
        ".geojson",
        JSON_HOLDS,
        {
            "member": st.booleans(),
            "is_ascii": st.booleans(),
            "indent": st.sampled_from([None, 2]),
            "has_bom": st.booleans(),
        },
        empty_has_columns=False,
    ),
    "GeoJSON by GDAL": Form(
        write_gdal,
        ".geojson",
        Holds(GDAL_JSON_KINDS, NAMES, str.lower, crs=["CRS84", *EPSG], has_empty_points=False, is_exact=False),
        {"driver": st.just("GeoJSON"), "WRITE_NAME": st.sampled_from(["YES", "NO"])},
        empty_has_columns=False,
    ),
    "text sequence by json": Form(
        write_json_sequence,
        ".geojsonl",
        SEQUENCE_HOLDS,
        {"is_ascii": st.booleans(), "separator": st.sampled_from(["", "\x1e"])},
    ),
    "CSV by csv": Form(
        write_csv,
        ".csv",
        Holds(
            CSV_KINDS, NAMES.filter(lambda name: not set(name) & set(",;\t|")), crs=["CRS84"], dimensions=ALL_DIMENSIONS
        ),
        {
            "delimiter": st.sampled_from(",;\t"),
            "line_end": st.sampled_from(["\n", "\r\n"]),
            "is_first": st.booleans(),
            "has_bom": st.booleans(),
        },
    ),
    "GeoPackage by GDAL": Form(
        write_gdal,
        ".gpkg",
        Holds(
            COMMON | of("date") | TIMES_BY_GDAL | SQLITE_FLOATS,
            GEOPACKAGE_NAMES,
            str.lower,
            dimensions=ALL_DIMENSIONS,
            ids=fids(0, 2**62),
        ),
        {
            "driver": st.just("GPKG"),
            "fid": st.sampled_from(["fid", "key"]),
            "SPATIAL_INDEX": st.sampled_from(["YES", "NO"]),
        },
        sorted_by_id=True,
    ),
    "GeoPackage by sqlite3": Form(
        write_sqlite,
        ".gpkg",
        Holds(
            COMMON | of("date") | {"utc": TIMES["utc"]} | SQLITE_FLOATS,
            GEOPACKAGE_NAMES,
            str.lower,
            dimensions=ALL_DIMENSIONS,
            ids=fids(-(2**63), 2**63 - 1),
        ),
        {
            "table": st.sampled_from(["layer", "two words", "select", 'a"b', "größe", "1", "it's", "a.b"]),
            "key": st.sampled_from(["fid", "key", "OBJECTID", 'the "key"', "rowid", "OGC_FID"]),
            "geometry": st.sampled_from(["geom", "the shape", "Shape", "select", "größe"]),
            "envelope": st.integers(0, 4),
            "order": st.sampled_from("<>"),
            "spelling": st.integers(0, 2),
            "version": st.sampled_from([10200, 10300, 10400]),
        },
        sorted_by_id=True,
    ),
    "FlatGeobuf by GDAL": Form(
        write_gdal,
        ".fgb",
        Holds(COMMON | TIMES_BY_GDAL | FLATGEOBUF_DATES, NAMES, str.lower, mixed=("XY",)),
        {"driver": st.just("FlatGeobuf"), "SPATIAL_INDEX": st.just("NO")},
        null_if_empty,
    ),
    "FlatGeobuf by flatbuffers": Form(
        write_flatbuffers,
        ".fgb",
        Holds(COMMON | TIMES | FLATGEOBUF_DATES, dimensions=ALL_DIMENSIONS, mixed=("XYZ",), has_empty=False),
        {"has_count": st.booleans(), "has_wkt": st.booleans()},
    ),
    "Shapefile by GDAL": Form(
        write_gdal_shapefile,
        ".zip",
        Holds(SHAPEFILE_KINDS, SHAPEFILE_NAMES, str.lower, crs=SHAPEFILE_CRS, min_columns=1, mixed=()),
        shape_as_read=in_shapefile,
    ),
    "Shapefile by struct": Form(
        lambda path, layer, **habits: write_struct_shapefile(path, turned(layer), **habits),
        ".zip",
        Holds(
            SHAPEFILE_KINDS_BY_STRUCT,
            SHAPEFILE_NAMES,
            crs=SHAPEFILE_CRS,
            min_columns=1,
            dimensions=ALL_DIMENSIONS,
            mixed=(),
        ),
        {"encoding": st.sampled_from(ENCODINGS), "has_index": st.booleans(), "in_folder": st.booleans()},
        in_shapefile,
    ),
    "GeoParquet in WKB": Form(
        write_parquet,
        ".parquet",
        Holds(PARQUET_KINDS, dimensions=ALL_DIMENSIONS),
        {
            **PARQUET_HABITS,
            "is_native": st.just(False),
            "version": st.sampled_from(["1.0.0", "1.1.0"]),
            "order": st.sampled_from("<>"),
        },
    ),
    "GeoParquet in native encodings": Form(
        write_parquet,
        ".parquet",
        Holds(PARQUET_KINDS, mixed=()),
        {**PARQUET_HABITS, "is_native": st.just(True), "version": st.just("1.1.0"), "order": st.just("<")},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_layer_is_read_as_it_was_meant(name: str, tmp_path: Path) -> None:
    form = FORMS[name]

    @exactly
    @given(random_layers(form.holds), st.fixed_dictionaries(dict(form.habits)))
    def check(meant: RandomLayer, habits: dict[str, Any]) -> None:
        note(f"{meant.described()}, {habits}")
        write_and_compare(form, meant, habits, tmp_path)

    check()


LINE_Z, LINE_ZM = (
    Shape(LINE, "XYZ", ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))),
    Shape(LINE, "XYZM", ((1.0, 2.0, 3.0, 4.0),) * 2),
)
LINE_M, POINT_ZM = Shape(LINE, "XYM", ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))), Shape(POINT, "XYZM", (1.0, 2.0, 3.0, 4.0))
BOX_ZM = Shape(POLYGON, "XYZM", (((0, 0, 1, 5), (4, 0, 1, 6), (4, 4, 1, 7), (0, 0, 1, 5)),))
DATE, FLOAT = Column("a", KINDS["date"], [dt.date(470, 3, 28)]), Column("a", SQLITE_FLOATS["float32"], [math.inf])
FOUND: Mapping[str, tuple[str, RandomLayer]] = {
    # pyogrio 0.13 refuses a declared type GEOMETRY with Z or M
    "several types with heights": ("GeoPackage by sqlite3", RandomLayer([], [LINE_Z], [1], CRS["projected"], 0)),
    "several types with measures": ("GeoPackage by sqlite3", RandomLayer([], [LINE_M], [1], CRS["projected"], 0)),
    "several types with both": ("GeoPackage by sqlite3", RandomLayer([], [LINE_ZM], [1], CRS["projected"], 0)),
    "a stream of several types": ("FlatGeobuf by flatbuffers", RandomLayer([], [LINE_Z], None, CRS["projected"], 0)),
    # GDAL 3.12 decides by the first shape whether a Shapefile has measures
    **{
        f"measures of {name} behind a null": (
            "Shapefile by struct",
            RandomLayer([DATE], [None, shape], None, CRS["projected"], shape.wkb_type),
        )
        for name, shape in (("a line", LINE_M), ("a point", POINT_ZM), ("a high line", LINE_ZM), ("an area", BOX_ZM))
    },
    # their difference is no number of 64 bits
    "ids far apart": ("GeoPackage by sqlite3", RandomLayer([], [None] * 2, [-(2**63), 0], CRS["projected"], 1)),
    # GDAL writes the year without zeros before it
    "a year of three digits": ("Shapefile by GDAL", RandomLayer([DATE], [None], None, CRS["projected"], 1)),
    "a float without end": ("GeoPackage by sqlite3", RandomLayer([FLOAT], [None], [1], CRS["projected"], 1)),
}
"""What random layers found: the form and the least layer."""


@each_row(("name", "meant"), FOUND.values(), ids=FOUND)
def test_what_was_read_wrong_once_is_right(name: str, meant: RandomLayer, tmp_path: Path) -> None:
    form = FORMS[name]
    layer = replace(
        meant,
        columns=[replace(column, values=column.values * len(meant.shapes)) for column in meant.columns],
    )
    first = settings(exactly, max_examples=1, phases=[Phase.generate])
    simplest = find(st.fixed_dictionaries(dict(form.habits)), lambda habits: True, settings=first)
    write_and_compare(form, layer, simplest, tmp_path)


def write_and_compare(form: Form, meant: RandomLayer, habits: Mapping[str, Any], folder: Path) -> None:
    path = folder / f"layer{form.ending}"
    path.unlink(missing_ok=True)
    form.write(path, meant, **habits)
    compare(read_layer(path, path.name, None, Limits()), as_read(meant, form))


def as_read(meant: RandomLayer, form: Form) -> RandomLayer:
    """Return what the form keeps of a layer's features, in the order that it gives them."""
    order = list(range(len(meant.shapes)))
    if form.sorted_by_id and meant.ids is not None:
        order.sort(key=meant.ids.__getitem__)
    columns = [replace(column, values=[column.values[index] for index in order]) for column in meant.columns]
    return replace(
        meant,
        columns=columns if order or form.empty_has_columns else [],
        shapes=[(shape := meant.shapes[index]) and form.shape_as_read(shape) for index in order],
        ids=None if meant.ids is None or set(meant.ids) <= {None} else [meant.ids[index] for index in order],
    )


def compare(layer: Layer, meant: RandomLayer) -> None:
    """Hold a layer that was read against what was meant."""
    assert len(layer) == len(meant.shapes)
    columns = [column for column in meant.columns if not column.values or set(map(id, column.values)) != {id(ABSENT)}]
    assert sorted(layer.attributes.column_names) == sorted(column.name for column in columns)
    if not any(ABSENT in column.values for column in columns):
        assert layer.attributes.column_names == [column.name for column in columns]
    for column in columns:
        item, found = layer.attributes.schema.field(column.name), layer.attributes.column(column.name).to_pylist()
        dtype, values = column.kind.read_values(column.values)
        assert item.type == dtype, (item, found, values)
        if is_json_text(item):
            found = [ABSENT if text is None else json.loads(text) for text in found]
        else:
            assert dtype != pa.large_string(), item
            values = [None if value is ABSENT else value for value in values]
        assert list(map(exact_text, found)) == list(map(exact_text, values)), (item, found, values)
    assert layer.geometry is not None
    shapes = [None if wkb is None else shape_of_wkb(wkb) for wkb in layer.geometry.to_pylist()]
    assert [*map(flat_if_empty, shapes)] == [*map(flat_if_empty, meant.shapes)], (shapes, meant.shapes)
    assert ids_of(layer) == (meant.ids or [])
    assert layer.crs is not None
    assert layer.crs.equals(meant.crs, ignore_axis_order=True), (layer.crs, meant.crs)
    assert layer.warnings == ()


def exact_text(value: Any) -> str:
    """Return a text that tells 1, 1.0 and True, and 0.0 and -0.0 apart, but not how the zone of a time is named."""
    if isinstance(value, dt.datetime):
        return f"{value.replace(tzinfo=None, fold=0)} {value.utcoffset()}"
    return repr(value.replace(fold=0) if isinstance(value, dt.time) else value)


def flat_if_empty(shape: Shape | None) -> Shape | None:
    """Return a geometry without the dimensions that an empty one has no use for."""
    return shape if shape is None or shape.coordinates else replace(shape, dimensions="XY")


def ids_of(layer: Layer) -> list[Any]:
    """Return the ids, JSON texts read; empty = there are none."""
    if layer.ids is None:
        return []
    is_json = layer.ids.type == pa.large_string()
    return [json.loads(value) if is_json and value is not None else value for value in layer.ids.to_pylist()]
