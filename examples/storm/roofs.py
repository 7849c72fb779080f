"""Draw houses: roofs shaded by their slopes, their shadows, and what stands on an intact roof."""

from dataclasses import dataclass

import numpy as np

from layout import Building
from paint import CELL_M, SUBCELLS, Colour, Floats, Mask, Sun, blend, darken, reduce_patch, smooth_noise

MARGIN_PX = 32
"""Room around a house for its shadow."""
SUBCELL_M = CELL_M / SUBCELLS

ROOFS: tuple[Colour, ...] = (
    (124, 120, 116),
    (96, 95, 96),
    (70, 70, 72),
    (118, 102, 88),
    (138, 128, 114),
    (158, 145, 127),
    (104, 88, 76),
    (148, 102, 84),
    (122, 84, 74),
    (172, 170, 166),
    (202, 199, 192),
    (100, 110, 100),
    (102, 114, 128),
    (132, 124, 116),
)


@dataclass
class RoofPatch:
    """The square around a house, in subcells; every array is (height, width[, 3])."""

    row: int
    col: int
    """Upper left cell on the canvas."""
    u: Floats
    v: Floats
    """The house's own axes, cells."""
    height_m: Floats
    shade: Floats
    """Brightness, 1 where level."""
    roof: Mask
    albedo: Floats
    """Colour before shading, 0..255."""
    sun_u: float
    sun_v: float
    """How far (cells) the shadow of a point one metre up falls, along u and v."""


def open_patch(building: Building, sun: Sun) -> RoofPatch:
    """Return the patch of a house with the bare shape of its roof."""
    left, top, right, bottom = building.outline.bounds
    col, row = int(left) - MARGIN_PX, int(top) - MARGIN_PX
    width, height = int(right) + MARGIN_PX - col, int(bottom) + MARGIN_PX - row
    x = (np.arange(width * SUBCELLS, dtype=np.float32) + 0.5) / SUBCELLS + np.float32(col - building.x)
    y = (np.arange(height * SUBCELLS, dtype=np.float32) + 0.5) / SUBCELLS + np.float32(row - building.y)
    cos, sin = np.float32(np.cos(building.angle)), np.float32(np.sin(building.angle))
    u: Floats = np.asarray(x[None, :] * cos + y[:, None] * sin, dtype=np.float32)
    v: Floats = np.asarray(y[:, None] * cos - x[None, :] * sin, dtype=np.float32)
    height_m = _height(building, u, v)
    shadow_x, shadow_y = (metres / CELL_M for metres in sun.shadow_per_metre())
    return RoofPatch(
        row,
        col,
        u,
        v,
        height_m,
        sun.shade(height_m, SUBCELL_M),
        height_m > 0,
        np.zeros((*u.shape, 3), dtype=np.float32),
        float(shadow_x * cos + shadow_y * sin),
        float(-shadow_x * sin + shadow_y * cos),
    )


def _height(building: Building, u: Floats, v: Floats) -> Floats:
    """Return the height above ground, metres: the highest wing at each place, 0 beside the house."""
    total = np.zeros_like(u)
    for wing in building.wings:
        to_eave_u = wing.half_u - np.abs(u - np.float32(wing.u))
        to_eave_v = wing.half_v - np.abs(v - np.float32(wing.v))
        inside = (to_eave_u >= 0) & (to_eave_v >= 0)
        slope = to_eave_v if wing.ridge_along_u else to_eave_u
        if wing.hipped:
            slope = np.minimum(to_eave_u, to_eave_v)
        rise = np.float32(building.eave_m) + np.float32(building.pitch * CELL_M) * slope
        total = np.maximum(total, np.where(inside, rise, 0))
    return np.asarray(total, dtype=np.float32)


def cover_roof(patch: RoofPatch, rng: np.random.Generator) -> None:
    """Lay shingles, tiles or metal sheets of one colour, with rows, grain and some weathering."""
    colour = np.array(ROOFS[rng.integers(len(ROOFS))], dtype=np.float32) * np.float32(rng.uniform(0.88, 1.12))
    colour = colour * rng.uniform(0.96, 1.04, 3).astype(np.float32)
    period = float(rng.uniform(1.2, 3.0))
    texture = 1 + np.float32(0.03) * np.sin(patch.height_m * np.float32(2 * np.pi / (period * 0.4)))
    texture += np.float32(0.035) * rng.standard_normal(patch.u.shape, dtype=np.float32)
    texture += np.float32(rng.uniform(0.01, 0.07)) * smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), 24)
    patch.albedo[:] = colour * texture[..., None]
    ridge = patch.roof & (np.abs(patch.v) < 0.7) & (patch.height_m > patch.height_m.max() - 0.15)
    patch.albedo[ridge] *= np.float32(rng.uniform(0.85, 1.15))


