"""An argument of a model, as `describe-model` tells of it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class DeclaredArgument(msgspec.Struct, frozen=True):
    """An argument of a model, in the form of Esri's `getParameterInfo`."""

    name: str
    dataType: Literal["numeric", "boolean", "string"]  # noqa: N815 - Esri's spelling, which clients read
    value: Any
    """The default."""
    required: bool
    displayName: str  # noqa: N815
    description: str
