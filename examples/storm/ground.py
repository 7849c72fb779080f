"""Paint the ground: lawns, soil, woods' floor, streets, driveways, pools, cars and other things in a garden."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from shapely import Point, Polygon

from layout import ROAD_HALF_WIDTH, Building, Lot, Suburb
from paint import CELL_M, Colour, Floats, Points, Shape, cloudy_noise, paste_shapes, smooth_noise, turned_box

WALK_OFFSET = 19.0
LUSH: Colour = (93, 108, 66)
STRAW: Colour = (150, 140, 102)
FLOOR: Colour = (72, 79, 52)
SOIL: Colour = (164, 141, 112)
COARSE = 4
"""Cells per cell of the map of woods."""
CARS: tuple[Colour, ...] = (
    (225, 225, 222),
    (45, 46, 50),
    (130, 133, 138),
    (150, 40, 38),
    (48, 70, 120),
    (190, 180, 160),
)
COVERS: tuple[Colour, ...] = (
    (58, 110, 190),
    (40, 60, 90),
    (120, 120, 118),
    (150, 120, 85),
    (60, 95, 60),
    (190, 165, 125),
)


def lot_corners(lot: Lot) -> list[tuple[float, float]]:
    """Return the corners of a lot, from the street to its back."""
    half = lot.frontage / 2
    return [lot.place(-half, 15), lot.place(half, 15), lot.place(half, lot.depth), lot.place(-half, lot.depth)]


def wood_density(suburb: Suburb, size: int, rng: np.random.Generator) -> Floats:
    """Return (height, width) how woody the land is, 0..1: gardens little, empty lots much."""
    small = -(-size // COARSE)
    image = Image.new("L", (small, small), 120)
    draw = ImageDraw.Draw(image)
    for lot in suburb.empty_lots:
        draw.polygon([(x / COARSE, y / COARSE) for x, y in lot_corners(lot)], fill=205)
    for building in suburb.buildings:
        draw.polygon([(x / COARSE, y / COARSE) for x, y in lot_corners(building.lot)], fill=28)
    density = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), dtype=np.float32) / np.float32(255)
    clumps = cloudy_noise(rng, (small, small), (420 / COARSE, 130 / COARSE)) * np.float32(0.22)
    coarse = Image.fromarray(np.clip(density + clumps * (density > 0.2), 0, 1).astype(np.float32))
    fine = coarse.resize((small * COARSE, small * COARSE), Image.Resampling.BILINEAR)
    return np.asarray(fine, dtype=np.float32)[:size, :size]


def paint_ground(suburb: Suburb, density: Floats, rng: np.random.Generator) -> Floats:
    """Return a canvas with grass, soil, gardens and the floor of the woods."""
    shape = (density.shape[0], density.shape[1])
    dry, tone = _garden_tones(suburb, shape[0], rng)
    dry += np.float32(0.35) * cloudy_noise(rng, shape, (300, 60, 14))
    np.clip(dry, 0, 1, out=dry)
    woody = np.clip(density * np.float32(1.5) - np.float32(0.45), 0, np.float32(0.85))
    bare = np.clip((cloudy_noise(rng, shape, (90, 22, 7)) - np.float32(1.45)) * np.float32(1.5), 0, np.float32(0.8))
    tone += np.float32(0.05) * rng.standard_normal(shape, dtype=np.float32)
    tone += np.float32(0.05) * smooth_noise(rng, shape, 4)
    canvas = np.empty((*shape, 3), dtype=np.float32)
    for band, (lush, straw, floor, soil) in enumerate(zip(LUSH, STRAW, FLOOR, SOIL, strict=True)):
        ground = lush + dry * np.float32(straw - lush)
        ground += woody * (np.float32(floor) - ground)
        ground += bare * (np.float32(soil) - ground)
        canvas[..., band] = ground * tone
    return canvas


def _garden_tones(suburb: Suburb, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return how dry (0..1) and how bright (about 1) the grass is: each garden differs."""
    dry, tone = Image.new("L", (size, size), 90), Image.new("L", (size, size), 128)
    for building in suburb.buildings:
        corners = lot_corners(building.lot)
        ImageDraw.Draw(dry).polygon(corners, fill=int(rng.integers(10, 215)))
        ImageDraw.Draw(tone).polygon(corners, fill=int(rng.integers(108, 150)))
    soft = [image.filter(ImageFilter.BoxBlur(1)) for image in (dry, tone)]
    return np.asarray(soft[0], dtype=np.float32) / np.float32(255), np.asarray(soft[1], dtype=np.float32) / np.float32(
        128
    )


