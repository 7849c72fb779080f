"""Which images of a catalog are left out, of layers that are none of the usual ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rasterio

from conftest import MakePackage
from linked_images import asset, item
from processes.classify.process import ClassifyObjects
from processes.errors import ServiceError, to_record
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from rasters import make_raster
from service import link, models_checked_here


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
