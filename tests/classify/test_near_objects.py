"""Which images of a catalog are left out, of layers that are none of the usual ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import rasterio
import shapely
from msgspec import structs

from conftest import MakePackage
from linked_images import asset, item
from processes.classify.image_links import LinkedImage
from processes.classify.near_objects import NearObjects
from processes.classify.process import ClassifyObjects
from processes.crs import parse_crs
from processes.errors import ServiceError, to_record
from processes.features.layer import Layer
from processes.imagery.grid import ChipRule
from processes.imagery.stac import StatedGrid
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from rasters import make_raster
from service import link, models_checked_here

RULE = ChipRule(64, 64, True, None)


def layer_of(crs: str, *shapes: shapely.Geometry) -> Layer:
    geometry = pa.chunked_array([pa.array(list(shapely.to_wkb(np.array(shapes))), pa.large_binary())])
    return Layer("objects", parse_crs(crs), geometry, "Unknown", pa.table({}), None)


def image_at(longitude: float, latitude: float, crs: str) -> LinkedImage:
    """Return an image of 256 x 256 cells of 10 m, whose western upper corner lies at a place."""
    corners = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    x, y = corners.transform(longitude, latitude)
    box = corners.transform_bounds(x, y - 2560, x + 2560, y, direction="INVERSE")
    return LinkedImage("a", (("http://host/a.tif",),), grid=StatedGrid(crs, (10, 0, x, 0, -10, y), (256, 256), box))


def test_an_extent_that_no_way_leads_to_is_no_fault_of_the_images(
    settings: Settings, make_package: MakePackage, tmp_path: Path
) -> None:
    make_package("fixed")
    folder = settings.imagery[0]
    with rasterio.open(make_raster(folder / "a.tif")) as opened:
        stated = {"proj:code": "EPSG:32633", "proj:shape": opened.shape, "proj:transform": list(opened.transform)}
    (folder / "item.json").write_text(json.dumps(item("scene", a=asset("a.tif") | stated)))
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [15, 45]}}
    inputs: dict[str, Any] = {
        "features": {"type": "FeatureCollection", "features": [point]},
        "model": "fixed",
        "extent": {"bbox": [14, 44, 16, 46], "crs": "IAU_2015:30100"},
    }
    process = ClassifyObjects(settings, Catalog.from_settings(settings), 2)
    said = []
    with models_checked_here():
        for number, image in enumerate(("a.tif", "item.json")):
            inputs["image"] = link(folder / image)
            content = json.dumps({"inputs": inputs}).encode()
            (tmp_path / f"{number}").mkdir()
            with pytest.raises(ServiceError) as caught:
                process.execute(Execution.read("classify-objects", content, process.describe()), tmp_path / f"{number}")
            said.append(to_record(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(("crs", "turn"), [("EPSG:3857", 2 * 20037508.342789244), ("EPSG:4326", 360)])
def test_an_object_drawn_on_beyond_the_antimeridian_is_near_what_lies_there(crs: str, turn: float) -> None:
    at = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform
    beyond = shapely.Point(at(-179.94, -17.01)[0] + turn, at(-179.94, -17.01)[1])
    near = NearObjects(layer_of(crs, shapely.Point(at(179.5, -17.01)), beyond), None, RULE)
    assert near.may_touch(image_at(-179.95, -17, "EPSG:32601"))


def test_objects_on_this_side_of_the_antimeridian_leave_out_what_is_far() -> None:
    at = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform
    for world in (20037508.34, 20037508.342789244):
        shapes = shapely.Point(world, 0), shapely.Point(-world, 0), shapely.Point(at(179.96, -17.01))
        near = NearObjects(layer_of("EPSG:3857", *shapes), None, RULE)
        assert near.may_touch(image_at(179.95, -17, "EPSG:32660"))
        assert not near.may_touch(image_at(170, -17, "EPSG:32659"))


def test_the_box_of_an_item_may_be_a_point() -> None:
    near = NearObjects(layer_of("EPSG:4326", shapely.Point(20, 45)), None, RULE)
    image = image_at(15, 45, "EPSG:32633")
    assert image.grid is not None
    for place, expected in (((15.0, 45.0), False), ((20.0, 45.0), True)):
        at_place = structs.replace(image.grid, bbox=(*place, *place))
        assert near.may_touch(structs.replace(image, grid=at_place)) == expected