def pave_streets(canvas: Floats, suburb: Suburb, rng: np.random.Generator) -> None:
    """Lay pavements, asphalt and centre lines over the canvas."""
    size = canvas.shape[0]
    wear = cloudy_noise(rng, (size, size), (160, 30, 5)) * np.float32(0.045) + 1
    walks = _stroke(suburb, size, WALK_OFFSET + 2.2) - _stroke(suburb, size, WALK_OFFSET - 2.2)
    _cover(canvas, np.clip(walks, 0, 1), (178, 174, 164), wear)
    _cover(canvas, _stroke(suburb, size, ROAD_HALF_WIDTH + 1.2), (160, 157, 150), wear)
    asphalt = float(rng.uniform(88, 118))
    _cover(canvas, _stroke(suburb, size, ROAD_HALF_WIDTH), (asphalt, asphalt, asphalt * 1.01), wear)
    for street in suburb.streets:
        for first, second in zip(street[:-1:2], street[1::2], strict=False):
            _mark(canvas, first, second)


def _stroke(suburb: Suburb, size: int, half_width: float) -> Floats:
    """Return (height, width) the cover, 0..1, of a band around all streets."""
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    for street in suburb.streets:
        draw.line([(float(x), float(y)) for x, y in street], fill=255, width=round(2 * half_width))
    return np.asarray(image.filter(ImageFilter.BoxBlur(0.7)), dtype=np.float32) / np.float32(255)


def _cover(canvas: Floats, cover: Floats, colour: Colour, wear: Floats) -> None:
    """Blend a worn surface over the rows and columns where there is some."""
    places = cover > 0.004
    canvas[places] += cover[places, None] * (np.array(colour, dtype=np.float32) * wear[places, None] - canvas[places])


def _mark(canvas: Floats, first: Floats, second: Floats) -> None:
    middle, ahead = (first + second) / 2, second - first
    if not (0 < middle[0] < canvas.shape[1] and 0 < middle[1] < canvas.shape[0]):
        return
    corners = turned_box(float(middle[0]), float(middle[1]), 7, 0.35, float(np.arctan2(ahead[1], ahead[0])))
    paste_shapes(canvas, [Shape(corners, (205, 190, 120), 0.7)])


def furnish_garden(canvas: Floats, building: Building, rng: np.random.Generator) -> None:
    """Draw what lies on a lot beside the house: driveway, cars, pool, shed, covered things."""
    lot = building.lot
    shapes = _driveway(lot, rng)
    if rng.random() < 0.25:
        shapes += _fence(lot, rng)
    if rng.random() < 0.2:
        shapes += _pool(building, rng)
    if rng.random() < 0.3:
        shapes += _terrace(building, rng)
    if rng.random() < 0.25:
        shapes += _shed(lot, rng)
    for _ in range(int(rng.poisson(0.9))):
        shapes += _thing(building, rng)
    paste_shapes(canvas, shapes)


def _driveway(lot: Lot, rng: np.random.Generator) -> list[Shape]:
    along, half = float(rng.choice([-1.0, 1.0]) * rng.uniform(14, 26)), float(rng.uniform(5, 9))
    end = float(rng.uniform(66, 84))
    grey = float(rng.uniform(128, 190))
    colour = (grey, grey * 0.98, grey * float(rng.uniform(0.9, 0.96)))
    corners = [lot.place(along - half, 11), lot.place(along + half, 11), lot.place(along + half, end)]
    shapes = [Shape([*corners, lot.place(along - half, end)], colour)]
    if rng.random() < 0.55:
        shapes += car(
            *lot.place(along + float(rng.uniform(-1, 1)), float(rng.uniform(30, 50))), lot.angle + np.pi / 2, rng
        )
    if rng.random() < 0.12:
        shapes += car(*lot.place(float(rng.uniform(-40, 40)), 8), lot.angle, rng)
    return shapes


def car(x: float, y: float, angle: float, rng: np.random.Generator) -> list[Shape]:
    """Return the shapes of a car seen from above, with its shadow."""
    colour = CARS[rng.integers(len(CARS))]
    half_length, half_width = float(rng.uniform(2.1, 2.6)) / CELL_M, float(rng.uniform(0.85, 1.0)) / CELL_M
    shadow = Shape(turned_box(x - 1.6, y - 1.6, half_length, half_width, angle), (20, 22, 28), 0.5)
    body = Shape(turned_box(x, y, half_length, half_width, angle), colour)
    glass = Shape(turned_box(x, y, half_length * 0.58, half_width * 0.84, angle), (36, 42, 50))
    roof = Shape(turned_box(x, y, half_length * 0.36, half_width * 0.8, angle), colour)
    return [shadow, body, glass, roof]


