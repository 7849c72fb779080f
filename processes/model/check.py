"""The check of a package's network: it is opened and run on random chips.

The check runs in a child process, so that a network that crashes or blocks its runtime harms no other work.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from processes.model.definition import Activation

TIMEOUT_S = 60
"""Seconds after which a check is ended."""


class CheckOutcome(msgspec.Struct, frozen=True):
    """The outcome of a network's check."""

    problem: str | None = None
    """Why the network cannot be used, in words for the client; None = it can."""
    activation: Activation = "none"
    """What turns the network's outputs into probabilities."""
    bands: int | None = None
    """Number of bands that the network takes; None = any number."""
    size: tuple[int | None, int | None] = (None, None)
    """Height and width of the chips that the network takes, in cells; None = any."""
    output_name: str | None = None
    """The network's output that holds the scores; None = the check found none."""
    cuts_cells: bool = False
    """True = the network takes bytes as they are: cells beyond 0..255 are cut off."""
    warnings: tuple[str, ...] = ()
    """Sentences about what may make labels wrong."""
    conclusive: bool = True
    """False: the check did not end by itself; another one may."""


def check_package(path: Path, unpack_folder: Path, max_bytes: int, timeout_s: float = TIMEOUT_S) -> CheckOutcome:
    """Check a package's network in a child process. A crash or a time-out is an outcome too.

    Args:
        path: the `.dlpk` file or the package folder.
        unpack_folder: folder for the contents of `.dlpk` files.
        max_bytes: limit of the unpacked size.
        timeout_s: seconds after which the child process is ended.
    """
    command = [sys.executable, "-m", "processes.model.check_process", str(path), str(unpack_folder), str(max_bytes)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=True)
        return msgspec.json.decode(done.stdout, type=CheckOutcome)
    except subprocess.TimeoutExpired:
        return CheckOutcome(f"the network did not answer a trial run within {timeout_s:g} s", conclusive=False)
    except (subprocess.CalledProcessError, msgspec.DecodeError):
        return CheckOutcome("the network ended the process that tried it", conclusive=False)
