"""FlatGeobuf in: as GDAL writes it, in the file's order; never a part of a file."""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely

from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading import flatgeobuf
from processes.features.reading.files import read_layer
from processes.settings import Limits
from tables import each_row


def save(
    path: Path,
    geometries: Sequence[Any],
    columns: dict[str, Any] | None = None,
    crs: str | None = "EPSG:32633",
    geometry_type: str = "Unknown",
    **options: Any,
) -> Path:
    """Write a layer with GDAL."""
    wkb = pa.array(shapely.to_wkb(np.array(geometries, dtype=object), output_dimension=4, flavor="iso"), pa.binary())
    table = pa.table({**(columns or {"n": np.arange(len(geometries))}), "shape": wkb})
    pyogrio.write_arrow(
        table, path, driver="FlatGeobuf", geometry_name="shape", geometry_type=geometry_type, crs=crs, **options
    )
    return path


def points(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return list(np.asarray(shapely.points(rng.uniform(0, 1000, (count, 2)))))


def read(path: Path, limit: int = 100_000) -> Layer:
    return read_layer(path, "trees.fgb", None, Limits(max_objects=limit))


@each_row("index", ["YES", "NO"])
@each_row("count", [1, 2, 16, 17, 300])
def test_features_come_in_the_order_of_the_file(tmp_path: Path, index: str, count: int) -> None:
    shapes = points(count)
    layer = read(save(tmp_path / "a.fgb", shapes, geometry_type="Point", SPATIAL_INDEX=index))
    order = layer.attributes.column("n").to_pylist()
    assert [shape.wkt for shape in layer.geometries(0, count)] == [shapes[n].wkt for n in order]
    if index == "NO":
        assert order == list(range(count))
    assert (layer.name, layer.ids, layer.geometry_type) == ("trees", None, "Point")
    assert layer.crs is not None
    assert layer.crs.to_epsg() == 32633


def test_attributes_keep_their_types_and_nulls(tmp_path: Path) -> None:
    columns = {
        "text": ["é😀", None],
        "flag": [True, None],
        "short": pa.array([-3, None], pa.int16()),
        "long": [2**62, None],
        "number": [0.1, None],
        "time": pa.array([dt.datetime(2024, 2, 29, 12, 30, 1, 500_000, dt.UTC), None], pa.timestamp("ms", "UTC")),
        "wkb_geometry": ["a name that GDAL itself gives", None],
    }
    layer = read(save(tmp_path / "a.fgb", points(2), columns, SPATIAL_INDEX="NO"))
    assert layer.attributes.to_pylist() == [
        {
            "text": "é😀",
            "flag": True,
            "short": -3,
            "long": 2**62,
            "number": 0.1,
            "time": dt.datetime(2024, 2, 29, 12, 30, 1, 500_000, dt.UTC),
            "wkb_geometry": "a name that GDAL itself gives",
        },
        dict.fromkeys(columns),
    ]


@each_row(
    ("zones", "expected"),
    [
        ([None, None], pa.timestamp("ms")),
        (["Z", "Z"], pa.timestamp("ms", "UTC")),
        (["+02:00", "+02:00"], pa.timestamp("ms", "+02:00")),
        (["+02:00", "-05:30"], pa.timestamp("ms", "UTC")),
        (["Z", None], pa.string()),
    ],
)
def test_times_keep_their_zone(tmp_path: Path, zones: list[str | None], expected: pa.DataType) -> None:
    """GDAL keeps the zone of each value; its own JSON driver is what makes values of several zones."""
    texts = [f"2024-02-29T12:30:01.500{zone or ''}" for zone in zones]
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"t": text}}
        for text in texts
    ]
    source = tmp_path / "a.geojson"
    source.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pyogrio.open_arrow(source, use_pyarrow=True, datetime_as_string=True) as (_, stream):
        table = stream.read_all()
    wkb = table.column("wkb_geometry").cast(pa.binary())
    table = table.set_column(1, "wkb_geometry", wkb)
    path = tmp_path / "a.fgb"
    pyogrio.write_arrow(
        table.select(["t", "wkb_geometry"]),
        path,
        driver="FlatGeobuf",
        geometry_name="wkb_geometry",
        geometry_type="Point",
        crs="EPSG:4326",
        SPATIAL_INDEX="NO",
    )
    column = read(path).attributes.column("t")
    assert column.type == expected
    found = [value if isinstance(value, str) else value.isoformat() for value in column.to_pylist()]
    moments = [dt.datetime.fromisoformat(text) for text in found]
    assert moments == [dt.datetime.fromisoformat(text) for text in texts]


