"""What the page docs/own-model.md speaks of: its code, its calls, and the files that these need."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import chdir
from pathlib import Path

import pyogrio
import rasterio
from click.testing import CliRunner, Result
from PIL import Image
from rasterio.warp import transform
from rasterio.windows import Window

from processes.programs.cli import main
from scene import make_scene, write_scene
from service import ROOT, configure

SIDE = 64
PAGE = (ROOT / "docs" / "own-model.md").read_text()


def code() -> tuple[str, str]:
    """Return the page's code for PyTorch and that for Keras."""
    torch, keras = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return torch, keras


def calls() -> list[list[str]]:
    """Return the arguments of the page's calls of the program."""
    return [shlex.split(line) for line in re.findall(r"^    classify-objects (.*)", PAGE, re.MULTILINE)]


def call(folder: Path, *arguments: str) -> Result:
    """Call the program in a folder."""
    with chdir(folder):
        return CliRunner().invoke(main, ["--config", "pygeoapi-config.yml", *arguments])


def write_files(folder: Path, houses: int, size: int = 800) -> Path:
    """Write what the page speaks of into a folder: a scene, its houses, and a chip of each, cut by rasterio alone."""
    configure(folder, models=[], imagery=[])
    write_scene(make_scene(1, size, houses), folder)
    meta, table = pyogrio.read_arrow(folder / "houses.geojson")
    options = {"geometry_name": meta["geometry_name"] or "wkb_geometry", "geometry_type": "Polygon"}
    pyogrio.write_arrow(table, folder / "houses.gpkg", driver="GPKG", crs=meta["crs"], **options)
    with rasterio.open(folder / "scene.tif") as scene:
        for feature in json.loads((folder / "houses.geojson").read_text())["features"]:
            ((xs, ys),) = [tuple(zip(*ring, strict=True)) for ring in feature["geometry"]["coordinates"]]
            (x,), (y,) = transform("OGC:CRS84", scene.crs, [(min(xs) + max(xs)) / 2], [(min(ys) + max(ys)) / 2])
            row, column = scene.index(x, y)
            window = Window(column - SIDE // 2, row - SIDE // 2, SIDE, SIDE)
            cells = scene.read(window=window, boundless=True, fill_value=0)[:3]
            path = folder / "chips" / feature["properties"]["truth"] / f"{feature['id']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(cells.transpose(1, 2, 0)).save(path)
    return folder
