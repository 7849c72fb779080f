"""Draw the classified houses on the scene, with a legend and some chips at full resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rasterio.enums import Resampling
from rasterio.warp import transform_geom
from rasterio.windows import Window
from shapely import Polygon
from shapely.affinity import affine_transform

MAP_PX = 1400
HEADER_PX = 96
MARGIN = 24
CHIP_PX = 64
TILE_PX = 176
"""Side of a chip in the picture."""
TILE_STEP_X, TILE_STEP_Y = TILE_PX + 22, TILE_PX + 58
COLUMNS, ROWS = 3, 6
MOST_WRONG = 6
PAPER, INK, FAINT, ALARM = (22, 25, 30), (238, 240, 242), (150, 156, 164), (255, 196, 0)

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Verdict:
    """A house of the result."""

    house: int
    truth: str
    label: str
    confidence: float
    """0..1."""
    geometry: Mapping[str, object]
    """GeoJSON polygon, CRS84."""

    @property
    def right(self) -> bool:
        """Whether the label is the truth."""
        return self.label == self.truth


@dataclass(frozen=True)
class Placed:
    """A house in the cells of the image."""

    verdict: Verdict
    outline: Polygon
    """Cells: x to the right, y down."""


def draw_picture(scene: Path, verdicts: Sequence[Verdict], colours: Mapping[str, Rgb], path: Path) -> None:
    """Write the picture as PNG.

    Args:
        colours: of each class, 0..255.
    """
    with rasterio.open(scene) as image:
        placed = [_place(verdict, image) for verdict in verdicts]
        overview = image.read(out_shape=(3, MAP_PX, MAP_PX), resampling=Resampling.average)
        scale = MAP_PX / image.width
        shown = _choose(placed)
        chips = [_read_chip(image, house.outline) for house in shown]
    width = MAP_PX + 3 * MARGIN + COLUMNS * TILE_STEP_X
    picture = Image.new("RGB", (width, MAP_PX + HEADER_PX + MARGIN), PAPER)
    picture.paste(_draw_map(overview, placed, colours, scale), (MARGIN, HEADER_PX))
    _draw_header(picture, verdicts, colours)
    for number, (house, chip) in enumerate(zip(shown, chips, strict=True)):
        corner = (MAP_PX + 3 * MARGIN + number % COLUMNS * TILE_STEP_X, HEADER_PX + number // COLUMNS * TILE_STEP_Y)
        _draw_tile(picture, corner, house, chip, colours)
    picture.save(path)


def _place(verdict: Verdict, image: rasterio.DatasetReader) -> Placed:
    rings = transform_geom("OGC:CRS84", image.crs, verdict.geometry)["coordinates"]
    return Placed(verdict, affine_transform(Polygon(rings[0], rings[1:]), (~image.transform).to_shapely()))


def _choose(placed: Sequence[Placed]) -> list[Placed]:
    """Return the houses to show: some wrong ones, then right ones of each class in turn, spread over the layer."""
    wrong = [house for house in placed if not house.verdict.right][:MOST_WRONG]
    right = [house for house in placed if house.verdict.right]
    labels = sorted({house.verdict.label for house in right})
    left = COLUMNS * ROWS - len(wrong)
    share = -(-left // max(1, len(labels)))
    groups = [_spread([house for house in right if house.verdict.label == label], share) for label in labels]
    longest = max((len(group) for group in groups), default=0)
    turns = [group[number] for number in range(longest) for group in groups if number < len(group)]
    return (wrong + turns)[: COLUMNS * ROWS]


def _spread(houses: Sequence[Placed], count: int) -> list[Placed]:
    """Return so many of the houses, at even steps."""
    return [houses[number] for number in np.unique(np.linspace(0, len(houses) - 1, count).round().astype(int))]


def _read_chip(image: rasterio.DatasetReader, outline: Polygon) -> Image.Image:
    """Return the chip that the model saw, enlarged."""
    left, top, right, bottom = outline.bounds
    window = Window(round((left + right - CHIP_PX) / 2), round((top + bottom - CHIP_PX) / 2), CHIP_PX, CHIP_PX)
    pixels = image.read(window=window, boundless=True, fill_value=0)
    return Image.fromarray(np.moveaxis(pixels, 0, 2)).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)


def _draw_map(
    overview: NDArray[np.uint8], placed: Sequence[Placed], colours: Mapping[str, Rgb], scale: float
) -> Image.Image:
    """Return the scene with the houses filled and outlined in their classes' colours, wrong ones ringed."""
    image = Image.fromarray(np.moveaxis(overview, 0, 2)).point([value * 0.82 for value in range(256)] * 3)
    draw = ImageDraw.Draw(image, "RGBA")
    for house in placed:
        colour = colours.get(house.verdict.label, FAINT)
        grown = house.outline.buffer(4, join_style="mitre")
        points = [(x * scale, y * scale) for x, y in grown.exterior.coords]
        draw.polygon(points, fill=(*colour, 110))
        draw.line(points, fill=(*colour, 255), width=2, joint="curve")
        if not house.verdict.right:
            x, y = house.outline.centroid.x * scale, house.outline.centroid.y * scale
            draw.ellipse((x - 21, y - 21, x + 21, y + 21), outline=(*ALARM, 255), width=3)
    return image


def _draw_header(picture: Image.Image, verdicts: Sequence[Verdict], colours: Mapping[str, Rgb]) -> None:
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 14), "Houses after a storm, classified by roof-damage", INK, ImageFont.load_default(size=30))
    right = sum(verdict.right for verdict in verdicts)
    note = f"Synthetic scene, drawn by this example. {right} of {len(verdicts)} labels are right."
    draw.text((MARGIN, 56), note, FAINT, ImageFont.load_default(size=20))
    font = ImageFont.load_default(size=22)
    x = MAP_PX + MARGIN
    for text, colour in _legend(verdicts, colours):
        x -= int(draw.textlength(text, font)) + 46
        if colour is None:
            draw.ellipse((x, 54, x + 24, 78), outline=ALARM, width=3)
        else:
            draw.rectangle((x, 54, x + 24, 78), fill=colour)
        draw.text((x + 32, 66), text, INK, font, anchor="lm")
    draw.text((MAP_PX + 3 * MARGIN, 54), "Chips at full resolution", INK, font)


def _legend(verdicts: Sequence[Verdict], colours: Mapping[str, Rgb]) -> list[tuple[str, Rgb | None]]:
    """Return the entries from right to left; the one without a colour is the ring."""
    wrong = sum(not verdict.right for verdict in verdicts)
    entries: list[tuple[str, Rgb | None]] = [(f"wrong ({wrong})", None)]
    for name, colour in colours.items():
        entries.append((f"{name} ({sum(verdict.label == name for verdict in verdicts)})", colour))
    return entries


def _draw_tile(
    picture: Image.Image, corner: tuple[int, int], house: Placed, chip: Image.Image, colours: Mapping[str, Rgb]
) -> None:
    x, y = corner
    verdict = house.verdict
    colour = colours.get(verdict.label, FAINT)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x - 4, y - 4, x + TILE_PX + 3, y + TILE_PX + 3), fill=colour)
    picture.paste(chip, corner)
    font = ImageFont.load_default(size=18)
    draw.text((x - 4, y + TILE_PX + 8), f"{verdict.label} {verdict.confidence:.2f}", colour, font)
    note, ink = (f"house {verdict.house}", FAINT) if verdict.right else (f"wrong: is {verdict.truth}", ALARM)
    draw.text((x - 4, y + TILE_PX + 28), note, ink, ImageFont.load_default(size=16))
