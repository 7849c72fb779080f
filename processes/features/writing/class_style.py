"""The colours of the classes, for all that shows a result: styles, summaries, maps."""

from __future__ import annotations

from dataclasses import dataclass

Color = tuple[int, int, int]
"""Red, green, blue, 0..255."""

OTHER: Color = (127, 127, 127)
"""Colour of rows without a class or with several."""
_PALETTE: tuple[Color, ...] = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (188, 189, 34),
    (23, 190, 207),
)
"""Colours of classes for which the package gives none."""


@dataclass(frozen=True, slots=True)
class ClassStyle:
    """How a map shows the classes."""

    label_field: str
    """Name of the field that holds the class name."""
    classes: tuple[tuple[str, Color | None], ...]
    """Name and colour of each class in the model's order; None = the package gives no colour."""

    @property
    def colors(self) -> list[Color]:
        """Return the colour that each class is shown in, in the model's order."""
        return [color or _PALETTE[index % len(_PALETTE)] for index, (_, color) in enumerate(self.classes)]


def hex_color(color: Color) -> str:
    """Return a colour as web pages name it: `#1f77b4`."""
    return "#{:02x}{:02x}{:02x}".format(*color)
