"""A network in its own framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What is known of a network that was opened."""

    framework: str
    """The libraries that opened it, with their versions."""
    network: str
    """What it is, in words."""
    shape: tuple[int, int, int]
    """Bands, height and width of the chips that it takes; height and width in cells."""
    normalization: Mapping[str, Any] | None = None
    """As the key `Normalization` has it; None = its files state none."""
    notes: tuple[str, ...] = ()
    """Sentences about what was changed or left out."""


class ForeignNetwork(Protocol):
    """A network that was opened in its own framework, in evaluation mode."""

    facts: NetworkFacts

    def export(self, target: Path) -> None:
        """Write the network as an ONNX file that takes any number of chips."""

    def outputs(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what it gives for chips `(n, bands, height, width)`, as it takes them: `(n, outputs)`."""
