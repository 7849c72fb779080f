"""The check of a package's network in a process of its own, started by `processes.model.check`.

`python -m processes.model.check_process FILE_OR_FOLDER UNPACK_FOLDER MAX_BYTES` prints one JSON object.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.check import CheckOutcome
from processes.model.package import read_package
from processes.model.runtime.runtime import Chips
from processes.model.runtime.runtimes import available_threads
from processes.model.scores import find_activation
from processes.model.session import Session, SessionKey

_CHIPS = 16
"""Number of random chips; CONTRACT asks for at least so many."""
_CALL_CELLS = 2**22
"""Limit of a call's cells of one band, so that large chips do not fill the memory."""
_NORMALIZED_RANGE = (-2.5, 2.5)
"""Range of normalised values that random chips cover."""
_BYTE_RANGE = (0, 255)


def check(path: Path, unpack_folder: Path, max_bytes: int) -> CheckOutcome:
    """Open a package's network and run it on random chips, in this process. Arguments as `check_package` has them."""
    package = read_package(path, unpack_folder, max_bytes)
    definition = package.definition
    if package.network is None or package.sha256 is None or definition is None:
        return CheckOutcome(package.problem or "the package has no network")
    try:
        session = Session(SessionKey(package.network, package.sha256, definition, "none", "CPU", available_threads()))
        outputs = _run(session)
    except PackageError as err:
        return CheckOutcome(err.detail)
    finite = outputs[np.isfinite(outputs).all(axis=1)]
    if not len(finite):
        return CheckOutcome("the network's output is not a finite number for any random chip")
    activation = definition.activation or find_activation(finite, definition.multi_label)
    return CheckOutcome(activation=activation, bands=session.network.bands)


def _run(session: Session) -> NDArray[np.float32]:
    """Return the outputs for random chips, `(16, outputs)`."""
    definition = session.key.definition
    size = max(1, min(_CHIPS, _CALL_CELLS // (definition.chip_width * definition.chip_height)))
    rng = np.random.default_rng(0)
    counts = [min(size, _CHIPS - start) for start in range(0, _CHIPS, size)]
    return np.concatenate([session.outputs(_random_chips(session, count, rng)) for count in counts])


def _random_chips(session: Session, count: int, rng: np.random.Generator) -> Chips:
    """Return noise in the range that the network expects, with chips of all brightnesses and contrasts."""
    definition, normalization = session.key.definition, session.normalization
    bands = session.network.bands or len(
        definition.bands or (normalization.scale if normalization is not None else range(3))
    )
    low: Any
    high: Any
    low, high = definition.data_range or _BYTE_RANGE
    if definition.data_range is None and normalization is not None:
        scale, offset = (np.reshape(item, (-1, 1, 1)) for item in (normalization.scale, normalization.offset))
        low, high = ((edge - offset) / scale for edge in _NORMALIZED_RANGE)
    edges = rng.random((2, count, bands, 1, 1))
    noise = rng.random((count, bands, definition.chip_height, definition.chip_width), np.float32)
    share = edges[0] + (edges[1] - edges[0]) * noise
    most = np.finfo(np.float32).max
    chips = np.clip(low + (high - low) * share, -most, most)
    if definition.data_range is None and normalization is None:
        return np.asarray(np.rint(chips), np.uint8)
    return np.asarray(chips, np.float32)


def _limit_memory() -> None:
    """Limit this process to half of the machine's memory, and make it the first to be killed where memory runs out."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    with contextlib.suppress(OSError, ValueError):  # a lower limit holds already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    _limit_memory()
    outcome = check(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
