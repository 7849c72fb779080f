"""What the .emd of a variant says of how it was made and measured. It is shown, and changes no label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from processes.model.package import MAX_DEFINITION_BYTES, definition_files

RECORD = "Optimisation"
"""The key of the .emd. Esri's tools ignore it."""


def read_figures(folder: Path) -> Mapping[str, Any] | None:
    """Return what a package says of how it was optimised; None = it says nothing.

    Args:
        folder: where the package's contents lie.
    """
    with suppress(OSError, ValueError, RecursionError):
        for file in definition_files(folder):
            if file.stat().st_size <= MAX_DEFINITION_BYTES:
                document = json.loads(file.read_bytes().decode("utf-8-sig"))
                figures = document.get(RECORD) if isinstance(document, dict) else None
                return figures if isinstance(figures, dict) else None
    return None
