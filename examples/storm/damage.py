"""Damage roofs as a storm does: holes, bare decking, lost shingles, tarps and debris."""

import numpy as np

from layout import Building
from paint import CELL_M, Colour, Floats, Shape, paste_shapes, smooth_noise, turned_box
from roofs import RoofPatch, box_mask, spot_on_roof

TARPS: tuple[Colour, ...] = (
    (52, 104, 190),
    (62, 120, 200),
    (40, 84, 160),
    (150, 152, 155),
    (118, 92, 70),
    (95, 98, 102),
)
DEBRIS: tuple[Colour, ...] = (
    (196, 166, 122),
    (168, 134, 96),
    (215, 210, 200),
    (70, 66, 62),
    (205, 160, 160),
    (128, 120, 112),
)
LEAST_DAMAGE = 0.025
"""Share of the roof that is damaged visibly in every damaged house."""
CLEAR_CHANGE = 30
"""Difference in a band, 0..255, that is seen."""
MOST_TRIES = 3


def damage_roof(patch: RoofPatch, rng: np.random.Generator) -> float:
    """Damage a roof and return the severity, 0..1."""
    severity = float(rng.beta(1.15, 2.0))
    before = patch.albedo.copy()
    if rng.random() < 0.35:
        _lose_shingles(patch, rng, severity)
    for _ in range(1 + int(severity * 2.2)):
        if rng.random() < 0.5:
            _tear_hole(patch, rng, severity)
        else:
            _bare_decking(patch, rng, severity)
    if rng.random() < 0.36:
        _lay_tarp(patch, rng, severity)
    for _ in range(MOST_TRIES):
        if _visible_share(patch, before) < LEAST_DAMAGE:
            _bare_decking(patch, rng, max(severity, 0.3))
    return severity


def _visible_share(patch: RoofPatch, before: Floats) -> float:
    """Return the share of the roof whose colour has changed clearly."""
    changed = np.abs(patch.albedo - before).max(axis=2) > CLEAR_CHANGE
    return float((changed & patch.roof).sum() / patch.roof.sum())


def _ragged(patch: RoofPatch, rng: np.random.Generator, radius_px: float) -> Floats:
    """Return a distance from a random place on the roof, bent by noise; below 1 is inside the ragged patch."""
    u, v = spot_on_roof(patch, rng)
    stretch = float(rng.uniform(0.6, 1.7))
    du, dv = (patch.u - np.float32(u)) / (radius_px * stretch), (patch.v - np.float32(v)) / (radius_px / stretch)
    shape = (patch.u.shape[0], patch.u.shape[1])
    bend = smooth_noise(rng, shape, float(rng.uniform(7, 14))) * 0.28 + smooth_noise(rng, shape, 3) * 0.12
    return np.asarray(np.maximum(np.hypot(du, dv) * 0.6 + np.maximum(np.abs(du), np.abs(dv)) * 0.4 + bend, 0))


def _radius_px(rng: np.random.Generator, severity: float) -> float:
    return float(rng.uniform(0.55, 1.1) + 3.2 * severity * rng.uniform(0.5, 1.0)) / CELL_M


def _tear_hole(patch: RoofPatch, rng: np.random.Generator, severity: float) -> None:
    """Open the roof: a dark inside crossed by rafters, with torn underlay around it."""
    distance = _ragged(patch, rng, _radius_px(rng, severity))
    torn, hole = (distance < 1.25) & patch.roof, (distance < 1) & patch.roof
    patch.albedo[torn] = np.float32(rng.uniform(50, 90)) if rng.random() < 0.6 else np.array([176, 148, 110])
    spacing = float(rng.uniform(2.0, 3.4))
    rafters = hole & ((patch.u / spacing) % 1 < 0.24) & (distance < rng.uniform(0.5, 1.1))
    jumble = smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), 3)
    patch.albedo[hole] = np.array([44, 39, 35], dtype=np.float32) * (1 + 0.35 * jumble[hole, None])
    patch.albedo[hole & (jumble > 1.5)] = np.array([160, 135, 105])
    patch.albedo[rafters] = np.array([158, 128, 92]) * rng.uniform(0.8, 1.1)
    patch.shade[hole] = np.clip(patch.shade[hole], 0.75, 1.0)


