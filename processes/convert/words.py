"""Words of frameworks for a person: their versions and their errors."""

from __future__ import annotations

import re
from importlib.metadata import version

_SHOWN_CHARACTERS = 300
_NAMES = {"keras": "Keras", "torch": "PyTorch", "timm": "timm", "torchvision": "torchvision"}


def versions(*libraries: str) -> str:
    """Return the names of some libraries with their versions."""
    return ", ".join(f"{_NAMES[library]} {version(library)}" for library in libraries)


def in_words(error: Exception) -> str:
    """Return the beginning of an error's message on one line, without paths of this machine."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    text = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+", "", text)
    return text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")