def _pool(building: Building, rng: np.random.Generator) -> list[Shape]:
    """Return a pool behind the house with its paved rim."""
    x, y = building.lot.place(float(rng.uniform(-22, 22)), float(rng.uniform(126, 150)))
    half_length, half_width = float(rng.uniform(7, 13)), float(rng.uniform(5, 8))
    middle = Point(x, y).buffer(half_width)
    water = middle if rng.random() < 0.25 else _turned(x, y, half_length, half_width, building.angle)
    blue = float(rng.uniform(0.8, 1.1))
    rim = Shape(_ring(water, 3.5), (196, 190, 178))
    deep = Shape(_ring(water, -2), (62 * blue, 152 * blue, 186 * blue))
    return [rim, Shape(_ring(water, 0), (96 * blue, 186 * blue, 204 * blue)), deep]


def _terrace(building: Building, rng: np.random.Generator) -> list[Shape]:
    """Return a terrace of boards or slabs at a side of the house, partly below its roof."""
    left, top, right, bottom = building.outline.bounds
    reach, around = (right - left + bottom - top) / 4.5, building.angle + float(rng.choice([0.5, 1.0, 1.5])) * np.pi
    x, y = building.x + reach * float(np.cos(around)), building.y + reach * float(np.sin(around))
    half_length, half_width = float(rng.uniform(5, 11)), float(rng.uniform(6, 10))
    tone = float(rng.uniform(0.7, 1.15))
    red, green, blue = COVERS[rng.choice([3, 5])] if rng.random() < 0.7 else (170.0, 166.0, 158.0)
    angle = around + np.pi / 2
    boards = [Shape(turned_box(x, y, half_length, half_width, angle), (red * tone, green * tone, blue * tone))]
    for number in range(-2, 3):
        shift = number * half_width / 2.5
        at = (x - shift * float(np.sin(angle)), y + shift * float(np.cos(angle)))
        boards.append(Shape(turned_box(*at, half_length, 0.3, angle), (70, 58, 46), 0.5))
    return boards


def _turned(x: float, y: float, half_length: float, half_width: float, angle: float) -> Polygon:
    return Polygon(turned_box(x, y, half_length, half_width, angle)).buffer(-2).buffer(2)


def _ring(polygon: Point | Polygon, grow: float) -> Points:
    grown = polygon.buffer(grow)
    return [(float(x), float(y)) for x, y in grown.exterior.coords]


def _shed(lot: Lot, rng: np.random.Generator) -> list[Shape]:
    """Return a shed in the back of a garden: two slopes and a shadow."""
    x, y = lot.place(float(rng.choice([-1.0, 1.0])) * (lot.frontage / 2 - 14), float(rng.uniform(150, 185)))
    half_length, half_width = float(rng.uniform(5, 9)), float(rng.uniform(4, 6))
    grey = float(rng.uniform(70, 200))
    shadow = Shape(turned_box(x - 4, y - 5, half_length, half_width, lot.angle), (24, 28, 26), 0.5)
    roof = Shape(turned_box(x, y, half_length, half_width, lot.angle), (grey, grey * 0.96, grey * 0.9))
    lit = turned_box(
        x + half_width / 2 * -np.sin(lot.angle),
        y + half_width / 2 * np.cos(lot.angle),
        half_length,
        half_width / 2,
        lot.angle,
    )
    return [shadow, roof, Shape(lit, (grey * 1.2, grey * 1.15, grey * 1.08))]


def _thing(building: Building, rng: np.random.Generator) -> list[Shape]:
    """Return something left in a garden: a covered boat, a stack of wood, a trampoline, a table."""
    x, y = building.lot.place(float(rng.uniform(-44, 44)), float(rng.uniform(110, 170)))
    if rng.random() < 0.2:
        return [Shape(_ring(Point(x, y), 6.5), (90, 120, 160)), Shape(_ring(Point(x, y), 5.4), (42, 44, 48))]
    half_length, half_width = float(rng.uniform(1.5, 8)), float(rng.uniform(1.2, 4))
    angle = building.angle + float(rng.normal(0, 0.3))
    shadow = Shape(turned_box(x - 2, y - 2.4, half_length, half_width, angle), (24, 28, 26), 0.45)
    return [shadow, Shape(turned_box(x, y, half_length, half_width, angle), COVERS[rng.integers(len(COVERS))])]


def _fence(lot: Lot, rng: np.random.Generator) -> list[Shape]:
    grey = float(rng.uniform(120, 200))
    half, back = lot.frontage / 2, lot.depth
    sides = [(-half, 100.0, -half, back), (half, 100.0, half, back), (-half, back, half, back)]
    shapes = []
    for first_along, first_away, last_along, last_away in sides:
        (x1, y1), (x2, y2) = lot.place(first_along, first_away), lot.place(last_along, last_away)
        angle = float(np.arctan2(y2 - y1, x2 - x1))
        half_length = float(np.hypot(x2 - x1, y2 - y1)) / 2
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        shapes.append(Shape(turned_box(x - 1.2, y - 1.6, half_length, 1.1, angle), (24, 28, 26), 0.4))
        shapes.append(Shape(turned_box(x, y, half_length, 0.4, angle), (grey, grey * 0.94, grey * 0.85)))
    return shapes
