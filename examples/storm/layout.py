"""Lay out a suburb: streets, lots along them and the houses' outlines. All lengths are in cells."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon, box

from paint import CELL_M

ROW_SPACING = 430.0
CROSSING_SPACING = 980.0
ROAD_HALF_WIDTH = 12.0
CURVE_STEP = 25.0
SIDES = (-1.0, 1.0)


@dataclass(frozen=True)
class Wing:
    """A rectangular part of a house, in the house's own axes: u along the street, v across it."""

    u: float
    v: float
    half_u: float
    half_v: float
    ridge_along_u: bool
    hipped: bool


@dataclass(frozen=True)
class Lot:
    """A piece of land along a street."""

    kerb_x: float
    kerb_y: float
    """Point on the street's centre line in front of the house."""
    angle: float
    """Direction of the street, radians from the x axis towards y."""
    side: float
    """-1 or 1: on which side of the street, along the street's normal."""
    frontage: float
    depth: float

    def place(self, along: float, away: float) -> tuple[float, float]:
        """Return (x, y) of a point so far along the street and so far away from its centre line."""
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        across = away * self.side
        return self.kerb_x + along * cos - across * sin, self.kerb_y + along * sin + across * cos


@dataclass(frozen=True)
class Building:
    """A house: where it stands and what its roof is made of."""

    lot: Lot
    x: float
    y: float
    angle: float
    wings: tuple[Wing, ...]
    outline: Polygon
    """Footprint, cells."""
    eave_m: float
    pitch: float
    """Rise of the roof, metres per metre."""


@dataclass(frozen=True)
class Suburb:
    """Streets and houses of a scene."""

    streets: tuple[NDArray[np.float64], ...]
    """Centre lines, each (n, 2) of x, y."""
    buildings: tuple[Building, ...]
    empty_lots: tuple[Lot, ...]


@dataclass(frozen=True)
class Frame:
    """The turned axes of the street network, with their origin in the middle of the scene."""

    centre: float
    angle: float

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn points (n, 2) of the frame into cells."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turned: NDArray[np.float64] = points @ np.array([[cos, sin], [-sin, cos]])
        return self.centre + turned


