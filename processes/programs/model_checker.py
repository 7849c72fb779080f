"""The checker: it checks the packages of a machine, one at a time, and goes on to look for new ones.

`processes.model.checker` starts it, as `python -m processes.programs.model_checker LOCK OWNER STATE MAX_BYTES TIMEOUT
FUNCTIONS FOLDER…`; LOCK is the descriptor of the locked file, whose time changes when somebody asks for a package that
has not been checked. It ends with the process OWNER.

New packages come first, in the order of their size; those whose last check had no conclusion come last. A check that
takes long is broken off where a new package waits for its first turn, and begins again later.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from processes.model.catalog import Catalog
from processes.model.check import CheckedPackage, PackageCheck
from processes.model.checker import sole_check
from processes.model.package import package_id
from processes.model.raster_functions import FunctionSettings
from processes.model.records import write_record
from processes.model.stamps import PackageStamp, stamp_package
from processes.programs.logs import set_up_logs

_logger = logging.getLogger("processes.model.checker")

_POLL_S = 0.1
"""Seconds between two looks at a check that is under way, …"""
_PAUSE_S = 0.2
"""… and where there is none, at whether somebody asks for a package, or this process is to end."""
_SCAN_S = 1.0
"""Seconds between two looks at the folders where nobody asks, …"""
_SCAN_SHARE = 50
"""… or this many times as long as a look takes, whichever is more."""
_TURN_S = 5
"""Seconds after which the trial run of a package is broken off where another one waits for its first turn."""
_SETTLED_S = 0.5
"""A package that is this long as it is counts as complete: it may be being copied."""
_UNRECORDED_S = 60
"""Seconds after which a package is checked again whose outcome could not be recorded."""


class _Sight(msgspec.Struct):
    """A package as it was seen last."""

    stamp: PackageStamp
    since_s: float
    """When it was first seen like this, by the monotonic clock."""
    turns: int = 0
    """Checks of it that were broken off."""
    not_before_s: float = 0.0
    """When it is checked at the soonest, by the monotonic clock."""

    def complete_in_s(self) -> float:
        """Return the seconds after which it counts as complete if it stays as it is; 0 or less = it does."""
        age_s = max(time.time() - self.stamp.newest_ns / 1e9, time.monotonic() - self.since_s)
        return _SETTLED_S - age_s


class ModelChecker:
    """Checks the packages of a catalog until it is to end.

    Args:
        catalog: the packages.
        is_over: returns whether it is to end.
        asked_ns: returns when somebody asked last for a package that has not been checked.
    """

    def __init__(self, catalog: Catalog, is_over: Callable[[], bool], asked_ns: Callable[[], int]) -> None:
        self._catalog = catalog
        self._is_over = is_over
        self._asked_ns = asked_ns
        self._seen_ns = asked_ns()
        self._sights: dict[Path, _Sight] = {}
        self._due: list[Path] = []
        self._new: set[Path] = set()
        self._scan_at_s = 0.0
        self._scan_not_before_s = 0.0

    def run(self) -> None:
        """Check packages, and wait for further ones."""
        while not self._is_over():
            self._scan()
            if self._due:
                with sole_check(self._catalog.state) as is_free:  # another state of the configuration has its own
                    if is_free:
                        self._scan(now=True)
                        self._check_next()
            time.sleep(0 if self._due else _PAUSE_S)

    def _scan(self, now: bool = False) -> None:
        """Look at the folders, if it is time: which packages are to be checked, and in which order."""
        start_s, asked_ns = time.monotonic(), self._asked_ns()
        is_asked = asked_ns != self._seen_ns and start_s >= self._scan_not_before_s
        if start_s < self._scan_at_s and not is_asked and not now:
            return
        self._seen_ns = asked_ns
        sights, due, pause_s = dict[Path, _Sight](), list[tuple[int, int, int, Path]](), _SCAN_S
        for path in self._catalog.package_paths().values():
            stamp, known = stamp_package(path), self._sights.get(path)
            if stamp is None:
                continue
            sight = known if known is not None and known.stamp == stamp else _Sight(stamp, start_s)
            sights[path] = sight
            record, complete_in_s = self._catalog.record(path), sight.complete_in_s()
            if complete_in_s > 0:
                pause_s = min(pause_s, complete_in_s)
            elif (record is None or record.is_due()) and start_s >= sight.not_before_s:
                due.append((0 if record is None else record.tries, sight.turns, stamp.size_bytes, path))
        self._sights, self._due = sights, [path for *_, path in sorted(due)]
        self._new = {path for tries, turns, _, path in due if tries == turns == 0}
        end_s = time.monotonic()
        self._scan_not_before_s = end_s + _SCAN_SHARE * (end_s - start_s)
        self._scan_at_s = max(end_s + pause_s, self._scan_not_before_s)

    def _check_next(self) -> None:
        """Check the first of the packages that are due, and record the outcome."""
        if not self._due:
            return
        path, start_s = self._due[0], time.monotonic()
        sight, name = self._sights[path], package_id(path)
        checked = self._result_of(path, sight)
        if checked is not None and stamp_package(path) == sight.stamp:
            if not write_record(self._catalog.state, path, sight.stamp, checked):
                sight.not_before_s = time.monotonic() + _UNRECORDED_S
            seconds = round(time.monotonic() - start_s, 1)
            problem = checked.outcome.problem
            _logger.info("model %s checked: %s", name, problem or "sound", extra={"seconds": seconds})
        self._scan(now=True)

    def _result_of(self, path: Path, sight: _Sight) -> CheckedPackage | None:
        """Check a package; None = it was changed, or has to let others go first."""
        catalog, name = self._catalog, package_id(path)
        packages, functions = catalog.state / "packages", catalog.functions
        check = PackageCheck(path, packages, catalog.max_bytes, catalog.check_timeout_s, functions)
        check.start()
        try:
            while (checked := check.result()) is None and not self._is_over():
                time.sleep(_POLL_S)
                self._scan()
                if self._sights.get(path) is not sight:
                    _logger.info("model %s was changed or removed while it was checked", name)
                    return None
                if check.trial_s() > _TURN_S and self._new - {path}:
                    sight.turns += 1
                    _logger.info("model %s is checked later: new ones wait", name)
                    return None
            return checked
        finally:
            check.close()


def main(lock: int, owner: int, catalog: Catalog) -> None:
    """Check packages until the owner has ended, or the signal to stop comes.

    Args:
        lock: descriptor of the locked file.
        owner: process id of the owner.
        catalog: the packages.
    """
    is_stopped = False

    def stop(*_: object) -> None:
        nonlocal is_stopped
        is_stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    set_up_logs()

    def is_over() -> bool:
        return is_stopped or os.getppid() != owner or not catalog.state.is_dir()

    ModelChecker(catalog, is_over, lambda: os.fstat(lock).st_mtime_ns).run()


if __name__ == "__main__":
    lock, owner_id, state, max_bytes, timeout_s, decided, *folders = sys.argv[1:]
    functions = msgspec.json.decode(decided, type=FunctionSettings)
    main(
        int(lock),
        int(owner_id),
        Catalog(tuple(map(Path, folders)), Path(state), int(max_bytes), float(timeout_s), functions=functions),
    )
