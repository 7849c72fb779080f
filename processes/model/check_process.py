"""The check of a package's network in a process of its own, started by `processes.model.check`.

`python -m processes.model.check_process FILE_OR_FOLDER UNPACK_FOLDER MAX_BYTES` prints one JSON object.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

import msgspec

from processes.errors import PackageError
from processes.model.check import CheckOutcome
from processes.model.package import read_package
from processes.model.runtime.runtimes import available_threads
from processes.model.session import Session, SessionKey
from processes.model.trial import try_network


def check(path: Path, unpack_folder: Path, max_bytes: int) -> CheckOutcome:
    """Open a package's network and run it on random chips, in this process. Arguments as `check_package` has them."""
    package = read_package(path, unpack_folder, max_bytes)
    definition = package.definition
    if package.network is None or package.sha256 is None or definition is None:
        return CheckOutcome(package.problem or "the package has no network")
    try:
        key = SessionKey(package.network, package.sha256, definition, "none", "CPU", available_threads())
        return try_network(Session(key))
    except PackageError as err:
        return CheckOutcome(err.detail)


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
