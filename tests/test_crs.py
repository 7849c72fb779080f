"""CRS are what their names say, and coordinates are in x, y order whatever the authority says."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely

from processes.crs import (
    CRS84,
    CrsTransform,
    crs_from_text,
    epsg_name,
    is_longitude_latitude,
    parse_crs,
    same_coordinates,
)
from processes.errors import InputError
from tables import each_row


@each_row(
    ("text", "code"),
    [
        ("EPSG:32633", 32633),
        ("epsg:3857", 3857),
        (" EPSG:4326 ", 4326),
        ("urn:ogc:def:crs:EPSG::25832", 25832),
        ("urn:ogc:def:crs:EPSG:9.9:25832", 25832),
        ("http://www.opengis.net/def/crs/EPSG/0/4326", 4326),
        ("https://www.opengis.net/def/crs/EPSG/10.1/2056", 2056),
    ],
)
def test_name_of_an_epsg_crs_is_understood(text: str, code: int) -> None:
    assert parse_crs(text).to_epsg() == code
    assert epsg_name(parse_crs(text)) == f"EPSG:{code}"


@each_row("text", [CRS84, CRS84.replace("http:", "https:"), f"{CRS84}h", "OGC:CRS84", "urn:ogc:def:crs:OGC:1.3:CRS84"])
def test_crs84_is_longitude_latitude(text: str) -> None:
    assert parse_crs(text).to_authority() == ("OGC", "CRS84")
    assert is_longitude_latitude(parse_crs(text))


@each_row(
    "text",
    [
        "",
        "4326",
        "EPSG:",
        "EPSG:0",
        "EPSG:999999",
        "EPSG:4326; DROP",
        "EPSG:4326 EPSG:4327",
        "WGS 84",
        "+proj=longlat",
        "+init=epsg:4326",
        "/etc/passwd",
        "http://example.org/def/crs/EPSG/0/4326",
        "http://www.opengis.net/def/crs/EPSG/0/",
        "ESRI:102100",
        pyproj.CRS.from_epsg(4326).to_wkt(),
        "EPSG:" + "4" * 100_000,
    ],
    ids=lambda text: repr(text)[:30],
)
def test_other_words_name_no_crs_and_are_told_shortly(text: str) -> None:
    with pytest.raises(InputError, match="CRS") as caught:
        parse_crs(text)
    assert len(caught.value.detail) < 500


@each_row("text", ["EPSG:5773", "EPSG:4978", "EPSG:5800"])
def test_crs_without_a_map_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_crs(text)


@each_row(
    ("first", "second", "same"),
    [
        ("EPSG:4326", CRS84, True),
        ("EPSG:32633", "urn:ogc:def:crs:EPSG::32633", True),
        ("EPSG:4326", "EPSG:4258", False),
        ("EPSG:32633", "EPSG:32634", False),
        ("EPSG:32633", "EPSG:25833", False),
    ],
)
def test_coordinates_mean_the_same_only_in_the_same_crs(first: str, second: str, same: bool) -> None:
    assert same_coordinates(parse_crs(first), parse_crs(second)) is same
    assert CrsTransform(parse_crs(first), parse_crs(second)).is_identity is same


def test_only_crs84_and_epsg_4326_are_longitude_latitude() -> None:
    assert is_longitude_latitude(parse_crs("EPSG:4326"))
    assert not is_longitude_latitude(parse_crs("EPSG:4258"))
    assert not is_longitude_latitude(parse_crs("EPSG:3857"))


def test_crs_without_a_number_is_named_by_its_wkt() -> None:
    wkt = pyproj.CRS.from_proj4("+proj=laea +lat_0=48 +lon_0=11 +ellps=GRS80 +units=m").to_wkt()
    assert crs_from_text(epsg_name(crs_from_text(wkt))).equals(crs_from_text(wkt))


@each_row(("source", "target"), [("EPSG:4326", "EPSG:32633"), ("EPSG:31468", "EPSG:3857"), (CRS84, "EPSG:2056")])
def test_every_vertex_goes_where_pyproj_takes_it_in_x_y_order(source: str, target: str) -> None:
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    x, y = (4_468_000, 5_333_000) if source == "EPSG:31468" else (11.5, 48.1)
    hole = shapely.box(x + 1e-4, y + 1e-4, x + 2e-4, y + 2e-4).exterior
    shapes = [
        shapely.Point(x, y),
        shapely.LineString([(x, y), (x + 1e-3, y + 2e-3)]),
        shapely.Polygon(shapely.box(x, y, x + 1e-3, y + 1e-3).exterior, [hole]),
        shapely.MultiPoint([(x, y), (x + 1, y)]),
        shapely.MultiPolygon([shapely.box(x, y, x + 1, y + 1), shapely.box(x + 2, y, x + 3, y + 1)]),
    ]
    found = CrsTransform(parse_crs(source), parse_crs(target)).geometries(np.array(shapes, dtype=object))
    for shape, ours in zip(shapes, found, strict=True):
        expected = np.column_stack(transformer.transform(*shapely.get_coordinates(shape).T))
        np.testing.assert_array_equal(shapely.get_coordinates(ours), expected)
        assert ours.geom_type == shape.geom_type


def test_missing_empty_and_high_geometries_stay_so() -> None:
    shapes = np.array([None, shapely.Polygon(), shapely.Point(15, 50, 7.5), shapely.Point(15, 50)], dtype=object)
    found = CrsTransform(parse_crs("EPSG:4326"), parse_crs("EPSG:32633")).geometries(shapes)
    assert found[0] is None
    assert found[1].is_empty
    assert found[2].z == 7.5
    assert [shape.has_z for shape in found[2:]] == [True, False]
    assert (found[2].x, found[2].y) == (found[3].x, found[3].y)
    assert shapes[3].x == 15


@each_row(
    "text",
    [
        "POINT M (15 50 7)",
        "POINT ZM (15 50 3 7)",
        "LINESTRING ZM (15 50 1 2, 16 51 3 4)",
        "POLYGON M ((15 50 1, 16 50 2, 16 51 3, 15 50 4), (15.5 50.1 5, 15.6 50.1 6, 15.6 50.2 7, 15.5 50.1 8))",
        "MULTIPOINT ZM ((15 50 1 2), (16 51 3 4))",
        "MULTILINESTRING M ((15 50 1, 16 51 2), (14 50 3, 15 51 4))",
        "MULTIPOLYGON ZM (((15 50 1 2, 16 50 1 3, 16 51 1 4, 15 50 1 5)))",
        "POINT M EMPTY",
        "POLYGON ZM EMPTY",
    ],
)
def test_measures_and_heights_stay_while_places_move(text: str) -> None:
    shape = shapely.from_wkt(text)
    beside = [None, shapely.Point(15, 50)]
    found = CrsTransform(parse_crs("EPSG:4326"), parse_crs("EPSG:32633")).geometries(np.array([*beside, shape]))
    moved = found[2]
    assert (moved.geom_type, moved.has_z, moved.has_m, moved.is_empty) == (
        shape.geom_type,
        shape.has_z,
        shape.has_m,
        shape.is_empty,
    )
    before, after = (shapely.get_coordinates(item, include_z=True, include_m=True) for item in (shape, moved))
    transformer = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    np.testing.assert_array_equal(after[:, :2], np.column_stack(transformer.transform(*before[:, :2].T)))
    np.testing.assert_array_equal(after[:, 2:], before[:, 2:])
    assert found[1].equals(shapely.Point(*transformer.transform(15, 50)))


def test_what_has_no_place_in_the_target_is_infinite() -> None:
    shapes = np.array([shapely.Point(15, 95), shapely.Point(15, 50)], dtype=object)
    found = CrsTransform(parse_crs(CRS84), parse_crs("EPSG:32633")).geometries(shapes)
    assert np.isinf(found[0].x)
    assert np.isfinite(found[1].x)
