"""Every vertex goes where PROJ takes it, in x, y order whatever the authority says."""

from __future__ import annotations

import numpy as np
import pyproj
import shapely

from processes.crs import CRS84, CrsTransform, parse_crs
from tables import each_row


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
