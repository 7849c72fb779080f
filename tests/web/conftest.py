"""A small deployment of the web application: a model, an image with a reference, one without, and one that is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import definition, save_mean_network
from rasters import box_around, make_raster, to_map
from service import Client, configure, link, load_application


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for name in ("models/brightness", "imagery"):
        (home / name).mkdir(parents=True)
    save_mean_network(home / "models" / "brightness" / "net.onnx", 3, None)
    (home / "models" / "brightness" / "m.emd").write_bytes(msgspec.json.encode(definition()))
    make_raster(home / "imagery" / "a.tif")
    make_raster(home / "imagery" / "plain.png", crs=None, driver="PNG")
    (home / "imagery" / "broken.tif").write_bytes(b"no image")
    return home


@pytest.fixture(scope="session")
def configuration(home: Path) -> Path:
    limits = {"max_body_mb": 1}
    return configure(home, models=[home / "models"], imagery=[home / "imagery"], limits=limits)


@pytest.fixture(scope="session")
def client(configuration: Path) -> Client:
    """Return a client of the one service that the tests of this folder share; a start takes seconds."""
    return Client(load_application(configuration))


@pytest.fixture(scope="session")
def inputs(home: Path) -> dict[str, Any]:
    """Return the inputs of a request for one object."""
    polygon: Any = to_map(box_around(30, 20, 8, 8))
    geometry = {"type": "Polygon", "coordinates": [[list(xy) for xy in polygon.exterior.coords]]}
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    feature = {"type": "Feature", "id": 1, "properties": {}, "geometry": geometry}
    features = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    return {"image": link(home / "imagery" / "a.tif"), "features": features, "model": "brightness"}
