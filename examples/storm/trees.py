"""Draw trees: a stock of crowns, scattered with their shadows where there is room."""

from dataclasses import dataclass

import numpy as np

from layout import Building
from paint import CELL_M, Floats, Mask, Sun, blend, darken, smooth_noise

STOCK = 44
SPACING_PX = 17
SHADOW_STRENGTH = 0.56


@dataclass(frozen=True)
class Crown:
    """A tree from above."""

    radius_px: float
    colour: Floats
    """(height, width, 3), 0..255, not multiplied by `cover`."""
    cover: Floats
    """(height, width), 0..1."""


def grow_stock(rng: np.random.Generator, sun: Sun) -> list[Crown]:
    """Return crowns of all sizes, from small to large."""
    return [_grow(rng, sun, float(radius_m)) for radius_m in np.linspace(1.3, 5.8, STOCK)]


def _grow(rng: np.random.Generator, sun: Sun, radius_m: float) -> Crown:
    """Return a lumpy broadleaved crown or, one in four, a pointed conifer."""
    radius_px = radius_m / CELL_M
    half = int(np.ceil(radius_px * 1.35)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    shape = (2 * half + 1, 2 * half + 1)
    lumps = smooth_noise(rng, shape, max(3.0, radius_px / 2.6))
    leaves = smooth_noise(rng, shape, 2.2)
    distance = np.hypot(x, y) / np.float32(radius_px) + np.float32(0.11) * lumps + np.float32(0.05) * leaves
    conifer = rng.random() < 0.25
    dome = np.clip(1 - distance, 0, 1) if conifer else np.sqrt(np.clip(1 - distance**2, 0, 1))
    height_m = dome * radius_m * (1.6 if conifer else 1.0) + (0.3 * lumps + 0.25 * leaves) * (distance < 1.1)
    shade = np.clip(sun.shade(height_m.astype(np.float32), CELL_M), 0.35, 1.5)
    base = np.array([52, 70, 44] if conifer else [78, 98, 52], dtype=np.float32)
    base = (base * rng.uniform(0.8, 1.2) + rng.normal(0, 5, 3)).astype(np.float32)
    colour = base * (shade * (1 + 0.13 * leaves))[..., None]
    cover = np.clip((1 - distance) * np.float32(radius_px * 0.6), 0, 1)
    return Crown(radius_px, colour.astype(np.float32), cover.astype(np.float32))


def plant_tree(canvas: Floats, crown: Crown, x: float, y: float, sun: Sun, rng: np.random.Generator) -> None:
    """Draw the shadow of a tree and then its crown."""
    half_height, half_width = crown.cover.shape[0] // 2, crown.cover.shape[1] // 2
    row, col = round(y) - half_height, round(x) - half_width
    metres_x, metres_y = sun.shadow_per_metre()
    stem = crown.radius_px * float(rng.uniform(0.9, 1.4))
    for share in (0.55, 1.0):
        shift_row, shift_col = round(share * stem * metres_y), round(share * stem * metres_x)
        darken(canvas, row + shift_row, col + shift_col, crown.cover, SHADOW_STRENGTH * 0.62)
    tint = np.float32(rng.uniform(0.82, 1.18)) * rng.uniform(0.94, 1.06, 3).astype(np.float32)
    blend(canvas, row, col, crown.colour * crown.cover[..., None] * tint, crown.cover)


def scatter_trees(
    canvas: Floats, stock: list[Crown], free: Mask, density: Floats, sun: Sun, rng: np.random.Generator
) -> None:
    """Plant woods and single trees on free cells, more where `density` (0..1) is high."""
    size = canvas.shape[0]
    ticks = np.arange(0, size, SPACING_PX)
    y, x = (axis.ravel() + rng.uniform(0, SPACING_PX, axis.size) for axis in np.meshgrid(ticks, ticks, indexing="ij"))
    rows, cols = np.minimum(y.astype(int), size - 1), np.minimum(x.astype(int), size - 1)
    here = density[rows, cols]
    chance = np.where(here > 0.25, np.clip(here * 1.05 - 0.2, 0, 0.72), 0.05)
    chosen = free[rows, cols] & (rng.random(len(x)) < chance)
    kinds = np.clip(rng.beta(1.6, 2.0, len(x)) * STOCK, 0, STOCK - 1).astype(int)
    for number in np.flatnonzero(chosen):
        plant_tree(canvas, stock[kinds[number]], float(x[number]), float(y[number]), sun, rng)


def overhang_trees(canvas: Floats, stock: list[Crown], building: Building, sun: Sun, rng: np.random.Generator) -> None:
    """Plant trees so close to a house that some of them hide a part of its roof."""
    left, top, right, bottom = building.outline.bounds
    reach = max(right - left, bottom - top) / 2
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.45, 0.32, 0.16, 0.07]))):
        crown = stock[int(rng.integers(4, STOCK - 8))]
        angle = float(rng.uniform(0, 2 * np.pi))
        away = reach * float(rng.uniform(0.85, 1.15)) + crown.radius_px * float(rng.uniform(-0.1, 0.7))
        x, y = building.x + away * float(np.cos(angle)), building.y + away * float(np.sin(angle))
        plant_tree(canvas, crown, x, y, sun, rng)
