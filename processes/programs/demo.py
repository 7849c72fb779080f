"""The demonstration: the example that is shipped, run as the program that it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from processes.settings import own_folder

_EXAMPLE = Path("examples", "storm", "demo.py")


def become_demo(folder: Path) -> NoReturn:
    """Let the example take this process's place: it draws a synthetic scene and classifies its houses over HTTP.

    Args:
        folder: where the scene, the labels and the picture are written; it is made if it is not there.

    Raises:
        OSError: the example is not there, or the folder cannot be made.
    """
    example = own_folder() / _EXAMPLE
    if not example.is_file():
        raise FileNotFoundError("the demonstration is not here; a checkout, a wheel and the images have it")
    folder.mkdir(parents=True, exist_ok=True)
    os.execv(sys.executable, [sys.executable, str(example), "--output", str(folder.absolute())])  # noqa: S606