def test_null_geometry_and_mixed_types(tmp_path: Path) -> None:
    shapes = [shapely.Point(1, 2), None, shapely.box(0, 0, 1, 1)]
    layer = read(save(tmp_path / "a.fgb", shapes, SPATIAL_INDEX="NO"))
    assert layer.geometries(0, 3).tolist() == shapes
    assert layer.geometry_type == "Unknown"


@each_row("missing", [[0], [29], [7], [0, 1], [28, 29], [3, 4, 20], list(range(30))])
def test_missing_geometries_disturb_no_other(tmp_path: Path, missing: list[int]) -> None:
    """GDAL's own stream loses its way behind one, and is not believed."""
    shapes: list[Any] = [shapely.box(n, 0, n + 1, 1) if n % 2 else shapely.Point(n, n) for n in range(30)]
    for index in missing:
        shapes[index] = None
    layer = read(save(tmp_path / "a.fgb", shapes, {"t": [f"text {n}" for n in range(30)]}, SPATIAL_INDEX="NO"))
    assert layer.geometries(0, 30).tolist() == shapes
    assert layer.attributes.column("t").to_pylist() == [f"text {n}" for n in range(30)]


def test_features_are_counted_across_the_blocks_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = points(60)
    path = save(tmp_path / "a.fgb", shapes, {"t": ["x" * n for n in range(60)]}, SPATIAL_INDEX="NO")
    for size in range(4, 200, 7):
        monkeypatch.setattr(flatgeobuf, "_BYTES_AT_ONCE", size)
        assert read(path).geometries(0, 60).tolist() == shapes


def test_heights_survive(tmp_path: Path) -> None:
    shapes = [shapely.Point(1, 2, 3)]
    layer = read(save(tmp_path / "a.fgb", shapes, geometry_type="Point Z"))
    assert layer.geometries(0, 1)[0].wkt == "POINT Z (1 2 3)"
    assert layer.geometry_type == "Point Z"


def test_file_without_features_is_an_empty_layer(tmp_path: Path) -> None:
    layer = read(save(tmp_path / "a.fgb", [], {"n": pa.array([], pa.int64())}, geometry_type="Point"))
    assert len(layer) == 0
    assert layer.attributes.column_names == ["n"]


def test_file_without_crs_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        path = save(tmp_path / "a.fgb", points(2), crs=None)
    with pytest.raises(LayerError, match="has no CRS"):
        read(path)


def test_geometry_collection_is_named_by_its_position(tmp_path: Path) -> None:
    shapes = [shapely.Point(1, 2), shapely.GeometryCollection([shapely.Point(1, 2)])]
    with pytest.raises(LayerError, match="feature 2 is a GeometryCollection"):
        read(save(tmp_path / "a.fgb", shapes, SPATIAL_INDEX="NO"))


def test_more_features_than_allowed_name_the_limit(tmp_path: Path) -> None:
    path = save(tmp_path / "a.fgb", points(4))
    assert len(read(path, 4)) == 4
    with pytest.raises(LimitError, match=r"4 features.*max_objects = 3"):
        read(path, 3)


