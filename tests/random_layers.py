"""Random layers as plain Python values: what a file is meant to hold, before a program writes it."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyproj
from hypothesis import strategies as st

POINT, LINE, POLYGON, MULTI_POINT, MULTI_LINE, MULTI_POLYGON = range(1, 7)
TYPE_NAMES = ("", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")


@dataclass(frozen=True)
class Shape:
    """A geometry."""

    type: int
    """As in WKB: 1 = point … 6 = multi-polygon."""
    dimensions: str
    """`XY`, `XYZ`, `XYM` or `XYZM`."""
    coordinates: Any
    """Tuples nested as GeoJSON's arrays are; `()` = empty."""

    @property
    def wkb_type(self) -> int:
        """Return the ISO type: 1000 more with Z, 2000 with M."""
        return self.type + 1000 * ("Z" in self.dimensions) + 2000 * ("M" in self.dimensions)

    @property
    def places(self) -> list[tuple[float, ...]]:
        """Return all vertices."""
        level = [self.coordinates] if self.coordinates else []
        for _ in range((0, 0, 1, 2, 1, 2, 3)[self.type]):
            level = [part for parts in level for part in parts]
        return level

    def wkb(self, order: str = "<") -> bytes:
        """Return it as ISO WKB; `order` is that of the bytes, `<` or `>`."""
        head = struct.pack(f"{order}BI", order == "<", self.wkb_type)
        if self.type == POINT:
            return head + _packed(self.coordinates or (float("nan"),) * len(self.dimensions), order)
        count = struct.pack(f"{order}I", len(self.coordinates))
        if self.type == LINE:
            return head + _run(self.coordinates, order)
        if self.type == POLYGON:
            return head + count + b"".join(_run(ring, order) for ring in self.coordinates)
        return (
            head
            + count
            + b"".join(replace(self, type=self.type - 3, coordinates=c).wkb(order) for c in self.coordinates)
        )


def _packed(values: Sequence[float], order: str) -> bytes:
    return struct.pack(f"{order}{len(values)}d", *values)


def _run(places: Sequence[Sequence[float]], order: str) -> bytes:
    return struct.pack(f"{order}I", len(places)) + b"".join(_packed(place, order) for place in places)


def shape_of_wkb(wkb: bytes) -> Shape:
    """Read WKB of either order of bytes, ISO or with the flags of the extended one."""
    shape, end = _shape_at(wkb, 0)
    assert end == len(wkb)
    return shape


def _shape_at(wkb: bytes, start: int) -> tuple[Shape, int]:
    order = "<" if wkb[start] else ">"
    (code,) = struct.unpack_from(f"{order}I", wkb, start + 1)
    more = (code & 0xFFFF) // 1000 + bool(code & 0x80000000) + 2 * bool(code & 0x40000000)
    dimensions = ("XY", "XYZ", "XYM", "XYZM")[more]
    type_, position = (code & 0xFFFF) % 1000, start + 5

    def count() -> int:
        nonlocal position
        position += 4
        return int(struct.unpack_from(f"{order}I", wkb, position - 4)[0])

    def place() -> tuple[float, ...]:
        nonlocal position
        position += 8 * len(dimensions)
        return struct.unpack_from(f"{order}{len(dimensions)}d", wkb, position - 8 * len(dimensions))

    def run() -> tuple[tuple[float, ...], ...]:
        return tuple(place() for _ in range(count()))

    if type_ == POINT:
        values = place()
        return Shape(type_, dimensions, () if values[0] != values[0] else values), position
    if type_ == LINE:
        return Shape(type_, dimensions, run()), position
    if type_ == POLYGON:
        return Shape(type_, dimensions, tuple(run() for _ in range(count()))), position
    parts = []
    for _ in range(count()):
        part, position = _shape_at(wkb, position)
        assert (part.type, part.dimensions) == (type_ - 3, dimensions)
        parts.append(part.coordinates)
    return Shape(type_, dimensions, tuple(parts)), position


@dataclass(frozen=True)
class Kind:
    """A kind of attribute."""

    values: st.SearchStrategy[Any]
    arrow: pa.DataType
    """The type that holds its values exactly."""
    read: Callable[[Sequence[Any]], tuple[pa.DataType, list[Any]]] | None = None
    """What becomes of a column's type and values in a form of file; None = they stay what they are."""

    def read_values(self, values: Sequence[Any]) -> tuple[pa.DataType, list[Any]]:
        """Return the type and the values that a column has in the layer that is read."""
        return (self.arrow, list(values)) if self.read is None else self.read(values)


@dataclass(frozen=True)
class Column:
    """One attribute."""

    name: str
    kind: Kind
    values: list[Any]
    """One for each feature; None = null."""


