"""Asking whether a package's network can be used: it is opened and run once, on random chips.

That is done in a child process, so that a network that crashes or hangs its runtime harms nobody.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from processes.model.definition import Activation

TIMEOUT_S = 60


class CheckOutcome(msgspec.Struct, frozen=True):
    """What the check of a network found."""

    problem: str | None = None
    """Why the network cannot be used; None = it can."""
    activation: Activation = "none"
    bands: int | None = None
    """Bands that the network takes; None = any number."""
    conclusive: bool = True
    """False: the check itself came to no end, and another time it may."""


def check_package(path: Path, unpack_folder: Path, max_bytes: int, timeout_s: float = TIMEOUT_S) -> CheckOutcome:
    """Check a package's network in a child process; whatever happens there comes back as an outcome."""
    command = [sys.executable, "-m", "processes.model.check_process", str(path), str(unpack_folder), str(max_bytes)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=True)
        return msgspec.json.decode(done.stdout, type=CheckOutcome)
    except subprocess.TimeoutExpired:
        return CheckOutcome(f"the network did not answer a trial run within {timeout_s:g} s", conclusive=False)
    except (subprocess.CalledProcessError, msgspec.DecodeError):
        return CheckOutcome("the network ended the process that tried it", conclusive=False)
