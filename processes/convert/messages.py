"""What the command line and the process of the converter tell each other: two files of JSON in one folder.

The command line writes `request.json` and starts the process in that folder; the process writes `answer.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REQUEST, ANSWER = "request.json", "answer.json"


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """The network of a package, as its .emd describes it."""

    path: str
    """The file."""
    kind: str
    """A `Kind`."""
    classes: int
    """Number of classes."""
    height: int
    """Of the chips that it gets where it takes any size, in cells."""
    width: int
    """As `height`."""
    bands: int | None
    """Number of bands that the package takes; None = not stated."""
    backbone: str | None
    """`ModelParameters.backbone`; None = not stated."""
    settings: str | None
    """timm's `config.json` beside the weights; None = there is none."""


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """What the process is to do: write the network as ONNX, or run it in its own framework."""

    file: ForeignFile
    target: str | None
    """The ONNX file to write; None = none."""
    chips: tuple[str, ...] = ()
    """Files of numpy with what the network gets, `(n, bands, height, width)`, float32; its outputs are written beside
    each, with `.outputs.npy` behind its name."""

    def write(self, folder: Path) -> None:
        """Write the request into the folder of a process."""
        (folder / REQUEST).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> ConversionRequest:
        """Read the request in the folder of a process."""
        document = json.loads((folder / REQUEST).read_text())
        return cls(ForeignFile(**document["file"]), document["target"], tuple(document["chips"]))


@dataclass(frozen=True, slots=True)
class ConversionAnswer:
    """What the process found."""

    problem: str | None = None
    """Why the network cannot be converted; None = it was."""
    framework: str = ""
    """The libraries that opened the network, with their versions."""
    network: str = ""
    """What the network is, in words."""
    bands: int = 0
    """Number of bands that it takes."""
    height: int = 0
    """Of the chips that it takes, in cells."""
    width: int = 0
    """As `height`."""
    normalization: Mapping[str, Any] | None = None
    """As the key `Normalization` has it, where the network's own files state one."""
    notes: tuple[str, ...] = ()
    """Sentences about what was changed or left out."""

    def write(self, folder: Path) -> None:
        """Write the answer into the folder of a process."""
        (folder / ANSWER).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> ConversionAnswer:
        """Read the answer in the folder of a process.

        Raises:
            OSError: the process wrote none.
            ValueError: it is no answer.
        """
        document = json.loads((folder / ANSWER).read_text())
        return cls(**{**document, "notes": tuple(document["notes"])})
