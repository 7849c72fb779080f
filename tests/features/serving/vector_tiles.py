"""Vector tiles as GDAL reads them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray


def read_tile(content: bytes, folder: Path) -> dict[str, list[tuple[int, Any, dict[str, Any]]]]:
    """Return the features of each layer: id, geometry in units of the tile with y down, and attributes without nulls.

    Args:
        content: the tile.
        folder: for a file.
    """
    (folder / "tile.mvt").write_bytes(content)
    path = f"MVT:{folder / 'tile.mvt'}"
    layers = {}
    for name in pyogrio.list_layers(path)[:, 0].tolist():
        meta, _, geometries, columns = pyogrio.raw.read(path, layer=name, CLIP="NO")
        found = []
        for number, geometry in enumerate(shapely.from_wkb(geometries).tolist()):
            values = {field: plain(column[number]) for field, column in zip(meta["fields"], columns, strict=True)}
            identifier = values.pop("mvt_id")
            placed = shapely.transform(geometry, lambda xy: xy * [1, -1] + [0, 4096])
            found.append((int(identifier), placed, {key: item for key, item in values.items() if item is not None}))
        layers[name] = found
    return layers


def plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def shapes(*items: Any) -> NDArray[np.object_]:
    """Return geometries as an array."""
    found = np.empty(len(items), object)
    found[:] = items
    return found
