"""Make a synthetic aerial image of a suburb after a storm, with the outlines of its houses and which are damaged.

    python examples/storm/scene.py --seed 7 --output demo

Everything is drawn by the modules beside this one from a seed; no picture from elsewhere is used.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from pyproj import Transformer
from rasterio.crs import CRS
from shapely import Polygon
from shapely.affinity import affine_transform
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from damage import damage_roof, scatter_debris
from ground import furnish_garden, paint_ground, pave_streets, wood_density
from layout import ROAD_HALF_WIDTH, Building, Suburb, plan_suburb
from paint import CELL_M, Floats, Mask, Sun
from roofs import RoofPatch, cast_shadow, cover_roof, furnish_roof, open_patch, paste_roof
from trees import grow_stock, overhang_trees, scatter_trees

EPSG = 32617
ORIGIN_M = (453_000.0, 3_064_000.0)
"""Easting and northing of the upper left corner."""
DAMAGED_SHARE = 0.4
JPEG_QUALITY = 90
Truth = Literal["damaged", "intact"]


@dataclass(frozen=True)
class House:
    """A house and what the storm did to it."""

    id: int
    """From 1."""
    polygon: Polygon
    """Outline of the roof, in the scene's CRS."""
    truth: Truth


@dataclass(frozen=True)
class Scene:
    """An image with the houses on it."""

    pixels: NDArray[np.uint8]
    """(height, width, 3): red, green, blue."""
    transform: Affine
    """From cells to `crs`, metres; north is up."""
    crs: CRS
    footprints: list[House]


def make_scene(seed: int, size_px: int = 4000, houses: int = 300) -> Scene:
    """Draw a scene; the same arguments give the same bytes.

    Args:
        size_px: width and height, cells of 0.3 m.
        houses: number of houses, of which 40 % are damaged.

    Raises:
        ValueError: the scene is too small for so many houses.
    """
    rng = np.random.default_rng(seed)
    suburb = plan_suburb(rng, size_px, houses)
    sun = Sun.at(float(rng.uniform(105, 165)), float(rng.uniform(40, 56)))
    damaged = _choose_damaged(rng, suburb.buildings, size_px)
    canvas = _draw(suburb, damaged, sun, rng, size_px)
    transform = Affine(CELL_M, 0, ORIGIN_M[0], 0, -CELL_M, ORIGIN_M[1])
    footprints = [
        House(number + 1, _to_map(building.outline, transform), "damaged" if damaged[number] else "intact")
        for number, building in enumerate(suburb.buildings)
    ]
    return Scene(_expose(canvas, rng), transform, CRS.from_epsg(EPSG), footprints)


def _choose_damaged(rng: np.random.Generator, buildings: tuple[Building, ...], size: int) -> Mask:
    """Return which houses are damaged: mostly those near the storm's track across the scene."""
    heading = float(rng.uniform(0, np.pi))
    start = rng.uniform(0.3, 0.7, 2) * size
    places = np.array([[building.x, building.y] for building in buildings]) - start
    away = np.abs(places @ np.array([-np.sin(heading), np.cos(heading)]))
    score = away / size + rng.uniform(0, 0.45, len(buildings))
    damaged = np.zeros(len(buildings), dtype=np.bool_)
    damaged[np.argsort(score, kind="stable")[: round(DAMAGED_SHARE * len(buildings))]] = True
    return damaged


def _draw(suburb: Suburb, damaged: Mask, sun: Sun, rng: np.random.Generator, size: int) -> Floats:
    """Return the canvas with everything on it, from the ground up."""
    density = wood_density(suburb, size, rng)
    canvas = paint_ground(suburb, density, rng)
    pave_streets(canvas, suburb, rng)
    for building in suburb.buildings:
        furnish_garden(canvas, building, rng)
    wind = float(rng.uniform(0, 2 * np.pi))
    shadow_strength = float(rng.uniform(0.5, 0.64))
    severities = []
    for building, hit in zip(suburb.buildings, damaged, strict=True):
        patch = open_patch(building, sun)
        severities.append(_build(patch, rng, bool(hit)))
        cast_shadow(canvas, patch, sun, shadow_strength)
        paste_roof(canvas, patch)
    for building, severity in zip(suburb.buildings, severities, strict=True):
        _strew(canvas, building, severity, wind, rng)
    stock = grow_stock(rng, sun)
    scatter_trees(canvas, stock, _free_land(suburb, size), density, sun, rng)
    for building in suburb.buildings:
        overhang_trees(canvas, stock, building, sun, rng)
    return canvas


