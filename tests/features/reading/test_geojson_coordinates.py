"""Coordinates of many geometries at once: what GEOS reads of them, and nothing of what is odd."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import shapely

from processes.features.reading import geojson_coordinates
from processes.features.reading.geojson import read_geojson
from processes.features.reading.geojson_coordinates import _known_shape, read_plain
from processes.settings import Limits

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 0]]


def wkb_of(texts: list[str]) -> pa.Array | None:
    """Return geometries as WKB; None = one is odd."""
    plain = read_plain([msgspec.Raw(text.encode()) for text in texts])
    return None if plain is None else plain.wkb()


def random_geometry(rng: np.random.Generator) -> dict[str, Any] | None:
    """Return a geometry of any type, in x and y or with heights."""
    dimensions = int(rng.choice([2, 2, 3]))

    def position() -> list[float]:
        special = [0, -5, 1e-7, 1e300, 12345678901234567890, 0.1 + 0.2]
        return [
            special[rng.integers(len(special))] if rng.random() < 0.3 else float(rng.uniform(-180, 180))
            for _ in range(dimensions)
        ]

    def several(make: Callable[[], Any], least: int = 1) -> list[Any]:
        return [make() for _ in range(rng.integers(least, least + 4))]

    def line() -> list[Any]:
        return several(position, 2)

    def ring() -> list[Any]:
        open_ring = several(position, 3)
        return [*open_ring, open_ring[0]]

    def polygon() -> list[Any]:
        return several(ring)

    kinds: dict[str, Callable[[], Any]] = {
        "Point": position,
        "LineString": line,
        "Polygon": polygon,
        "MultiPoint": lambda: several(position),
        "MultiLineString": lambda: several(line),
        "MultiPolygon": lambda: several(polygon),
    }
    kind = [*kinds, None][rng.integers(len(kinds) + 1)]
    return None if kind is None else {"type": kind, "coordinates": kinds[kind]()}


def test_geometries_are_what_geos_reads() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        geometries = [random_geometry(rng) for _ in range(rng.integers(1, 8))]
        texts = [json.dumps(geometry, indent=[None, 1][rng.integers(2)]) for geometry in geometries]
        expected = shapely.from_geojson([None if text == "null" else text for text in texts])
        found = wkb_of(texts)
        assert found is not None
        found.validate(full=True)
        assert found.to_pylist() == shapely.to_wkb(expected, output_dimension=3).tolist()


def test_no_geometries_and_nulls_alone() -> None:
    for count in (0, 1, 3):
        found = wkb_of(["null"] * count)
        assert found is not None
        assert (found.type, found.to_pylist()) == (pa.large_binary(), [None] * count)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "Point", "coordinates": []}',
        '{"type": "Point", "coordinates": [1]}',
        '{"type": "Point", "coordinates": [1, 2, 3, 4]}',
        '{"type": "Point", "coordinates": [1, null]}',
        '{"type": "Point", "coordinates": [1, "2"]}',
        '{"type": "Point", "coordinates": [1e400, 2]}',
        '{"type": "Point", "coordinates": [[1, 2]]}',
        '{"type": "Point", "coordinates": 5}',
        '{"type": "Point"}',
        '{"type": "point", "coordinates": [1, 2]}',
        '{"type": "Point", "coordinates": [1, 2], "crs": null}',
        '{"type": "GeometryCollection", "geometries": []}',
        '{"type": "LineString", "coordinates": [[1, 2]]}',
        '{"type": "LineString", "coordinates": [[1, 2], [1, 2, 3]]}',
        '{"type": "LineString", "coordinates": [[1, 2], [3, 4], 5]}',
        '{"type": "LineString", "coordinates": [[1, 2], [3, 4], []]}',
        '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]}',
        '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}',
        '{"type": "Polygon", "coordinates": [[[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 2]]]}',
        '{"type": "Polygon", "coordinates": [[]]}',
        '{"type": "MultiPolygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}',
        '{"type": "MultiPoint", "coordinates": []}',
        '{"coordinates": [1, 2]}',
        "[1, 2]",
        "5",
    ],
)
def test_odd_geometry_is_left_to_who_reads_with_care(text: str) -> None:
    whole = json.dumps({"type": "Polygon", "coordinates": [SQUARE]})
    assert wkb_of([whole, text, whole]) is None


def test_feature_without_geometry_is_odd() -> None:
    assert read_plain([msgspec.UNSET]) is None


def test_more_numbers_than_arrow_reads_at_once_are_left_to_who_reads_with_care(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OverflowError):
        pa.csv.ReadOptions(block_size=2**31)
    texts = [json.dumps({"type": "LineString", "coordinates": SQUARE})] * 3
    assert wkb_of(texts) is not None
    monkeypatch.setattr(geojson_coordinates, "_MOST_BYTES", 30)
    assert wkb_of(texts) is None
    layer = read_geojson(
        b'{"type": "FeatureCollection", "features": [%s]}'
        % b", ".join(b'{"type": "Feature", "properties": {}, "geometry": %s}' % text.encode() for text in texts),
        "layer",
        Limits(),
    )
    assert layer.geometries(0, 3).tolist() == [shapely.LineString(SQUARE)] * 3


def test_only_short_shapes_stay_in_memory() -> None:
    """A process that reads layers for weeks would keep those of the thousand largest polygons."""
    for positions, is_kept in ((5, True), (5000, False)):
        _known_shape.cache_clear()
        ring = [[float(number), 1.0] for number in range(positions)]
        text = json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]})
        expected = shapely.to_wkb(shapely.from_geojson(text))
        for _ in range(2):
            found = wkb_of([text])
            assert found is not None
            assert found.to_pylist() == [expected]
        assert _known_shape.cache_info().currsize == is_kept
