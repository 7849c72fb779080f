"""Objects of a result on a map: which tile has which, where they lie in it, and what stands for many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely
from numpy.typing import NDArray

from features.serving.vector_tiles import read_tile, shapes
from processes.crs import parse_crs
from processes.crs.web_mercator import WORLD_METRES, TileAddress, to_longitude_latitude
from processes.features.serving.map_index import MapIndex, write_map_index
from processes.features.serving.object_filter import ObjectFilter
from processes.features.serving.object_tiles import object_tile
from processes.features.serving.stored_result import StoredResult, SummaryParts, store_result
from processes.features.writing.class_style import ClassStyle
from processes.features.writing.result import ResultLayer, RowBatch

ALL = ObjectFilter(None, None, 0, 1)
CLASSES = ClassStyle("ClassLabel", (("oak", (0, 128, 0)), ("elm", None)))
BATCH = 500


def make_result(folder: Path, geometries: NDArray[np.object_], crs: str, labels: list[str | None] | None = None) -> Any:
    """Store a result whose objects are oak, elm, both and none in turn, and return it with its index."""
    count = len(geometries)
    labels = labels or [["oak", "elm", "oak;elm", None][number % 4] for number in range(count)]
    table = pa.table(
        {
            "ClassLabel": pa.array(labels, pa.string()),
            "ClassValue": pa.nulls(count, pa.int64()),
            "Confidence": pa.array(
                [None if label is None else (n % 100) / 100 for n, label in enumerate(labels)], pa.float64()
            ),
            "ClassStatus": pa.array(["nodata" if label is None else "ok" for label in labels]),
        }
    )

    def rows() -> Any:
        for start in range(0, count, BATCH):
            part = slice(start, min(count, start + BATCH))
            (attributes,) = table.slice(start, BATCH).combine_chunks().to_batches()
            wkb = pa.array(shapely.to_wkb(geometries[part]), pa.large_binary())
            yield RowBatch(None, np.arange(part.start, part.stop) + 1, wkb, attributes)

    layer = ResultLayer(
        "trees",
        parse_crs(crs),
        "Unknown",
        frozenset(),
        "id",
        None,
        False,
        table.schema,
        rows,
        lambda _: {},
        None,
        frozenset(),
    )
    store_result(layer, CLASSES, SummaryParts({}, [], [], [], ""), None, folder / "result.arrow")
    write_map_index(folder / "result.arrow", folder / "map.arrow")
    return StoredResult(folder / "result.arrow"), MapIndex(folder / "map.arrow")


def in_tile(geometry: Any, crs: str, address: TileAddress) -> Any:
    """Return a geometry in units of a tile, by PROJ's own Web Mercator."""
    to_metres = pyproj.Transformer.from_crs(crs, "EPSG:3857", always_xy=True)
    side = WORLD_METRES / 2**address.zoom
    corner = np.array([address.column * side - WORLD_METRES / 2, WORLD_METRES / 2 - address.row * side])

    def placed(xy: Any) -> Any:
        metres = np.stack(to_metres.transform(xy[:, 0], xy[:, 1]), axis=1)
        return (metres - corner) * [1, -1] * (4096 / side)

    return shapely.transform(geometry, placed)


