"""Paint on a canvas: smooth noise, blended patches, soft shadows and antialiased shapes.

A canvas is a float32 array (height, width, 3), 0..255. Positions are in cells: x to the right, y down, from the
upper left corner of the upper left cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Colour = tuple[float, float, float]
Points = Sequence[tuple[float, float]]

CELL_M = 0.3
"""Side of a cell of the scene, metres."""

SUBCELLS = 2
"""Cells of a patch per cell of the canvas, along each axis."""

SHAPE_SUBCELLS = 4
SHADOW_TINT = np.array([1.0, 0.97, 0.88], dtype=np.float32)
"""Share of the darkening per band: shadows are lit by the sky and so are a little blue."""


@dataclass(frozen=True)
class Sun:
    """Where the light comes from."""

    east: float
    south: float
    up: float
    """Unit vector towards the sun, in the axes of the canvas (x, y) and upwards."""

    @staticmethod
    def at(azimuth_deg: float, elevation_deg: float) -> "Sun":
        """Make a sun from its azimuth (clockwise from north) and its elevation."""
        azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
        flat = float(np.cos(elevation))
        return Sun(flat * float(np.sin(azimuth)), -flat * float(np.cos(azimuth)), float(np.sin(elevation)))

    def shadow_per_metre(self) -> tuple[float, float]:
        """Return how far (x, y), metres, the shadow of a point one metre up falls from it."""
        return -self.east / self.up, -self.south / self.up

    def shade(self, height: Floats, cell_m: float) -> Floats:
        """Return the brightness of a height field (metres), 1 where it is level."""
        down, right = np.gradient(height, cell_m)
        light = (self.up - right * self.east - down * self.south) / np.sqrt(1 + right**2 + down**2)
        return np.asarray(0.42 + 0.58 * np.clip(light, 0, None) / self.up, dtype=np.float32)


@dataclass(frozen=True)
class Shape:
    """A polygon of one colour."""

    points: Points
    """Corners (x, y), cells of the canvas."""
    colour: Colour
    opacity: float = 1.0


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> Floats:
    """Return noise (height, width) of about unit variance whose bumps are some `cell_px` cells wide."""
    height, width = (int(np.ceil(side / cell_px)) + 2 for side in shape)
    coarse = Image.fromarray(rng.standard_normal((height, width), dtype=np.float32))
    box = (0.5, 0.5, 0.5 + shape[1] / cell_px, 0.5 + shape[0] / cell_px)
    fine = coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box)
    return np.asarray(fine, dtype=np.float32) * np.float32(1.3)


def cloudy_noise(rng: np.random.Generator, shape: tuple[int, int], cells_px: Sequence[float]) -> Floats:
    """Return the mean of smooth noises of several cell sizes, scaled to about unit variance."""
    total = np.zeros(shape, dtype=np.float32)
    for cell_px in cells_px:
        total += smooth_noise(rng, shape, cell_px)
    return total / np.float32(np.sqrt(len(cells_px)))


def blend(canvas: Floats, row: int, col: int, colour: Floats, alpha: Floats) -> None:
    """Lay a patch over the canvas at (row, col).

    Args:
        colour: `(height, width, 3)`, multiplied by `alpha` already.
        alpha: `(height, width)`, 0..1.
    """
    height, width = alpha.shape
    top, left = max(0, -row), max(0, -col)
    bottom, right = min(height, canvas.shape[0] - row), min(width, canvas.shape[1] - col)
    if bottom <= top or right <= left:
        return
    below = canvas[row + top : row + bottom, col + left : col + right]
    below *= 1 - alpha[top:bottom, left:right, None]
    below += colour[top:bottom, left:right]


def darken(canvas: Floats, row: int, col: int, shadow: Floats, strength: float) -> None:
    """Multiply the canvas by a shadow `(height, width)`, 0..1, at (row, col)."""
    height, width = shadow.shape
    top, left = max(0, -row), max(0, -col)
    bottom, right = min(height, canvas.shape[0] - row), min(width, canvas.shape[1] - col)
    if bottom <= top or right <= left:
        return
    kept = shadow[top:bottom, left:right, None] * np.float32(strength) * SHADOW_TINT
    canvas[row + top : row + bottom, col + left : col + right] *= 1 - kept


def reduce_patch(patch: Floats) -> Floats:
    """Average blocks of `SUBCELLS` x `SUBCELLS` cells; a patch has two or three axes."""
    height, width = (side // SUBCELLS for side in patch.shape[:2])
    blocks = patch.reshape(height, SUBCELLS, width, SUBCELLS, *patch.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def paste_shapes(canvas: Floats, shapes: Sequence[Shape]) -> None:
    """Draw antialiased polygons, one over the other."""
    for shape in shapes:
        xs, ys = [x for x, _ in shape.points], [y for _, y in shape.points]
        left, top = int(min(xs)) - 1, int(min(ys)) - 1
        size = ((int(max(xs)) + 2 - left) * SHAPE_SUBCELLS, (int(max(ys)) + 2 - top) * SHAPE_SUBCELLS)
        image = Image.new("L", size)
        moved = [((x - left) * SHAPE_SUBCELLS, (y - top) * SHAPE_SUBCELLS) for x, y in shape.points]
        ImageDraw.Draw(image).polygon(moved, fill=255)
        cover = np.asarray(image.reduce(SHAPE_SUBCELLS), dtype=np.float32) * np.float32(shape.opacity / 255)
        blend(canvas, top, left, cover[..., None] * np.array(shape.colour, dtype=np.float32), cover)


def turned_box(x: float, y: float, half_length: float, half_width: float, angle: float) -> list[tuple[float, float]]:
    """Return the corners of a box around (x, y) whose length runs at `angle` radians from the x axis."""
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    corners = [np.array([x, y]) + a * half_length * along + b * half_width * across for a, b in signs]
    return [(float(corner[0]), float(corner[1])) for corner in corners]
