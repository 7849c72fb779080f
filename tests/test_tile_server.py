"""Tiles of titiler, a server that is not ours: their labels are those of the same tiles, saved as a file."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds

from classify.test_labels_of_sources import UTM, classified, objects
from conftest import definition, save_mean_network
from free_ports import free_port
from processes.settings import Settings
from rasters import make_raster, random_values
from service import link, models_checked_here

pytestmark = pytest.mark.tile_server

PYTHON = Path(__file__).parents[1] / ".venv" / "servers" / "bin" / "python"
HALF_WORLD = 20_037_508.342789244


@dataclass(frozen=True)
class Scheme:
    """Tiles in one CRS, all of one zoom: the finest that titiler tells for the scene."""

    name: str
    crs: str
    left: float
    top: float
    cell: float
    zoom: int

    def tiles(self, scene: Path) -> tuple[range, range]:
        """Return columns and rows of the tiles that an image touches."""
        with rasterio.open(scene) as dataset:
            west, south, east, north = transform_bounds(dataset.crs, self.crs, *dataset.bounds)
        side = 256 * self.cell
        columns = range(int((west - self.left) // side), int((east - self.left) // side) + 1)
        return columns, range(int((self.top - north) // side), int((self.top - south) // side) + 1)


MERCATOR = Scheme("WebMercatorQuad", "EPSG:3857", -HALF_WORLD, HALF_WORLD, 2 * HALF_WORLD / 256 / 2**18, 18)
DEGREES = Scheme("WorldCRS84Quad", "OGC:CRS84", -180, 90, 180 / 256 / 2**17, 17)


@dataclass(frozen=True)
class TileServer:
    """A running titiler, and what it shows."""

    url: str
    scene: Path
    settings: Settings

    def template(self, scheme: Scheme, form: str) -> str:
        """Return the template of its tiles."""
        return f"{self.url}/cog/tiles/{scheme.name}/{{z}}/{{x}}/{{y}}.{form}?url={quote(str(self.scene), safe='')}"

    def saved(self, scheme: Scheme, form: str) -> Path:
        """Save the tiles that the scene touches as one file, with an alpha band."""
        columns, rows = scheme.tiles(self.scene)
        whole = np.zeros((4, 256 * len(rows), 256 * len(columns)), np.uint8)
        for row in rows:
            for column in columns:
                address = self.template(scheme, form).format(z=scheme.zoom, x=column, y=row)
                with urllib.request.urlopen(address, timeout=60) as answer:
                    content = answer.read()
                with MemoryFile(content) as file, file.open() as dataset:
                    cells = dataset.read()
                y, x = 256 * (row - rows[0]), 256 * (column - columns[0])
                opaque = np.full((1, 256, 256), 255, np.uint8)
                whole[:, y : y + 256, x : x + 256] = np.concatenate(
                    [cells[:3], cells[3:] if len(cells) == 4 else opaque]
                )
        corner = scheme.left + columns[0] * 256 * scheme.cell, scheme.top - rows[0] * 256 * scheme.cell
        transform = Affine(scheme.cell, 0, corner[0], 0, -scheme.cell, corner[1])
        path = self.scene.with_name(f"{scheme.name}-{form}.tif")
        return make_raster(path, values=whole[:3], alpha=whole[3], crs=scheme.crs, transform=transform)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TileServer]:
    if not PYTHON.exists():
        if os.environ.get("CI"):
            pytest.fail("titiler is not there, and in CI it must be")
        pytest.skip("titiler is not there: `make test-servers` installs it")
    home = tmp_path_factory.mktemp("tile-server")
    (home / "imagery").mkdir()
    smooth = np.repeat(np.repeat(random_values((3, 150, 175), seed=3), 4, axis=1), 4, axis=2)
    scene = make_raster(home / "imagery" / "scene.tif", values=smooth, transform=UTM, blocksize=256, compress="deflate")
    (home / "models" / "mean").mkdir(parents=True)
    save_mean_network(home / "models" / "mean" / "net.onnx", 3, None)
    (home / "models" / "mean" / "mean.emd").write_text(json.dumps(definition()))
    port = free_port()
    command = [str(PYTHON), "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "titiler.application.main:app"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    with (home / "log").open("wb") as log, models_checked_here():
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/healthz", process, home / "log")
            places = {"models": "models", "imagery": "imagery", "state": "state", "hosts": f"127.0.0.1:{port}"}
            yield TileServer(f"http://127.0.0.1:{port}", scene, Settings.from_plugin(places, home))
        finally:
            process.terminate()
            process.wait(30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"titiler does not answer: {log.read_text()}")


def xyz(server: TileServer, scheme: Scheme, form: str) -> dict[str, Any]:
    return {"href": server.template(scheme, form)}


def wmts(server: TileServer, scheme: Scheme, form: str) -> dict[str, Any]:
    """Return a link to the layer of a scheme: titiler has one for each."""
    layer = quote(f"{server.scene}_{scheme.name}_default", safe="")
    scene = quote(str(server.scene), safe="")
    href = f"{server.url}/cog/WMTSCapabilities.xml?url={scene}&tile_format={form}&layer={layer}"
    return {"href": href, "type": "application/vnd.ogc.wmts"}


@pytest.mark.parametrize(
    ("kind", "scheme", "form"),
    [
        (xyz, MERCATOR, "png"),
        (xyz, MERCATOR, "jpg"),
        (wmts, MERCATOR, "png"),
        (wmts, MERCATOR, "jpeg"),
        (wmts, DEGREES, "png"),
    ],
    ids=["XYZ, PNG", "XYZ, JPEG", "WMTS, PNG", "WMTS, JPEG", "WMTS in degrees"],
)
def test_labels_are_those_of_the_same_tiles_in_a_file(
    server: TileServer, tmp_path: Path, kind: Any, scheme: Scheme, form: str
) -> None:
    local = server.saved(scheme, form)
    features, count = objects(local)
    inputs: dict[str, Any] = {"features": features, "model": "mean", "cellSize": scheme.cell * (1 + 1e-6)}
    found = classified(server.settings, tmp_path / "remote", {"image": kind(server, scheme, form), **inputs})
    expected = classified(server.settings, tmp_path / "local", {"image": link(local), **inputs})
    if kind is xyz:
        for row in expected:  # XYZ tiles are an image of the world
            status = row["properties"]["ClassStatus"]
            row["properties"]["ClassStatus"] = "nodata" if status == "outside-image" else status
    assert found == expected
    assert {row["properties"]["ClassLabel"] for row in found} >= {"dark", "bright"}
    assert len({row["properties"]["Confidence"] for row in found}) > count / 3