def tile_of(longitude: float, latitude: float, zoom: int) -> TileAddress:
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:3857", always_xy=True).transform(longitude, latitude)
    return TileAddress(zoom, int((x / WORLD_METRES + 0.5) * 2**zoom), int((0.5 - y / WORLD_METRES) * 2**zoom))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return 1,200 squares of 20 m in a square of 2 km, a few of them missing."""
    rng = np.random.default_rng(5)
    x, y = rng.uniform(500_000, 502_000, 1200), rng.uniform(5_000_000, 5_002_000, 1200)
    geometries = shapely.box(x, y, x + 20, y + 20)
    geometries[7], geometries[900] = None, shapely.Polygon()
    return geometries, *make_result(tmp_path_factory.mktemp("town"), geometries, "EPSG:32633")


@pytest.mark.parametrize("zoom", [15, 16, 17])
def test_a_tile_has_the_objects_that_touch_it(town: Any, tmp_path: Path, zoom: int) -> None:
    geometries, stored, index = town
    address = tile_of(15.012, 45.163, zoom)
    found = read_tile(object_tile(stored, index, address, ALL), tmp_path)["objects"]
    expected = {
        number: shape
        for number, geometry in enumerate(geometries)
        if geometry is not None and not geometry.is_empty
        for shape in [in_tile(geometry, "EPSG:32633", address)]
        if shape.intersects(shapely.box(-65, -65, 4161, 4161))
    }
    assert len(expected) > 20
    sure = {row for row, shape in expected.items() if shape.intersects(shapely.box(-60, -60, 4156, 4156))}
    assert sure <= {row for row, _, _ in found} <= set(expected)
    area = shapely.box(-64, -64, 4160, 4160)
    for row, geometry, values in found:
        assert (
            shapely.hausdorff_distance(
                geometry, shapely.intersection(in_tile(geometries[row], "EPSG:32633", address), area)
            )
            < 1.6
        )
        assert values.get("ClassLabel") == ["oak", "elm", "oak;elm", None][row % 4]


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (ObjectFilter("oak", None, 0, 1), lambda row: row % 4 in (0, 2)),
        (ObjectFilter("ak", None, 0, 1), lambda row: False),
        (ObjectFilter(None, "nodata", 0, 1), lambda row: row % 4 == 3),
        (ObjectFilter(None, None, 0.25, 0.5), lambda row: row % 4 != 3 and 25 <= row % 100 <= 50),
        (ObjectFilter("elm", "ok", 0, 0.1), lambda row: row % 4 in (1, 2) and row % 100 <= 10),
    ],
)
def test_objects_are_filtered(town: Any, tmp_path: Path, wanted: ObjectFilter, matches: Any) -> None:
    _, stored, index = town
    address = tile_of(15.012, 45.009 + 0.15, 12)
    every = {row for row, _, _ in read_tile(object_tile(stored, index, address, ALL), tmp_path)["objects"]}
    found = {row for row, _, _ in read_tile(object_tile(stored, index, address, wanted), tmp_path).get("objects", [])}
    assert found == {row for row in every if matches(row)}


def test_small_objects_are_points_from_afar(town: Any, tmp_path: Path) -> None:
    geometries, stored, index = town
    found = read_tile(object_tile(stored, index, TileAddress(0, 0, 0), ALL), tmp_path)["objects"]
    assert sorted(row for row, _, _ in found) == sorted(set(range(1200)) - {7, 900})
    centre = in_tile(geometries[0], "EPSG:32633", TileAddress(0, 0, 0)).centroid
    assert all(geometry.geom_type == "Point" and geometry.distance(centre) < 2 for _, geometry, _ in found)


def test_many_objects_are_squares_that_count_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform(0, 1, (9000, 2)) * [0.5, 0.4] + [10, 50]
    kinds: list[str | None] = [["oak", None][int(row > 0.75)] for row in rng.uniform(0, 1, 9000)]
    stored, index = make_result(tmp_path, np.asarray(shapely.points(places), dtype=object), "OGC:CRS84", kinds)
    address = tile_of(10.2, 50.2, 7)
    (squares,) = read_tile(object_tile(stored, index, address, ALL), tmp_path).values()
    west, south, east, north = to_longitude_latitude(address.box)
    inside = (places[:, 0] >= west) & (places[:, 0] < east) & (places[:, 1] > south) & (places[:, 1] <= north)
    assert sum(values["count"] for _, _, values in squares) == inside.sum() > 4000
    for _, geometry, _ in squares:
        assert shapely.box(*geometry.bounds).equals(geometry)
        assert geometry.area == 64**2
    only = read_tile(object_tile(stored, index, address, ObjectFilter("oak", None, 0, 1)), tmp_path)["squares"]
    oaks = sum(kind == "oak" and bool(there) for kind, there in zip(kinds, inside, strict=True))
    assert sum(values["count"] for _, _, values in only) == oaks
    assert {values["ClassLabel"] for _, _, values in only} == {"oak"}


@pytest.mark.parametrize("zoom", range(10, 18))
def test_what_a_tile_costs_does_not_grow_with_the_objects_of_the_result(
    tmp_path: Path, zoom: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.random.default_rng(1).uniform(0, 2000, (2, 20_000)) + np.array([[500_000], [5_000_000]])
    outlines = shapely.box(x, y, x + 9, y + 7)
    stored, index = make_result(tmp_path, outlines, "EPSG:32633")
    read: list[int] = []
    geometries = stored.geometries

    def noted(rows: NDArray[np.int64]) -> pa.Array:
        read.append(len(rows))
        return geometries(rows)

    monkeypatch.setattr(stored, "geometries", noted)
    longitude, latitude = pyproj.Transformer.from_crs("EPSG:32633", "OGC:CRS84").transform(501_000, 5_001_000)
    content = object_tile(stored, index, tile_of(longitude, latitude, zoom), ALL)
    assert 0 < len(content) < 200_000
    assert sum(read) <= 2000


def test_objects_at_the_edges_of_the_world(tmp_path: Path) -> None:
    across = shapely.MultiPolygon([shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179.5, 1)])
    beyond, pole = shapely.Point(190, 10), shapely.Point(0, 90)
    crossing_itself = shapely.Polygon([(0, 0), (40, 40), (40, 0), (0, 40)])
    stored, index = make_result(tmp_path, shapes(across, beyond, pole, crossing_itself), "OGC:CRS84")
    assert len(index) == 4
    world = read_tile(object_tile(stored, index, TileAddress(0, 0, 0), ALL), tmp_path)["objects"]
    centres = {row: geometry.centroid for row, geometry, _ in world}
    assert centres[0].x == pytest.approx(4096 * (179.75 + 180) / 360, abs=3)
    assert centres[1].x == pytest.approx(4096 * (190 - 180) / 360, abs=2)
    assert centres[2].y == pytest.approx(0, abs=1)
    near = read_tile(object_tile(stored, index, tile_of(35, 35, 4), ALL), tmp_path)["objects"]
    assert [row for row, _, _ in near] == [3]


def test_an_outline_of_many_vertices_stays_where_it_is(tmp_path: Path) -> None:
    round_one = shapely.Point(500_000, 5_000_000).buffer(900, quad_segs=5000)
    stored, index = make_result(tmp_path, shapes(round_one), "EPSG:32633")
    address = tile_of(15.0, 45.155, 14)
    content = object_tile(stored, index, address, ALL)
    ((_, geometry, _),) = read_tile(content, tmp_path)["objects"]
    assert len(content) < 2000
    expected = shapely.intersection(in_tile(round_one, "EPSG:32633", address), shapely.box(-64, -64, 4160, 4160))
    assert shapely.hausdorff_distance(geometry, expected) < 6


def test_a_result_without_geometries_has_an_empty_map(tmp_path: Path) -> None:
    stored, index = make_result(tmp_path, shapes(None, None), "EPSG:32633")
    assert (len(index), index.extent) == (0, None)
    assert read_tile(object_tile(stored, index, TileAddress(0, 0, 0), ALL), tmp_path).get("objects", []) == []