@pytest.mark.parametrize("index", ["YES", "NO"])
def test_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, index: str) -> None:
    whole = save(tmp_path / "a.fgb", points(20), SPATIAL_INDEX=index).read_bytes()
    path = tmp_path / "cut.fgb"
    for size in [*range(7, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(LayerError, match="FlatGeobuf is broken"):
            read(path)


def test_file_without_a_count_is_read_to_its_end(tmp_path: Path) -> None:
    """Writers that stream leave the count 0, which means unknown."""
    path = save(tmp_path / "a.fgb", points(20), SPATIAL_INDEX="NO")
    data = bytearray(path.read_bytes())
    (place,) = [n for n in range(len(data) - 8) if data[n : n + 8] == struct.pack("<Q", 20)]
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    assert read(path).attributes.column("n").to_pylist() == list(range(20))
    with pytest.raises(LimitError, match="max_objects = 19"):
        read(path, 19)
    path.write_bytes(data[:-3])
    with pytest.raises(LayerError, match="FlatGeobuf is broken"):
        read(path)


@each_row("count", [19, 21, 2**40, 2**64 - 1])
def test_count_that_is_not_true_is_refused(tmp_path: Path, count: int) -> None:
    path = save(tmp_path / "a.fgb", points(20), SPATIAL_INDEX="NO")
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<Q", 20), struct.pack("<Q", count), 1))
    with pytest.raises(LayerError, match="FlatGeobuf is broken"):
        read(path)


def test_damaged_file_never_gives_a_part_of_its_features(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.fgb", points(200), {"t": [f"text {n}" for n in range(200)]}).read_bytes()
    rng, path, refused = np.random.default_rng(1), tmp_path / "damaged.fgb", 0
    for _ in range(150):
        data = bytearray(whole)
        start = int(rng.integers(8, len(data)))
        data[start : start + int(rng.integers(1, 12))] = rng.bytes(int(rng.integers(1, 12)))
        path.write_bytes(data)
        try:
            assert len(read(path)) == 200
        except (LayerError, LimitError):
            refused += 1
    assert refused


def test_file_that_looks_like_another_kind_too_is_never_opened_as_that(tmp_path: Path) -> None:
    """GDAL finds a VRT by a word anywhere in the first bytes, and a VRT can point to any file."""
    other = save(tmp_path / "other.fgb", points(2))
    vrt = f'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>{other}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    path = tmp_path / "a.fgb"
    path.write_bytes(b"fgb\x03fgb" + vrt.encode())
    with pytest.raises(LayerError, match="FlatGeobuf is broken"):
        read(path)


@each_row("name", ["a!b.fgb", "a.zip", "a.shp.zip!x", "a b#c?.fgb", "GPKG:a"])
def test_name_of_the_file_says_nothing(tmp_path: Path, name: str) -> None:
    assert len(read(save(tmp_path / "a.fgb", points(3)).rename(tmp_path / name))) == 3


@pytest.mark.filterwarnings("ignore")
def test_curves_are_lines_as_gdal_makes_them(tmp_path: Path) -> None:
    arc = struct.pack("<BII10d", 1, 8, 5, 0, 0, 1, 1, 2, 0, 1, -1, 0, 0)
    curves = [struct.pack("<BII", 1, 10, 1) + arc, arc, struct.pack("<BII", 1, 9, 1) + arc]
    path = tmp_path / "a.fgb"
    options = {"driver": "FlatGeobuf", "geometry_name": "geom", "geometry_type": "Unknown", "crs": "EPSG:32633"}
    pyogrio.write_arrow(pa.table({"geom": pa.array(curves, pa.binary())}), path, SPATIAL_INDEX="NO", **options)
    layer = read(path)
    expected = shapely.from_wkb(pyogrio.raw.read(path)[2])
    assert [shape.wkt for shape in layer.geometries(0, 3)] == [shape.wkt for shape in expected]
    assert [shape.geom_type for shape in expected] == ["Polygon", "LineString", "LineString"]
    assert layer.warnings == (
        "3 geometries with curves are read as lines of many points; the first is that of feature 1",
    )


@each_row(
    ("values", "expected", "told"),
    [
        ([1, 2**53 - 1], [1, 2**53 - 1], None),
        ([5, None], [5, None], None),
        (
            [7, 2**62 + 1],
            [7.0, float(2**62)],
            "1 whole number of the attribute 'a' is larger than 2^53 and rounded to 16 digits; "
            "the first is that of feature 2",
        ),
    ],
)
def test_unsigned_numbers_are_whole_or_told(
    tmp_path: Path, values: list[int | None], expected: list[Any], told: str | None
) -> None:
    path = save(tmp_path / "a.fgb", points(2), {"a": values, "b": [1, 2]}, SPATIAL_INDEX="NO")
    data = bytearray(path.read_bytes())
    (header_bytes,) = struct.unpack_from("<I", data, 8)
    # GDAL writes no such column: its type in the header becomes 8, ULong, where it was 7, Long
    longs = [place for place in range(12, 12 + header_bytes) if data[place] == 7]
    found = []
    for place in longs:
        path.write_bytes(data[:place] + b"\x08" + data[place + 1 :])
        try:
            if pyogrio.read_info(path)["ogr_types"] == ["OFTReal", "OFTInteger64"]:
                found.append(read(path))
        except (pyogrio.errors.DataSourceError, LayerError, IndexError, OSError):
            continue
    (layer,) = found
    assert layer.attributes.column("a").to_pylist() == expected
    assert layer.attributes.schema.field("a").type == (pa.float64() if told else pa.int64())
    assert layer.warnings == (() if told is None else (told,))
