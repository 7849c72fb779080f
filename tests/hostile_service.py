"""The service that harm is sent to: a model of three bands, one of one band, and one that blackens; a sound image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from conftest import definition, save_mean_network
from rasters import make_raster
from service import Client, configure, load_application


@lru_cache
def start_hostile(home: Path) -> Client:
    """Install the models and the image in a folder, and start the service, once for all tests."""
    ones = {"ExtractBands": [0], "Normalization": {"mean": [0.5], "std": [1], "scale": 1 / 255}}
    changes: dict[str, dict[str, Any]] = {
        "three": {},
        "one": ones,
        "black": {"BlackenAroundFeature": 1, "CropSizeFixed": 0},
    }
    for name, keys in changes.items():
        folder = home / "models" / name
        folder.mkdir(parents=True)
        save_mean_network(folder / "net.onnx", 1 if name == "one" else 3, None)
        (folder / "model.emd").write_bytes(msgspec.json.encode(definition(**keys)))
    (home / "imagery").mkdir()
    make_raster(home / "imagery" / "sound.tif")
    limits = {"sync_max_objects": 300_000}
    return Client(
        load_application(configure(home, models=[home / "models"], imagery=[home / "imagery"], limits=limits))
    )
