"""An argument of a model, as `describe-model` tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class DeclaredArgument:
    """An argument of a model, in the form of Esri's `getParameterInfo`."""

    name: str
    dataType: Literal["numeric", "boolean", "string"]  # noqa: N815 - Esri's spelling, which clients read
    value: Any
    """The default."""
    required: bool
    displayName: str  # noqa: N815
    description: str