def box_mask(patch: RoofPatch, u: float, v: float, half_u: float, half_v: float, turn: float = 0.0) -> Mask:
    """Return where the patch lies in a box (cells) around (u, v), turned by `turn` radians."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    du, dv = patch.u - np.float32(u), patch.v - np.float32(v)
    return (np.abs(du * cos + dv * sin) <= half_u) & (np.abs(dv * cos - du * sin) <= half_v)


def spot_on_roof(patch: RoofPatch, rng: np.random.Generator) -> tuple[float, float]:
    """Return (u, v) of a random place on the roof."""
    places = np.flatnonzero(patch.roof)
    place = places[rng.integers(len(places))]
    return float(patch.u.flat[place]), float(patch.v.flat[place])


def furnish_roof(patch: RoofPatch, rng: np.random.Generator) -> None:
    """Put on a roof what makes intact ones look different from each other."""
    if rng.random() < 0.3:
        _weather(patch, rng)
    if rng.random() < 0.14:
        _renew_part(patch, rng)
    if rng.random() < 0.16:
        _add_solar_panels(patch, rng)
    if rng.random() < 0.22:
        _add_skylights(patch, rng)
    if rng.random() < 0.45:
        _add_chimney(patch, rng)
    for _ in range(rng.integers(0, 4)):
        _add_vent(patch, rng)


def _weather(patch: RoofPatch, rng: np.random.Generator) -> None:
    """Stain the roof with algae, soot or moss: dark or greenish patches without an edge."""
    noise = smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), float(rng.uniform(7, 40)))
    stain = np.clip((noise - np.float32(rng.uniform(0.0, 1.2))) * np.float32(rng.uniform(1.2, 6)), 0, 1)[..., None]
    tint = np.array([0.75, 0.8, 0.72] if rng.random() < 0.3 else [0.74, 0.74, 0.76], dtype=np.float32)
    depth = np.float32(rng.uniform(0.4, 1.4))
    patch.albedo *= 1 - stain * (1 - tint) * depth


def _renew_part(patch: RoofPatch, rng: np.random.Generator) -> None:
    """Cover a part of the roof with newer shingles of a slightly different shade."""
    u, v = spot_on_roof(patch, rng)
    part = box_mask(patch, u, v, float(rng.uniform(4, 14)), float(rng.uniform(3, 9))) & patch.roof
    patch.albedo[part] *= rng.uniform(0.7, 1.2) * rng.uniform(0.95, 1.05, 3).astype(np.float32)


def _add_solar_panels(patch: RoofPatch, rng: np.random.Generator) -> None:
    u, v = spot_on_roof(patch, rng)
    columns, rows = int(rng.integers(2, 7)), int(rng.integers(1, 4))
    across, along = 1.0 / CELL_M, 1.65 / CELL_M
    part = box_mask(patch, u, v, columns * across / 2, rows * along / 2) & patch.roof
    blue = float(rng.uniform(0.9, 1.4))
    panel = np.array([30, 38, 58 * blue], dtype=np.float32) * np.float32(rng.uniform(0.8, 1.3))
    frame_u = np.abs((patch.u - np.float32(u)) / across + columns / 2) % 1 < 0.16
    frame_v = np.abs((patch.v - np.float32(v)) / along + rows / 2) % 1 < 0.1
    patch.albedo[part] = panel
    patch.albedo[part & (frame_u | frame_v)] = panel + np.float32(52)


def _add_skylights(patch: RoofPatch, rng: np.random.Generator) -> None:
    u, v = spot_on_roof(patch, rng)
    bright = rng.random() < 0.5
    glass = np.array([205, 215, 220] if bright else [48, 56, 66], dtype=np.float32)
    half_u, half_v = float(rng.uniform(1.0, 2.0)), float(rng.uniform(1.4, 2.8))
    for number in range(int(rng.integers(1, 4))):
        at = u + number * 8.0
        frame = box_mask(patch, at, v, half_u + 0.6, half_v + 0.6) & patch.roof
        patch.albedo[frame] = np.float32(185 if not bright else 90)
        patch.albedo[box_mask(patch, at, v, half_u, half_v) & patch.roof] = glass


def _add_chimney(patch: RoofPatch, rng: np.random.Generator) -> None:
    u, v = spot_on_roof(patch, rng)
    half = float(rng.uniform(1.1, 1.9))
    tall = float(rng.uniform(0.8, 1.8))
    for step in np.linspace(0.2, tall, 8):
        fallen = box_mask(patch, u + step * patch.sun_u, v + step * patch.sun_v, half, half) & patch.roof
        patch.shade[fallen] = np.minimum(patch.shade[fallen], np.float32(0.45))
    stack = box_mask(patch, u, v, half, half) & patch.roof
    bricks = ((142, 82, 68), (150, 140, 130), (110, 70, 60))
    patch.albedo[stack] = np.array(bricks[rng.integers(len(bricks))], dtype=np.float32)
    patch.shade[stack] = 1.05
    patch.albedo[box_mask(patch, u, v, half * 0.45, half * 0.45) & patch.roof] = np.float32(35)


def _add_vent(patch: RoofPatch, rng: np.random.Generator) -> None:
    u, v = spot_on_roof(patch, rng)
    half = float(rng.uniform(0.5, 0.9))
    patch.shade[box_mask(patch, u + 0.7 * patch.sun_u, v + 0.7 * patch.sun_v, half, half) & patch.roof] *= 0.6
    patch.albedo[box_mask(patch, u, v, half, half) & patch.roof] = np.float32(rng.choice([60, 120, 215]))


def cast_shadow(canvas: Floats, patch: RoofPatch, sun: Sun, strength: float) -> None:
    """Darken the ground where the house keeps the sun away."""
    metres_x, metres_y = sun.shadow_per_metre()
    reach = float(np.hypot(metres_x, metres_y))
    shadow = np.zeros_like(patch.roof)
    for step in range(1, int(patch.height_m.max() * reach / SUBCELL_M) + 1):
        metres_up = step * SUBCELL_M / reach
        shift = (round(metres_up * metres_y / SUBCELL_M), round(metres_up * metres_x / SUBCELL_M))
        shadow |= np.roll(patch.height_m > metres_up, shift, axis=(0, 1))
    darken(canvas, patch.row, patch.col, reduce_patch(shadow.astype(np.float32)), strength)


def paste_roof(canvas: Floats, patch: RoofPatch) -> None:
    """Lay the shaded roof over the canvas."""
    cover = patch.roof.astype(np.float32)
    colour = patch.albedo * (patch.shade * cover)[..., None]
    blend(canvas, patch.row, patch.col, reduce_patch(colour), reduce_patch(cover))