@dataclass(frozen=True)
class Curve:
    """A street in the frame: an offset that swings about a straight line."""

    offset: float
    swing: float
    length: float
    phase: float

    def at(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the offset at distances along the line."""
        return self.offset + self.swing * np.sin(2 * np.pi * distance / self.length + self.phase)


def plan_suburb(rng: np.random.Generator, size: int, houses: int) -> Suburb:
    """Lay out streets on a square of `size` cells and put `houses` houses along them.

    Raises:
        ValueError: the square has room for fewer houses.
    """
    frame = Frame(size / 2, float(rng.uniform(-0.2, 0.2)))
    rows = _curves(rng, size, ROW_SPACING)
    crossings = _curves(rng, size, CROSSING_SPACING)
    lots = [lot for row in rows for lot in _lots_along(rng, row, crossings, frame, size)]
    chosen = _settle(rng, lots, size)
    buildings: list[Building] = []
    empty: list[Lot] = []
    for lot in chosen:
        building = _try_building(rng, lot, size) if len(buildings) < houses else None
        if building is None:
            empty.append(lot)
        else:
            buildings.append(building)
    if len(buildings) < houses:
        raise ValueError(f"a scene of {size} cells has room for {len(buildings)} houses, not for {houses}")
    return Suburb(_centre_lines(rows, crossings, frame, size), tuple(buildings), tuple(empty))


def _curves(rng: np.random.Generator, size: int, spacing: float) -> list[Curve]:
    count = int(np.ceil(1.5 * size / spacing))
    start = -spacing * (count - 1) / 2 + rng.uniform(-0.3, 0.3) * spacing
    return [
        Curve(
            start + number * spacing + float(rng.uniform(-0.04, 0.04)) * spacing,
            float(rng.uniform(6, 26)),
            float(rng.uniform(1300, 2600)),
            float(rng.uniform(0, 2 * np.pi)),
        )
        for number in range(count)
    ]


def _centre_lines(
    rows: list[Curve], crossings: list[Curve], frame: Frame, size: int
) -> tuple[NDArray[np.float64], ...]:
    distance = np.arange(-0.8 * size, 0.8 * size, CURVE_STEP)
    lines = [np.stack([distance, row.at(distance)], axis=1) for row in rows]
    lines += [np.stack([crossing.at(distance), distance], axis=1) for crossing in crossings]
    return tuple(frame.place(line) for line in lines)


def _lots_along(rng: np.random.Generator, row: Curve, crossings: list[Curve], frame: Frame, size: int) -> list[Lot]:
    lots = []
    for side in SIDES:
        distance = -0.75 * size + float(rng.uniform(0, 60))
        while distance < 0.75 * size:
            frontage = float(rng.uniform(92, 118))
            lot = _lot_at(row, frame, distance + frontage / 2, side, frontage)
            if _stands_free(row, crossings, distance + frontage / 2, frontage) and _inside(lot, size):
                lots.append(lot)
            distance += frontage
    return lots


def _lot_at(row: Curve, frame: Frame, distance: float, side: float, frontage: float) -> Lot:
    ends = np.array([distance - 1, distance, distance + 1])
    points = frame.place(np.stack([ends, row.at(ends)], axis=1))
    ahead = points[2] - points[0]
    angle = float(np.arctan2(ahead[1], ahead[0]))
    return Lot(float(points[1, 0]), float(points[1, 1]), angle, side, frontage, ROW_SPACING / 2 - 8)


def _stands_free(row: Curve, crossings: list[Curve], distance: float, frontage: float) -> bool:
    offset = row.at(np.array([distance]))
    gaps = [abs(float(crossing.at(offset)[0]) - distance) for crossing in crossings]
    return min(gaps) > frontage / 2 + ROAD_HALF_WIDTH + 6


def _inside(lot: Lot, size: int) -> bool:
    x, y = lot.place(0, 85)
    return 30 < x < size - 30 and 30 < y < size - 30


def _settle(rng: np.random.Generator, lots: list[Lot], size: int) -> list[Lot]:
    """Order the lots so that the first ones form neighbourhoods and the last ones the woods between them."""
    hubs = rng.uniform(0, size, (5, 2))
    places = np.array([[lot.kerb_x, lot.kerb_y] for lot in lots]).reshape(-1, 2)
    nearest = np.min(np.linalg.norm(places[:, None] - hubs[None], axis=2), axis=1)
    score = nearest + rng.uniform(0, 0.35 * size, len(lots))
    return [lots[number] for number in np.argsort(score, kind="stable")]


def _try_building(rng: np.random.Generator, lot: Lot, size: int) -> Building | None:
    wings = _wings(rng, lot.frontage)
    turn = float(rng.normal(0, 0.04)) if rng.random() < 0.8 else float(rng.uniform(-0.5, 0.5))
    x, y = lot.place(float(rng.uniform(-6, 6)), float(rng.uniform(74, 96)))
    angle = lot.angle + turn + (0 if rng.random() < 0.5 else np.pi)
    outline = shapely.union_all([box(w.u - w.half_u, w.v - w.half_v, w.u + w.half_u, w.v + w.half_v) for w in wings])
    placed = affinity.translate(affinity.rotate(outline, angle, origin=(0, 0), use_radians=True), x, y)
    left, top, right, bottom = placed.bounds
    if not isinstance(placed, Polygon) or min(left, top) < 4 or max(right, bottom) > size - 4:
        return None
    eave_m, pitch = float(rng.uniform(2.8, 4.2)), float(rng.uniform(0.32, 0.75))
    return Building(lot, x, y, angle, wings, placed, eave_m, pitch)


def _wings(rng: np.random.Generator, frontage: float) -> tuple[Wing, ...]:
    """Return the parts of a rectangular, L-shaped or T-shaped house, 9 to 22 m long."""
    longest = min(22.0, frontage * CELL_M - 8)
    length, width = float(rng.uniform(10.5, longest)), float(rng.uniform(8.0, 11.0))
    half_u, half_v = length / 2 / CELL_M, min(width, length * 0.85) / 2 / CELL_M
    hipped = bool(rng.random() < 0.45)
    main = Wing(0, 0, half_u, half_v, True, hipped)
    kind = rng.choice(3, p=[0.4, 0.38, 0.22])
    if kind == 0 or length < 12:
        return (main,)
    wing_half_u = min(float(rng.uniform(5.0, 8.0)) / 2 / CELL_M, 0.36 * 2 * half_u)
    reach = float(rng.uniform(3.0, 6.5)) / CELL_M
    side = 1 if rng.random() < 0.5 else -1
    u = side * (half_u - wing_half_u) if kind == 1 else float(rng.uniform(-0.2, 0.2)) * half_u
    half_wing_v = (half_v + reach) / 2
    return main, Wing(u, -half_wing_v, wing_half_u, half_wing_v, False, hipped)
