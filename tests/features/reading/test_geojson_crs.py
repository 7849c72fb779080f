"""The CRS of a GeoJSON whose features or geometries have the member `crs` of 2008, as PostGIS writes it."""

from __future__ import annotations

import json
from typing import Any

import pyproj
import pytest
import shapely

from processes.errors import LayerError
from processes.features.reading.geojson import read_geojson
from processes.settings import Limits
from tables import each_row


def named(epsg: int) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": f"EPSG:{epsg}"}}


def feature(own: int | None = None, of_geometry: int | None = None, **properties: Any) -> dict[str, Any]:
    """Return a feature; the arguments are the EPSG codes of its member `crs` and of its geometry's."""
    geometry: dict[str, Any] = {"type": "Point", "coordinates": [500000, 5500000]}
    geometry |= {} if of_geometry is None else {"crs": named(of_geometry)}
    item = {"type": "Feature", "geometry": geometry, "properties": properties}
    return item if own is None else item | {"crs": named(own)}


EMPTY = {"type": "Feature", "geometry": None, "properties": None}


def text_of(*features: Any, crs: int | None = None) -> bytes:
    members = {} if crs is None else {"crs": named(crs)}
    return json.dumps({"type": "FeatureCollection", "features": features, **members}).encode()


@each_row(
    ("text", "expected"),
    [
        (text_of(feature(of_geometry=32633), feature(of_geometry=32633)), 32633),
        (text_of(feature(32633), feature(of_geometry=32633), EMPTY), 32633),
        (text_of(EMPTY, feature(32633, 32633)), 32633),
        (text_of(feature(of_geometry=32633), feature(), crs=32633), 32633),
        (text_of(feature(crs="EPSG:32633"), feature(), crs=25832), 25832),
        (text_of(feature(crs={"type": "name"})), None),
    ],
)
def test_crs_of_all_features_is_that_of_the_layer(text: bytes, expected: int | None) -> None:
    layer = read_geojson(text, "layer", Limits())
    assert layer.crs == pyproj.CRS("OGC:CRS84" if expected is None else expected)
    assert shapely.Point(500000, 5500000) in layer.geometries(0, len(layer)).tolist()


@each_row(
    ("text", "words"),
    [
        (
            text_of(feature(of_geometry=32633), feature(of_geometry=25832)),
            "feature 2 is in the CRS 'ETRS89 / UTM zone 32N'",
        ),
        (text_of(feature(of_geometry=32633), feature()), "feature 2 is in the CRS 'WGS 84 (CRS84)'"),
        (text_of(feature(), feature(32633)), "feature 2 is in the CRS 'WGS 84 / UTM zone 33N'"),
        (text_of(feature(32633, 25832)), "feature 1 is in the CRS"),
        (text_of(feature(), feature(of_geometry=32633), crs=25832), "feature 2 is in the CRS"),
        (text_of(feature(of_geometry=999999)), "the features' crs member cannot be used"),
    ],
)
def test_features_of_several_crs_are_refused(text: bytes, words: str) -> None:
    with pytest.raises(LayerError) as caught:
        read_geojson(text, "layer", Limits())
    assert words in caught.value.detail
