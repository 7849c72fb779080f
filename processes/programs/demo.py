"""The demonstration: the example that lies beside this package, run as the program that it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "storm" / "demo.py"


def become_demo(folder: Path) -> NoReturn:
    """Let the example take this process's place: it draws a synthetic scene and classifies its houses over HTTP.

    Args:
        folder: where the scene, the labels and the picture are written; it is made if it is not there.

    Raises:
        OSError: the example is not there, or the folder cannot be made.
    """
    if not _EXAMPLE.is_file():
        raise FileNotFoundError("the demonstration is not here; a checkout and the images have it")
    folder.mkdir(parents=True, exist_ok=True)
    os.execv(sys.executable, [sys.executable, str(_EXAMPLE), "--output", str(folder.absolute())])  # noqa: S606
