"""Imagery and objects for benchmarks, made here: nothing is downloaded, nothing is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

CELL_M = 0.3
CRS = "EPSG:32633"
ORIGIN = (500_000.0, 5_000_000.0)
"""Upper left corner, metres."""
_BLOCK = 512


def make_image(path: Path, side: int) -> Path:
    """Write a tiled JPEG GeoTIFF with the texture of aerial imagery, `side` cells square, where there is none yet."""
    if path.exists():
        return path
    rng = np.random.default_rng(7)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": CRS, "tiled": True,
        "transform": from_origin(*ORIGIN, CELL_M, CELL_M), "blockxsize": _BLOCK, "blockysize": _BLOCK,
        "compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 85,
    }  # fmt: skip
    scratch = path.with_suffix(".part.tif")
    textures = [_texture(_BLOCK, rng) for _ in range(8)]
    with rasterio.open(scratch, "w", **profile) as dataset:
        for row in range(0, side, _BLOCK):
            for column in range(0, side, _BLOCK):
                height, width = min(_BLOCK, side - row), min(_BLOCK, side - column)
                block = (
                    textures[rng.integers(8)] + rng.integers(-20, 20, (3, 1, 1)) + rng.normal(0, 4, (3, _BLOCK, _BLOCK))
                )
                pixels = np.clip(block[:, :height, :width], 1, 255).astype(np.uint8)
                dataset.write(pixels, window=Window(column, row, width, height))
    scratch.rename(path)
    return path


def _texture(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise with the spectrum of natural images, `(3, side, side)`, around 112."""
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    grey = np.fft.irfft2(spectrum / frequency**1.1, s=(side, side))
    return np.asarray(112 + 28 * grey / grey.std() + np.array([[[0]], [[4]], [[-6]]]))


def make_objects(path: Path, count: int, image_side: int) -> Path:
    """Write a GeoPackage of L-shaped buildings, turned and spread at random, where there is none yet."""
    if path.exists():
        return path
    rng = np.random.default_rng(11)
    centre = rng.uniform(0, image_side, (count, 1, 2))
    side = np.clip(rng.lognormal(np.log(48), 0.45, (count, 1, 2)), 12, 400)
    angle = rng.uniform(0, np.pi, count)
    shape = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.2], [0.1, 0.2], [0.1, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    corners = shape[None] * side
    turned = np.stack(
        [
            corners[..., 0] * np.cos(angle)[:, None] - corners[..., 1] * np.sin(angle)[:, None],
            corners[..., 0] * np.sin(angle)[:, None] + corners[..., 1] * np.cos(angle)[:, None],
        ],
        axis=2,
    )
    xy = (centre + turned) * (CELL_M, -CELL_M) + ORIGIN
    table = pa.table(
        {
            "number": np.arange(count),
            "kind": pa.array(["building"] * count),
            "geom": shapely.to_wkb(shapely.polygons(xy)),
        }
    )
    scratch = path.with_suffix(".part.gpkg")
    scratch.unlink(missing_ok=True)
    pyogrio.write_arrow(
        table, scratch, layer="objects", driver="GPKG", geometry_name="geom", geometry_type="Polygon", crs=CRS
    )
    scratch.rename(path)
    return path
