"""GeoJSON comes back as it went in: order, ids, attributes and geometry; what is wrong is said with its place."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from conftest import write_layer
from processes.crs import parse_crs
from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading.files import read_layer
from processes.features.reading.geojson import read_geojson
from processes.features.writing.geojson import GEOJSON
from processes.settings import Limits
from tables import each_row

POINT = {"type": "Point", "coordinates": [1.5, 2.25]}


def feature(geometry: Any = POINT, properties: Any = None, **members: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **members}


def text_of(features: Sequence[Any], **members: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features), **members}).encode()


def read(text: bytes, limit: int = 100_000) -> Layer:
    return read_geojson(text, "layer", Limits(max_objects=limit))


def problem(text: bytes) -> str:
    with pytest.raises(LayerError) as caught:
        read(text)
    return caught.value.detail


def there_and_back(text: bytes, folder: Path) -> list[dict[str, Any]]:
    """Return the features that a GeoJSON layer becomes when it is read and written, less the added field."""
    path, _ = write_layer(read(text), GEOJSON, folder)
    document = json.loads(path.read_bytes())
    assert document["type"] == "FeatureCollection"
    for item in document["features"]:
        assert item["properties"].pop("ClassStatus") == "ok"
    features: list[dict[str, Any]] = document["features"]
    return features


def exactly(value: Any) -> str:
    """Return JSON in which 1 and 1.0, true and 1, and the order of members all differ."""
    return json.dumps(value, ensure_ascii=False)


@each_row(
    "ids",
    [
        [3, 1, 2],
        [1, 2, 3],
        ["b", "a", ""],
        ["1", "2", "2"],
        [1, "1", 2, "é😀"],
        [0, -5, 2**63 - 1, -(2**63)],
        [2**63, 1, 2**80],
        [1.5, 2.5],
    ],
    ids=str,
)
def test_ids_survive(tmp_path: Path, ids: list[Any]) -> None:
    found = there_and_back(text_of([feature(id=item) for item in ids]), tmp_path)
    assert exactly([item["id"] for item in found]) == exactly(ids)


@each_row("ids", [[None, None], [1, None, 3], ["a", None], [None, "b"]], ids=str)
@each_row("null", [False, True])
def test_missing_ids_stay_missing(tmp_path: Path, ids: list[Any], null: bool) -> None:
    features = [feature(**({} if item is None and not null else {"id": item})) for item in ids]
    found = there_and_back(text_of(features), tmp_path)
    assert [item.get("id", "missing") for item in found] == ["missing" if item is None else item for item in ids]


def test_missing_ids_among_numbers_and_texts_stay_missing(tmp_path: Path) -> None:
    found = there_and_back(text_of([feature(id=1), feature(id="a"), feature()]), tmp_path)
    assert "id" not in found[2]


def test_whole_numbers_among_fractions_stay_whole(tmp_path: Path) -> None:
    features = [feature(id=1, properties={"a": 1}), feature(id=2.5, properties={"a": 2.5})]
    found = there_and_back(text_of(features), tmp_path)
    assert exactly([item["id"] for item in found]) == "[1, 2.5]"
    assert [item["properties"]["a"] for item in found] == [1, 2.5]


@each_row("value", [True, [1], {}], ids=str)
def test_id_that_is_neither_number_nor_text_is_left_out_and_told(value: Any) -> None:
    """GDAL 3.12 reads such features without a word."""
    layer = read(text_of([feature(id=1), feature(id=value), feature(id=3)]))
    assert layer.ids is not None
    assert layer.ids.to_pylist() == [1, None, 3]
    assert layer.warnings == ("the id of feature 2 is neither a number nor a text; it is left out",)


@each_row(
    "values",
    [
        [1, 2, 3],
        [1.5, -0.0, 1e300, 5e-324, 0.1],
        [True, False],
        ["a", "", " ", "null", '"quoted"', "\\", "é", "😀", "\u2028", "\x00", "line\nfeed", "Ελλάδα"],
        [None, None],
        [1, None, 3],
        [None, "a"],
        [True, 1, "1", 1.5, None, [1], {"a": 1}],
        [2**53, 2**53 + 1, 2**63 - 1, -(2**63)],
        [2**63, 2**64, -(2**63) - 1, 10**40],
        [2**53 + 1, 0.5],
        [[], {}, [[]], [None], {"a": {"b": [1, 2.5, "x", None, True]}}, {"z": 1, "a": 2}],
        [{"é": [1.0]}, None],
        ["2024-01-01", "2024-01-01T00:00:00Z"],
    ],
    ids=lambda values: repr(values)[:40],
)
def test_attributes_survive_exactly(tmp_path: Path, values: list[Any]) -> None:
    """Alone, and with features before, between and behind that do not have the attribute."""
    for gap in (False, True):
        properties = [item for value in values for item in ([{}, {"a": value}, {}] if gap else [{"a": value}])]
        found = there_and_back(text_of([feature(properties=item) for item in properties]), tmp_path)
        assert exactly([item["properties"] for item in found]) == exactly(properties)


def test_attributes_survive_across_the_slices_in_which_features_are_read(tmp_path: Path) -> None:
    """A kind that changes, an attribute that comes late or goes, nulls here and absence there."""
    count = 20_000

    def properties(place: int) -> dict[str, Any]:
        late = {"late": place} if place > 17_000 else {}
        early = {"early": None if place == 5 else [place]} if place < 100 else {}
        sometimes = {"sometimes": None} if place == 12_000 else {"sometimes": "x"} if place % 9_000 == 0 else {}
        kind = place if place < 9_000 else f"text {place}" if place < 17_000 else None
        return {"kind": kind, "number": place / 2 + 0.25, "flag": place % 2 == 0, **early, **late, **sometimes}

    features = [feature({"type": "Point", "coordinates": [i / 200, 1]}, properties(i), id=i) for i in range(count)]
    layer = read(text_of(features))
    path, _ = write_layer(layer, GEOJSON, tmp_path, rows_at_once=7_000)
    found = json.loads(path.read_bytes())["features"]
    assert [item["id"] for item in found] == list(range(count))
    assert [item["geometry"]["coordinates"][0] for item in found] == [i / 200 for i in range(count)]
    for place, item in enumerate(found):
        assert item["properties"] == properties(place) | {"ClassStatus": "ok"}, place


def test_odd_attribute_names_survive(tmp_path: Path) -> None:
    names = ("", " ", "a b", "é", "Name", "name", "NAME", "id", "fid", "geometry", 'a"b', "$")
    properties = dict.fromkeys(names, 1)
    found = there_and_back(text_of([feature(properties=properties)]), tmp_path)
    assert found[0]["properties"] == properties


@pytest.mark.parametrize("text", ['"properties": null', '"title": "no properties"'])
def test_features_without_properties_are_taken(tmp_path: Path, text: str) -> None:
    found = there_and_back(
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null, %s}]}' % text.encode(),
        tmp_path,
    )
    assert found[0]["properties"] == {}


def test_of_duplicate_keys_the_last_counts(tmp_path: Path) -> None:
    text = (
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "id": 1, "id": 2, '
        b'"geometry": null, "geometry": {"type": "Point", "coordinates": [3, 4]}, "properties": {"a": 1, "a": "x"}}]}'
    )
    (found,) = there_and_back(text, tmp_path)
    assert (found["id"], found["properties"], found["geometry"]["coordinates"]) == (2, {"a": "x"}, [3, 4])


@each_row(
    "geometry",
    [
        {"type": "Point", "coordinates": [13.123456789012345, -0.1]},
        {"type": "Point", "coordinates": [1.5, 2.5, 30.25]},
        {"type": "MultiPoint", "coordinates": [[1.5, 2.5], [3.5, 4.5]]},
        {"type": "LineString", "coordinates": [[1.5, 2.5, 1.5], [3.5, 4.5, 2.5]]},
        {"type": "MultiLineString", "coordinates": [[[1.5, 2.5], [3.5, 4.5]], [[0.5, 0.5], [1.5, 1.5]]]},
        {
            "type": "Polygon",
            "coordinates": [
                [[0.5, 0.5], [9.5, 0.5], [9.5, 9.5], [0.5, 0.5]],
                [[5.5, 3.5], [6.5, 3.5], [6.5, 4.5], [5.5, 3.5]],
            ],
        },
        {"type": "Polygon", "coordinates": [[[0.5, 0.5], [9.5, 9.5], [9.5, 0.5], [0.5, 9.5], [0.5, 0.5]]]},
        {
            "type": "MultiPolygon",
            "coordinates": [[[[0.5, 0.5, 7.5], [9.5, 0.5, 7.5], [9.5, 9.5, 7.5], [0.5, 0.5, 7.5]]]],
        },
        None,
        {"type": "LineString", "coordinates": []},
        {"type": "MultiPolygon", "coordinates": []},
        {"type": "Point", "coordinates": []},
        {"type": "Polygon", "coordinates": []},
    ],
    ids=lambda geometry: "null" if geometry is None else f"{geometry['type']}-{len(str(geometry))}",
)
def test_geometries_survive_exactly(tmp_path: Path, geometry: Any) -> None:
    found = there_and_back(text_of([feature(), feature(geometry), feature()]), tmp_path)
    assert found[1]["geometry"] == geometry
    assert found[0]["geometry"] == found[2]["geometry"] == POINT


@each_row(
    ("geometries", "expected"),
    [
        ([POINT, None], "Point"),
        ([None], "Unknown"),
        ([], "Unknown"),
        ([POINT, {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}], "Unknown"),
    ],
)
def test_geometry_type_is_the_common_one(geometries: list[Any], expected: str) -> None:
    assert read(text_of([feature(item) for item in geometries])).geometry_type == expected


def test_geometry_type_says_that_there_are_heights() -> None:
    assert read(text_of([feature({"type": "Point", "coordinates": [1, 2, 3]})])).geometry_type in ("Point Z", "Unknown")


UNREAD: tuple[Any, ...] = (
    {"type": "Point", "coordinates": [1]},
    {"type": "Point", "coordinates": [10**400, 1]},
    {"type": "Point", "coordinates": [None, 1]},
    {"type": "Point", "coordinates": ["1", "2"]},
    {"type": "Point", "coordinates": {"x": 1, "y": 2}},
    {"type": "Point", "coordinates": [[1, 2]]},
    {"type": "Point", "coordinates": [True, 2]},
    {"type": "MultiPoint", "coordinates": [[]]},
    {"type": "LineString", "coordinates": [[0, 0], None, [1, 1]]},
    {"type": "Polygon", "coordinates": [[0, 0], [1, 0], [1, 1], [0, 0]]},
    {"type": "Circle", "coordinates": [1, 2]},
    {"coordinates": [1, 2]},
    {},
    [],
    5,
    True,
    "POINT (1 2)",
    {"type": "FeatureCollection", "features": []},
    feature(),
)
"""What GDAL 3.12 reads as no geometry, most of it without a word."""


@each_row("geometry", UNREAD, ids=lambda geometry: json.dumps(geometry)[:50])
@each_row("place", [1, 3])
def test_geometry_that_cannot_be_read_is_empty_and_named_by_the_position_of_its_feature(
    geometry: Any, place: int
) -> None:
    features = [feature()] * (place - 1) + [feature(geometry)] + [feature()] * 2
    layer = read(text_of(features))
    assert [item is None for item in layer.geometries(0, place + 2)] == [n == place - 1 for n in range(place + 2)]
    (warning,) = layer.warnings
    assert warning.startswith(f"the geometry of feature {place} cannot be read and counts as empty: ")
    assert problem(text_of([feature(None), feature(geometry), feature(geometry)])).startswith(
        "feature 2 has a geometry"
    )


@each_row("geometry", [{"type": "GeometryCollection", "geometries": items} for items in ([], [POINT])])
def test_geometry_collection_is_refused_by_the_position_of_its_feature(geometry: Any) -> None:
    for place in (1, 3):
        features = [feature()] * (place - 1) + [feature(geometry)] + [feature()] * 2
        assert problem(text_of(features)).startswith(f"feature {place} is a GeometryCollection")


@each_row("geometry", [UNREAD[0], UNREAD[10], 5])
def test_odd_geometries_behind_thousands_of_features_are_counted(geometry: Any) -> None:
    layer = read(text_of([feature()] * 8_999 + [feature(geometry), feature()] * 2))
    assert len(layer) == 9_003
    (warning,) = layer.warnings
    assert warning.startswith("2 geometries cannot be read and count as empty; the first is that of feature 9000: ")


def test_number_beyond_every_float_is_named_by_its_feature() -> None:
    text = text_of([feature(), feature()]).replace(b"[1.5,", b"[1e999,").replace(b"[1e999,", b"[1.5,", 1)
    (warning,) = read(text).warnings
    assert warning.startswith("the geometry of feature 2 ")
    assert problem(text_of([feature(), feature(properties={"a": 7.5})]).replace(b"7.5", b"1e999")).startswith(
        "feature 2 "
    )


@each_row("number", [b"01", b"1.", b"0x1", b"NaNs", b"Infinit", b"+1"])
def test_number_that_json_does_not_know_is_refused(number: bytes) -> None:
    assert "not JSON" in problem(text_of([feature()]).replace(b"2.25", number))


@each_row("item", [1, None, "x", [], {}, POINT, feature() | {"type": "feature"}, feature() | {"type": 1}])
def test_wrong_feature_is_named_by_its_position(item: Any) -> None:
    assert problem(text_of([feature(), item])).startswith("feature 2 ")


@each_row("properties", [[1], "x", 5])
def test_properties_that_are_no_object_are_none_and_told(properties: Any) -> None:
    odd = {**feature(), "properties": properties}
    layer = read(text_of([feature(properties={"a": 1}), odd, odd]))
    assert layer.attributes.to_pydict() == {"a": [1, None, None]}
    assert layer.warnings == (
        "the properties of 2 features are no objects; they have no attributes; the first is feature 2",
    )


@each_row(
    "document",
    [
        {},
        [],
        5,
        None,
        "x",
        feature(),
        POINT,
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": None},
        {"type": "FeatureCollection", "features": {}},
        {"type": "FeatureCollection", "features": "x"},
        {"type": "Topology", "features": []},
    ],
)
def test_what_is_no_feature_collection_is_refused(document: Any) -> None:
    assert "GeoJSON FeatureCollection" in problem(json.dumps(document).encode())


@each_row("text", [b"", b"{", b'{"type": "FeatureCollection", "features": [', text_of([]) + b" {}", text_of([])[:-1]])
def test_torn_text_is_refused(text: bytes) -> None:
    assert "not JSON" in problem(text)


@each_row("where", ["attribute", "geometry", "id"])
def test_text_that_is_not_utf_8_is_refused(where: str) -> None:
    item = {
        "attribute": feature(properties={"a": "é"}),
        "geometry": feature(POINT | {"note": "é"}),
        "id": feature(id="é"),
    }[where]
    text = json.dumps({"type": "FeatureCollection", "features": [feature(), item]}, ensure_ascii=False)
    assert "feature 2 " in problem(text.encode("latin-1"))


@each_row("levels", [1_000, 10_000, 100_000])
@each_row("where", ["properties", "coordinates", "foreign", "crs", "whole"])
def test_endless_nesting_is_refused_or_survived(levels: int, where: str) -> None:
    nested = b"[" * levels + b"]" * levels
    text = {
        "properties": text_of([feature(properties={"a": "X"})]).replace(b'"X"', nested),
        "coordinates": text_of([feature()]).replace(b"[1.5, 2.25]", nested),
        "foreign": text_of([feature()], more="X").replace(b'"X"', nested),
        "crs": text_of([feature()], crs="X").replace(b'"X"', nested),
        "whole": nested,
    }[where]
    if levels > 1_000 or where not in ("properties", "foreign"):
        assert len(problem(text)) < 1_000
        return
    with contextlib.suppress(LayerError):  # how deep Python's own limit is depends on where the test is called from
        assert len(read(text)) == 1


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\udfff": 1}'])
def test_half_a_character_is_refused(text: str) -> None:
    problem(text_of([feature(properties={"X": 1})]).replace(b'{"X": 1}', text.encode()))


def test_line_with_heights_at_some_points_alone_keeps_them(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[1.5, 2.5, 3.5], [4.5, 5.5]]}
    (found,) = there_and_back(text_of([feature(line)]), tmp_path)
    assert found["geometry"] == line


def test_features_that_have_nothing_in_common_are_refused_before_they_fill_the_memory() -> None:
    """20,000 short features with an attribute each of its own would be 400 million values."""
    start_s = time.monotonic()
    assert "different attributes" in problem(text_of([feature(properties={f"k{n}": 1}) for n in range(20_000)]))
    assert time.monotonic() - start_s < 10
    assert len(read(text_of([feature(properties={f"k{n}": 1 for n in range(5_000)})] * 10))) == 10


def test_more_features_than_allowed_name_the_limit() -> None:
    assert len(read(text_of([feature()] * 3), limit=3)) == 3
    with pytest.raises(LimitError, match=r"4 features.*max_objects = 3"):
        read(text_of([feature()] * 4), limit=3)


def test_layer_without_features_is_empty(tmp_path: Path) -> None:
    layer = read(text_of([]))
    assert (len(layer), layer.ids) == (0, None)
    path, _ = write_layer(layer, GEOJSON, tmp_path)
    assert json.loads(path.read_bytes())["features"] == []


def test_without_crs_member_it_is_crs84() -> None:
    assert read(text_of([feature()])).crs == parse_crs("OGC:CRS84")


@pytest.mark.parametrize(
    "name", ["EPSG:32633", "urn:ogc:def:crs:EPSG::32633", "http://www.opengis.net/def/crs/EPSG/0/32633"]
)
def test_legacy_crs_member_is_honoured_and_written_as_crs84(tmp_path: Path, name: str) -> None:
    point = {"type": "Point", "coordinates": [500_000.0, 5_538_630.703]}
    text = text_of([feature(point)], crs={"type": "name", "properties": {"name": name}})
    layer = read(text)
    assert layer.crs is not None
    assert layer.crs.to_epsg() == 32633
    (found,) = there_and_back(text, tmp_path)
    np.testing.assert_allclose(found["geometry"]["coordinates"], [15, 50], atol=1e-6)
    path, _ = write_layer(layer, GEOJSON, tmp_path)
    assert "crs" not in json.loads(path.read_bytes())


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:EPSG::4326", "EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84"])
def test_legacy_crs_member_is_always_x_y_order(tmp_path: Path, name: str) -> None:
    text = text_of([feature()], crs={"type": "name", "properties": {"name": name}})
    (found,) = there_and_back(text, tmp_path)
    assert found["geometry"] == POINT


@each_row(
    "crs",
    [
        None,
        {},
        5,
        "EPSG:4326",
        [],
        {"type": "name"},
        {"type": "name", "properties": None},
        {"type": "name", "properties": {"name": 4326}},
        {"type": "name", "properties": {"name": "EPSG:999999"}},
        {"type": "name", "properties": {"name": "Mars"}},
        {"type": "name", "properties": {"name": "/etc/passwd"}},
        {"type": "link", "properties": {"href": "http://example.org/crs", "type": "proj4"}},
        {"type": "EPSG", "properties": {"code": 4326}},
    ],
    ids=str,
)
def test_crs_member_that_names_no_crs_is_refused(crs: Any) -> None:
    assert "the features' crs member" in problem(text_of([feature()], crs=crs))


@each_row("name", ["EPSG:5773", "EPSG:4978", "EPSG:5800"])
def test_crs_that_is_not_of_maps_is_refused(name: str) -> None:
    assert "crs member" in problem(text_of([feature()], crs={"type": "name", "properties": {"name": name}}))


def test_place_that_crs84_cannot_express_is_null(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    here, nowhere = ({"type": "Point", "coordinates": [x, 5_538_630.703]} for x in (500_000, 1e30))
    found = there_and_back(text_of([feature(here), feature(nowhere, {"a": 1}), feature(None)], crs=crs), tmp_path)
    assert [item["geometry"] is None for item in found] == [False, True, True]
    assert found[1]["properties"] == {"a": 1}


def test_summary_and_name_are_foreign_members(tmp_path: Path) -> None:
    path, _ = write_layer(read(text_of([feature()])), GEOJSON, tmp_path)
    document = json.loads(path.read_bytes())
    assert document["name"] == "result"
    assert document["summary"] == {"counts": {"é": 1}, "warnings": []}
    assert "crs" not in document


def test_shapely_reads_what_is_written(tmp_path: Path) -> None:
    shapes = [shapely.box(0, 0, 1, 2), shapely.Point(3, 4, 5), shapely.LineString([(0, 0), (1, 1)])]
    features = [feature(json.loads(shapely.to_geojson(shape))) for shape in shapes]
    path, _ = write_layer(read(text_of(features)), GEOJSON, tmp_path)
    collection = shapely.from_geojson(path.read_text())
    assert [part.wkt for part in shapely.get_parts(collection)] == [shape.wkt for shape in shapes]


@each_row("prefix", [b"", b"\xef\xbb\xbf", b"\n\t ", b"\xef\xbb\xbf\r\n"])
def test_file_may_begin_with_a_byte_order_mark_or_blanks(tmp_path: Path, prefix: bytes) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(prefix + text_of([feature(), feature()]))
    layer = read_layer(path, "trees.geojson", None, Limits(max_objects=10))
    assert (len(layer), layer.name) == (2, "trees")


def test_file_may_begin_with_many_blanks(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(b" " * 40 + text_of([feature()]))
    assert len(read_layer(path, "a.geojson", None, Limits(max_objects=10))) == 1


@each_row(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"fid;geometry\n", "not a GeoJSON or a GeoPackage"),
        (b"PK\x03\x04", "not a sound zip archive"),
        (b"PAR1", "the Parquet file is broken"),
        (b"fgb\x03fgb\x01", "the FlatGeobuf is broken"),
        (b"<kml/>", "not a GeoJSON or a GeoPackage"),
        (text_of([]).decode().encode("utf-16"), "not a GeoJSON or a GeoPackage"),
        (b"[]", "not a GeoJSON FeatureCollection"),
        (b"{}", "not a GeoJSON FeatureCollection"),
        (b"{", "not JSON"),
    ],
)
def test_file_that_is_no_layer_is_refused_without_its_path(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(data)
    with pytest.raises(LayerError, match=words) as caught:
        read_layer(path, "trees.geojson", None, Limits(max_objects=10))
    assert str(tmp_path) not in caught.value.detail


def test_file_that_cannot_be_opened_is_refused_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match=r"features 'a\.geojson' cannot be read"):
        read_layer(tmp_path / "gone.geojson", "a.geojson", None, Limits(max_objects=10))
