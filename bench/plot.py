"""Draw how cost grows, of the figures that `growth.py` left: `python plot.py FIGURES PICTURE`. It needs matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

PANELS = {
    "objects on one image": {"run, s": "objects"},
    "images of a mosaic": {"run, s": "images"},
    "jobs in the store": {"a job, ms": "jobs", "a page of the list, ms": "page"},
}


def main(figures: Path, picture: Path) -> None:
    """Draw a panel for each kind of growth, both axes logarithmic: a straight line of slope 1 is linear growth."""
    points = json.loads(figures.read_text())
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for label, name in lines.items():
            amounts, costs = zip(*points[name], strict=True)
            axes.loglog(amounts, costs, marker="o", label=label)
            if not label.endswith("ms"):
                axes.loglog(amounts, [costs[-1] * amount / amounts[-1] for amount in amounts], ":", label="linear")
        axes.set_title(title)
        axes.grid(visible=True, which="major", alpha=0.4)
        axes.set_ylim(bottom=min(0.1, axes.get_ylim()[0]))
        axes.legend()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
