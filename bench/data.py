"""Imagery and objects for benchmarks, made here: nothing is downloaded, nothing is shipped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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
_CLUSTER = 600
"""Side of a place in which objects stand close together, in cells."""


def make_image(path: Path, side: int) -> Path:
    """Write a tiled JPEG GeoTIFF with the texture of aerial imagery, `side` cells square, where there is none yet."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
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


def copy_image(image: Path, path: Path, dtype: str = "uint8", **options: Any) -> Path:
    """Write the cells of an image into another GeoTIFF where there is none yet.

    Args:
        image: the image.
        path: of the other one.
        dtype: `uint8`, or `uint16`: 16 times the cells.
        options: how it is stored, as GDAL names it.
    """
    if path.exists():
        return path
    scratch = path.with_suffix(".part.tif")
    with rasterio.open(image) as source:
        profile = {"driver": "GTiff", "width": source.width, "height": source.height, "count": source.count,
                   "crs": source.crs, "transform": source.transform, "dtype": dtype}  # fmt: skip
        with rasterio.open(scratch, "w", **profile | options) as target:
            for row in range(0, source.height, _BLOCK):
                window = Window(0, row, source.width, min(_BLOCK, source.height - row))
                cells = source.read(window=window)
                target.write(cells.astype(np.uint16) * 16 if dtype == "uint16" else cells, window=window)
    scratch.rename(path)
    return path


def cut_image(image: Path, folder: Path, across: int) -> Path:
    """Write an image as `across` times `across` JPEG GeoTIFFs side by side into a folder where there is none yet."""
    if folder.exists():
        return folder
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with rasterio.open(image) as source:
        side = source.width // across
        for row in range(across):
            for column in range(across):
                window = Window(column * side, row * side, side, side)
                profile = {"driver": "GTiff", "width": side, "height": side, "count": source.count, "dtype": "uint8",
                           "crs": source.crs, "transform": source.window_transform(window), "tiled": True,
                           "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "jpeg", "photometric": "ycbcr",
                           "jpeg_quality": 85}  # fmt: skip
                with rasterio.open(scratch / f"{row}-{column}.tif", "w", **profile) as target:
                    target.write(source.read(window=window))
    scratch.rename(folder)
    return folder


def _texture(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise with the spectrum of natural images, `(3, side, side)`, around 112."""
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    grey = np.fft.irfft2(spectrum / frequency**1.1, s=(side, side))
    return np.asarray(112 + 28 * grey / grey.std() + np.array([[[0]], [[4]], [[-6]]]))


def make_objects(path: Path, count: int, image_side: int, clusters: int = 0) -> Path:
    """Write a GeoPackage of L-shaped buildings, turned and spread at random, where there is none yet.

    Args:
        path: of the GeoPackage.
        count: number of buildings.
        image_side: of the image, in cells.
        clusters: they stand in so many places of 600 cells; 0 = all over the image.
    """
    if path.exists():
        return path
    rng = np.random.default_rng(11)
    if clusters:
        places = rng.uniform(0, image_side - _CLUSTER, (clusters, 1, 2))
        centre = places[rng.integers(clusters, size=count)] + rng.uniform(0, _CLUSTER, (count, 1, 2))
    else:
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