def _bare_decking(patch: RoofPatch, rng: np.random.Generator, severity: float) -> None:
    """Strip the covering: wood-coloured sheets with seams, with dark underlay at the rim."""
    distance = _ragged(patch, rng, _radius_px(rng, severity))
    torn, bare = (distance < 1.2) & patch.roof, (distance < 1) & patch.roof
    wood = np.array([188, 157, 116], dtype=np.float32) * np.float32(rng.uniform(0.72, 1.1))
    grain = 1 + 0.06 * smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), 4)
    seams = ((patch.v / 4.0) % 1 < 0.12) | ((patch.u / 8.1) % 1 < 0.06)
    patch.albedo[torn] = np.float32(rng.uniform(55, 100))
    patch.albedo[bare] = wood * grain[bare, None]
    patch.albedo[bare & seams] *= 0.7
    if rng.random() < 0.4:
        patch.albedo[bare & (smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), 9) > 0.9)] = np.float32(40)


def _lose_shingles(patch: RoofPatch, rng: np.random.Generator, severity: float) -> None:
    """Blow single shingles off: many small dark or pale spots on a part of the roof."""
    near = _ragged(patch, rng, (2.0 + 5.0 * severity) / CELL_M) < 1
    spots = smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), float(rng.uniform(3, 6))) > rng.uniform(0.5, 1.1)
    lost = near & spots & patch.roof
    patch.albedo[lost] = np.float32(rng.choice([48, 62, 150])) * np.array([1.0, 0.97, 0.92])


def _lay_tarp(patch: RoofPatch, rng: np.random.Generator, severity: float) -> None:
    """Stretch a tarp over the damage, held down by battens."""
    u, v = spot_on_roof(patch, rng)
    half_u, half_v = (float(rng.uniform(1.2, 2.4) + 2.2 * severity) / CELL_M for _ in range(2))
    turn = float(rng.normal(0, 0.1))
    tarp = box_mask(patch, u, v, half_u, half_v, turn) & patch.roof
    colour = np.array(TARPS[rng.integers(len(TARPS))], dtype=np.float32) * np.float32(rng.uniform(0.85, 1.15))
    ripples = 1 + 0.07 * smooth_noise(rng, (patch.u.shape[0], patch.u.shape[1]), 6)
    patch.albedo[tarp] = colour * ripples[tarp, None]
    battens = tarp & (((patch.u - np.float32(u)) / float(rng.uniform(4, 7))) % 1 < 0.1)
    if rng.random() < 0.6:
        patch.albedo[battens] = np.array([176, 150, 115])


def scatter_debris(
    canvas: Floats, building: Building, rng: np.random.Generator, pieces: int, spread_px: float, wind: float
) -> None:
    """Scatter boards, sheets and scraps around a house, more of them downwind (radians from the x axis)."""
    if not pieces:
        return
    shapes: list[Shape] = []
    for _ in range(pieces):
        blown = abs(float(rng.normal(0, spread_px)))
        x = building.x + float(rng.normal(0, spread_px)) + 0.5 * blown * float(np.cos(wind))
        y = building.y + float(rng.normal(0, spread_px)) + 0.5 * blown * float(np.sin(wind))
        shapes.append(_piece(x, y, rng))
    paste_shapes(canvas, shapes)


def _piece(x: float, y: float, rng: np.random.Generator) -> Shape:
    shade = float(rng.uniform(0.75, 1.1))
    red, green, blue = DEBRIS[rng.integers(len(DEBRIS))]
    half_length = float(rng.uniform(0.2, 1.1)) / CELL_M
    half_width = float(rng.uniform(0.08, 0.35)) / CELL_M
    corners = turned_box(x, y, half_length, half_width, float(rng.uniform(0, np.pi)))
    return Shape(corners, (red * shade, green * shade, blue * shade), 0.92)
