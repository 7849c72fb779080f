"""OGC API - Coverages and Maps as images, of pygeoapi itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from esri_services import answer
from linked_images import cells, opened
from mapserver import wms_of
from processes.imagery.image import Image
from processes.imagery.services.grid_source import GridSource
from processes.imagery.source import FileSource
from pygeoapi_server import collection, pygeoapi_server
from rasters import make_raster, random_values
from told_host import ToldHost, told_host

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
VALUES = random_values((4, 700, 1100), "uint16", seed=8)
VALUES[:, 100:200, 300:600] = 0
DEGREES = random_values((1, 540, 560), "int16", seed=9)
PICTURE = random_values((3, 300, 400), seed=4)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToldHost]:
    """Start pygeoapi with coverages, and with maps that it has from MapServer."""
    folder = tmp_path_factory.mktemp("pygeoapi")
    geographic = Affine(1e-4, 0, 15, 0, -1e-4, 45)
    make_raster(folder / "town.tif", values=VALUES, transform=UTM, nodata=0)
    make_raster(folder / "east.tif", values=DEGREES, crs="EPSG:4326", transform=geographic)
    scene = make_raster(folder / "scene.tif", values=PICTURE, transform=UTM)
    with told_host() as told:
        told.services["/wms"] = wms_of(folder, scene, 32633, max_size=600)
        resources = {
            "town": coverage(folder / "town.tif"),
            "east": coverage(folder / "east.tif"),
            "vague": coverage(folder / "town.tif", [-180, -90, 180, 90]),
            "scene": collection(
                "scene",
                providers=[
                    {
                        "type": "map",
                        "name": "WMSFacade",
                        "data": f"{told.url}/wms",
                        "options": {"layer": "scene"},
                        "format": {"name": "png", "mimetype": "image/png"},
                    }
                ],
            )
            | extent_of(scene, 9),
        }
        with pygeoapi_server(folder, resources) as url:
            yield dataclasses.replace(told, url=url, authority=url.removeprefix("http://"))


def coverage(path: Path, box: list[float] | None = None) -> dict[str, Any]:
    kind = {"name": "GTiff", "mimetype": "image/tiff; application=geotiff"}
    provider = {"type": "coverage", "name": "rasterio", "data": str(path), "format": kind}
    return collection(path.stem, providers=[provider]) | extent_of(path, box=box)


def extent_of(path: Path, digits: int = 4, box: list[float] | None = None) -> dict[str, Any]:
    """Return the extent as who writes a configuration states it, rounded."""
    with rasterio.open(path) as dataset:
        found = [round(edge, digits) for edge in transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)]
    return {"extents": {"spatial": {"bbox": box or found, "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}}}


def the_image(link: str, host: ToldHost, folder: Path, **inputs: Any) -> tuple[Image, NDArray[Any], NDArray[np.bool_]]:
    (image,) = opened(link, host, folder, inputs=inputs)
    return image, *cells(image)


@pytest.mark.parametrize("name", ["town", "east", "vague"])
def test_cells_of_a_coverage_are_those_of_its_file(host: ToldHost, tmp_path: Path, name: str) -> None:
    image, found, valid = the_image(f"{host.url}/collections/{name}/coverage", host, tmp_path)
    values = DEGREES if name == "east" else VALUES
    assert isinstance(image.source, FileSource if name == "vague" else GridSource)  # its box says nothing: read whole
    assert (image.name, image.dtype, image.shape) == (name, values.dtype, values.shape[1:])
    assert (found == values).all()
    assert (valid == (True if name == "east" else (values != 0).any(axis=0))).all()
    assert image.grid.transform.almost_equals(Affine(1e-4, 0, 15, 0, -1e-4, 45) if name == "east" else UTM, 1e-9)


def test_maps_have_the_cells_that_the_server_draws(host: ToldHost, tmp_path: Path) -> None:
    link = f"{host.url}/collections/scene/map?crs=http://www.opengis.net/def/crs/EPSG/0/32633"
    image, found, valid = the_image(link, host, tmp_path, cellSize=0.5)
    assert (image.name, image.dtype.name, image.grid.crs.to_epsg()) == ("scene", "uint8", 32633)
    column, row = (round(edge) for edge in ~image.grid.transform @ (500_000, 5_000_000))
    inside = np.s_[row + 2 : row + 298, column + 2 : column + 398]
    assert valid[inside].all()
    same = (found[:, *inside] == PICTURE[:, 2:-2, 2:-2]).all(axis=0)
    assert same.mean() > 0.98
    assert image.warnings == ()


def test_a_service_that_ignores_boxes_is_read_whole(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "a.tif", values=VALUES[:1, :60, :70], transform=UTM)
    with rasterio.open(path) as dataset:
        box = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)

    def serve(query: dict[str, str]) -> Any:
        if query["path"] == "/coverage":
            return 200, "image/tiff", path.read_bytes()
        return answer({"id": "a", "extent": {"spatial": {"bbox": [list(box)]}}})

    with told_host() as told:
        told.services["/collections/a"] = serve
        image, found, _ = the_image(f"{told.url}/collections/a/coverage", told, tmp_path)
        assert isinstance(image.source, FileSource)
        assert (found == VALUES[:1, :60, :70]).all()
        told.services["/collections/b"] = lambda _: answer([json.dumps("no collection")])
        faults: list[Any] = []
        opened(f"{told.url}/collections/b/coverage", told, tmp_path, faults)
        assert "no document of a collection" in faults[0].detail