def _build(patch: RoofPatch, rng: np.random.Generator, hit: bool) -> float:
    """Cover a roof and damage it where the storm has hit; return the severity, 0 for an intact one."""
    cover_roof(patch, rng)
    furnish_roof(patch, rng)
    return damage_roof(patch, rng) if hit else 0.0


def _strew(canvas: Floats, building: Building, severity: float, wind: float, rng: np.random.Generator) -> None:
    """Leave debris around damaged houses, and now and then a little around intact ones."""
    if severity > 0:
        pieces = int(severity * rng.uniform(0, 75)) if rng.random() < 0.8 else 0
        scatter_debris(canvas, building, rng, pieces, 26, wind)
    elif rng.random() < 0.3:
        scatter_debris(canvas, building, rng, int(rng.integers(2, 16)), float(rng.uniform(14, 40)), wind)


def _free_land(suburb: Suburb, size: int) -> Mask:
    """Return where trees may stand: not on streets or houses, nor close to them."""
    image = Image.new("L", (size, size), 255)
    draw = ImageDraw.Draw(image)
    for street in suburb.streets:
        draw.line([(float(x), float(y)) for x, y in street], fill=0, width=round(2 * ROAD_HALF_WIDTH + 14))
    for building in suburb.buildings:
        draw.polygon(list(building.outline.buffer(13).exterior.coords), fill=0)
    return np.asarray(image) > 0


def _expose(canvas: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn the canvas into bytes as a camera would: soft, hazy, unevenly lit and noisy."""
    haze = np.float32(rng.uniform(0, 16))
    contrast = rng.uniform(0.94, 1.1) * rng.uniform(0.965, 1.035, 3)
    bands = []
    for band in range(3):
        light = canvas[..., band] * np.float32(contrast[band]) + haze
        light += rng.standard_normal(light.shape, dtype=np.float32) * np.float32(2.4)
        bands.append(Image.fromarray(np.clip(light + np.float32(0.5), 0, 255).astype(np.uint8)))
    radius = float(rng.uniform(0.25, 0.45))
    return np.stack([np.asarray(band.filter(ImageFilter.BoxBlur(radius))) for band in bands], axis=2)


def _to_map(outline: Polygon, transform: Affine) -> Polygon:
    """Turn an outline from cells into map coordinates, counter-clockwise as RFC 7946 wants it."""
    return orient(affine_transform(outline, transform.to_shapely()))


def write_scene(scene: Scene, folder: Path) -> None:
    """Write `scene.tif` and `houses.geojson`; each appears only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_image(scene, folder / "scene.tif")
    part = folder / "houses.geojson.part"
    part.write_text(json.dumps(_feature_collection(scene), separators=(",", ":")) + "\n", encoding="utf-8")
    os.replace(part, folder / "houses.geojson")


def _write_image(scene: Scene, path: Path) -> None:
    height, width, bands = scene.pixels.shape
    part = path.with_name("part-" + path.name)
    with rasterio.open(
        part,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=bands,
        dtype="uint8",
        crs=scene.crs,
        transform=scene.transform,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="JPEG",
        photometric="YCBCR",
        jpeg_quality=JPEG_QUALITY,
    ) as image:
        image.write(np.moveaxis(scene.pixels, 2, 0))
    os.replace(part, path)


def _feature_collection(scene: Scene) -> dict[str, object]:
    """Return the houses as RFC 7946 GeoJSON in CRS84."""
    to_crs84 = Transformer.from_crs(scene.crs.to_wkt(), "OGC:CRS84", always_xy=True)
    features = []
    for house in scene.footprints:
        polygon = shapely.transform(
            house.polygon, lambda xy: np.column_stack(to_crs84.transform(xy[:, 0], xy[:, 1])).round(8)
        )
        properties = {"house": house.id, "truth": house.truth}
        features.append({"type": "Feature", "id": house.id, "properties": properties, "geometry": mapping(polygon)})
    return {"type": "FeatureCollection", "features": features}


def main() -> None:
    """Write a scene from the command line."""
    parser = argparse.ArgumentParser(description="Make a synthetic scene of a suburb after a storm.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size-px", type=int, default=4000, help="width and height, cells of 0.3 m")
    parser.add_argument("--houses", type=int, default=300)
    parser.add_argument("--output", type=Path, required=True, help="folder for scene.tif and houses.geojson")
    arguments = parser.parse_args()
    scene = make_scene(arguments.seed, arguments.size_px, arguments.houses)
    write_scene(scene, arguments.output)
    damaged = sum(house.truth == "damaged" for house in scene.footprints)
    print(f"{len(scene.footprints)} houses, {damaged} damaged: {arguments.output}/scene.tif, houses.geojson")


if __name__ == "__main__":
    main()