@dataclass(frozen=True)
class RandomLayer:
    """Features in their order."""

    columns: list[Column]
    shapes: list[Shape | None]
    ids: list[Any] | None
    """None = the features have none; None among them = this one has none."""
    crs: pyproj.CRS
    declared: int
    """ISO type that all shapes have, but for those that are null or empty; 0 = of several types."""

    def described(self) -> str:
        """Return what a test that fails tells of it."""
        columns = [f"{column.name!r}: {column.kind.arrow} = {column.values}" for column in self.columns]
        return f"{columns}, {self.shapes}, ids {self.ids}, {self.crs.name}, declared {self.declared}"

    def arrow(self, **others: pa.Array) -> pa.Table:
        """Return the attributes, and other columns behind them."""
        fields = [pa.field(column.name, column.kind.arrow) for column in self.columns]
        arrays = [pa.array(column.values, column.kind.arrow) for column in self.columns]
        fields += [pa.field(name, values.type) for name, values in others.items()]
        return pa.table([*arrays, *others.values()], schema=pa.schema(fields))


def _edges(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def _integers(bits: int) -> st.SearchStrategy[int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return st.one_of(_edges(low, low + 1, high, high - 1, 0, -1), st.integers(low, high))


finite = st.one_of(
    _edges(0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 9007199254740993.0, -1.0),
    st.floats(allow_nan=False, allow_infinity=False),
)
floats = st.one_of(finite, _edges(float("nan"), float("inf"), float("-inf")))
texts = st.one_of(
    _edges(
        "",
        " ",
        " lead and trail ",
        "it's",
        'say "hi"',
        "a\nb\r\nc\td",
        "größe",
        "😀",
        "null",
        "0",
        "-0.0",
        "e\u0301",
        "\\",
        "%s;,",
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
dates = st.one_of(
    _edges(
        dt.date.min, dt.date.max, dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(1900, 2, 28), dt.date(2024, 2, 29)
    ),
    st.dates(),
)


_MOMENTS = [
    dt.datetime.fromisoformat(text)
    for text in (
        "0001-01-02T00:00:00",
        "9999-12-30T00:00:00",
        "1969-12-31T23:59:59.999",
        "1970-01-01T00:00:00",
        "2024-02-29T12:30:01",
    )
]


def _moments(step_us: int, zone: dt.tzinfo | None) -> st.SearchStrategy[dt.datetime]:
    """Return times in whole steps, none so near the ends of Python's range that another zone has no such time."""
    drawn = st.one_of(st.sampled_from(_MOMENTS), st.datetimes(_MOMENTS[0], _MOMENTS[1]))
    return drawn.map(lambda t: t.replace(microsecond=t.microsecond // step_us * step_us, tzinfo=zone))


INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))
KINDS: Mapping[str, Kind] = {
    "boolean": Kind(st.booleans(), pa.bool_()),
    "int16": Kind(_integers(16), pa.int16()),
    "int32": Kind(_integers(32), pa.int32()),
    "int64": Kind(_integers(64), pa.int64()),
    "float32": Kind(st.one_of(_edges(-0.0, 2.0**-149, float("nan"), float("-inf")), st.floats(width=32)), pa.float32()),
    "float64": Kind(floats, pa.float64()),
    "text": Kind(texts, pa.string()),
    "bytes": Kind(st.one_of(_edges(b"", b"\x00", b"\xff\x00"), st.binary(max_size=12)), pa.binary()),
    "date": Kind(dates, pa.date32()),
    "local": Kind(_moments(1000, None), pa.timestamp("ms")),
    "utc": Kind(_moments(1000, dt.UTC), pa.timestamp("ms", "UTC")),
    "zoned": Kind(_moments(1000, INDIA), pa.timestamp("ms", "+05:30")),
    "local_us": Kind(_moments(1, None), pa.timestamp("us")),
    "utc_us": Kind(_moments(1, dt.UTC), pa.timestamp("us", "UTC")),
    "time": Kind(st.times(), pa.time64("us")),
}
"""By name. A null is possible among the values of each."""

CUSTOM_WKT = pyproj.CRS.from_proj4(
    "+proj=tmerc +lat_0=7 +lon_0=13.5 +k=0.9998 +x_0=12345 +y_0=-54321 +ellps=GRS80 +units=m"
).to_wkt()
CRS: Mapping[str, pyproj.CRS] = {
    "projected": pyproj.CRS("EPSG:32633"),
    "north first": pyproj.CRS("EPSG:2180"),
    "feet": pyproj.CRS("EPSG:2263"),
    "latitude first": pyproj.CRS("EPSG:4258"),
    "WGS 84": pyproj.CRS("EPSG:4326"),
    "CRS84": pyproj.CRS("OGC:CRS84"),
    "old datum": pyproj.CRS("EPSG:4267"),
    "Esri": pyproj.CRS("ESRI:102008"),
    "custom": pyproj.CRS(CUSTOM_WKT),
}
"""By name."""

NAMES = st.one_of(
    _edges("a", "name", "Name", "NAME", "select", "order", "group", "table", "where", "null", "index", "default", "größe", "é", "e\u0301",
           "with blank", 'say "hi"', "it's", "a.b", "a,b;c", "1st", "%", "😀", "x" * 60, "[a]", "`a`", "values", "type", "properties", "coordinates"),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=6),
)  # fmt: skip

_eighths = st.integers(-640, 640).map(lambda n: n / 8)
_exact = st.one_of(_eighths, st.floats(-80, 80).map(lambda x: x + 0.0))


def _strings(places: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(places, min_size=2, max_size=4, unique=True).map(tuple)


@st.composite
def _polygons(draw: st.DrawFn, dimensions: str, part: int = 0) -> tuple[Any, ...]:
    """Draw a rectangle in the strip of a part, with a hole or without, its outer ring counterclockwise."""
    x, y = -80 + 40 * part + draw(st.integers(0, 8)), draw(st.integers(-60, 60))
    wide, tall = draw(st.integers(3, 20)), draw(st.integers(3, 20))
    more = draw(st.lists(_eighths, min_size=len(dimensions) - 2, max_size=len(dimensions) - 2))

    def ring(x: float, y: float, wide: float, tall: float) -> tuple[Any, ...]:
        corners = ((x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall), (x, y))
        return tuple((float(a), float(b), *more) for a, b in corners)

    hole = (ring(x + 1, y + 1, 1, 1)[::-1],) if draw(st.booleans()) else ()
    return (ring(x, y, wide, tall), *hole)


def shapes(type_: int, dimensions: str, is_exact: bool = True) -> st.SearchStrategy[Shape]:
    """Return geometries of one type that are not empty; `is_exact`: coordinates may need all digits of a double."""
    places = st.tuples(*[_exact if is_exact else _eighths] * len(dimensions))
    parts: st.SearchStrategy[Any]
    match type_:
        case 1:
            parts = places
        case 2:
            parts = _strings(places)
        case 3:
            parts = _polygons(dimensions)
        case 4:
            parts = st.lists(places, min_size=1, max_size=3).map(tuple)
        case 5:
            parts = st.lists(_strings(places), min_size=1, max_size=3).map(tuple)
        case _:
            parts = st.integers(1, 3).flatmap(lambda n: st.tuples(*(_polygons(dimensions, part) for part in range(n))))
    return parts.map(lambda coordinates: Shape(type_, dimensions, coordinates))


@dataclass(frozen=True)
class Holds:
    """What a form of file holds of a layer: the table of what may be drawn."""

    kinds: Mapping[str, Kind]
    """Kinds of attributes, with the type and the value that each has when it is read."""
    names: st.SearchStrategy[str] = NAMES
    """Names of attributes."""
    one_name: Callable[[str], Any] = str
    """Names for which this is equal are one name."""
    min_columns: int = 0
    """1 = there must be an attribute."""
    min_rows: int = 0
    """1 = there must be a feature."""
    crs: Sequence[str] = tuple(CRS)
    """Keys of CRS."""
    types: Sequence[int] = (POINT, LINE, POLYGON, MULTI_POINT, MULTI_LINE, MULTI_POLYGON)
    dimensions: Sequence[str] = ("XY", "XYZ")
    mixed: Sequence[str] = ("XY", "XYZ")
    """Dimensions of geometries in layers of several types; empty = there are no such layers."""
    has_empty: bool = True
    """True = also empty geometries."""
    has_empty_points: bool = True
    """False = an empty point is none."""
    is_exact: bool = True
    """True = coordinates may need all digits of a double."""
    ids: Callable[[int], st.SearchStrategy[list[Any] | None]] = lambda count: st.none()
    """Ids of so many features."""


@st.composite
def random_layers(draw, holds: Holds) -> RandomLayer:  # type: ignore[no-untyped-def]
    """Draw a layer that a form holds."""
    count = draw(st.integers(holds.min_rows, 5))
    names = draw(st.lists(holds.names, min_size=holds.min_columns, max_size=4, unique_by=holds.one_name))
    columns = []
    for name in names:
        kind = holds.kinds[draw(st.sampled_from(sorted(holds.kinds)))]
        values = st.none() if draw(st.integers(0, 7)) == 0 else st.one_of(st.none(), kind.values, kind.values)
        columns.append(Column(name, kind, draw(st.lists(values, min_size=count, max_size=count))))
    types = [(t, d) for t in holds.types for d in holds.dimensions]
    is_mixed = bool(holds.mixed) and draw(st.booleans())
    chosen = [(t, d) for t in holds.types for d in holds.mixed] if is_mixed else [draw(st.sampled_from(types))]
    of_one_type = [shapes(t, d, holds.is_exact) for t, d in chosen]
    none = [Shape(t, d, ()) for t, d in chosen if holds.has_empty and (t != POINT or holds.has_empty_points)]
    empty = [st.sampled_from(none)] if none else []
    geometries = st.lists(st.one_of(st.none(), *empty, *of_one_type, *of_one_type), min_size=count, max_size=count)
    return RandomLayer(
        columns=columns,
        shapes=draw(geometries),
        ids=draw(holds.ids(count)),
        crs=CRS[draw(st.sampled_from(holds.crs))],
        declared=0 if is_mixed else Shape(chosen[0][0], chosen[0][1], ()).wkb_type,
    )
