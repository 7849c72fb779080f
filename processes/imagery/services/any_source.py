"""All kinds of image sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from processes.imagery.services.grid_source import GridSource
from processes.imagery.source import FileSource, ImageSource
from processes.imagery.stack import StackSource
from processes.settings import Settings

AnySource = FileSource | StackSource | GridSource
"""The union of all kinds of `ImageSource`; a saved plan tells them apart by their tags."""


def located(source: ImageSource, fetch: Callable[[str], Path], settings: Settings) -> ImageSource:
    """Return a source of a saved plan as this machine reaches it.

    Args:
        source: of the plan.
        fetch: returns the path of a kept file.
        settings: name the hosts that services may have.
    """
    found = source.locate(fetch)
    return found.reached(settings) if isinstance(found, GridSource) else found
