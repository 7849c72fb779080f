"""Records of checks, in the state folder: whoever checks a package writes them, all others read them.

A record holds while its package has the stamp that it had when it was read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import msgspec

from processes.model.check import CheckedPackage
from processes.model.stamps import PackageStamp

_logger = logging.getLogger(__name__)

_VERSION = 9
"""A new number invalidates all records."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 60, 6 * 3600
"""Seconds after which a check without a conclusion is repeated: the first time, and at most. It doubles each time."""


class CheckRecord(msgspec.Struct, frozen=True):
    """What is known of a package in one place."""

    stamp: str
    """Digest of the package's stamp when it was read."""
    checked: CheckedPackage
    tries: int
    """Checks without a conclusion, one after the other; 0 = there is one."""
    time_s: float
    """When the last check ended, seconds since 1970 by this machine's clock."""
    former: CheckedPackage | None = None
    """The last version before that could be used; None = there is none."""
    version: int = _VERSION

    def holds(self, stamp: PackageStamp | None) -> bool:
        """Return whether the record tells of a package with this stamp, and what it needs is still there."""
        if stamp is None or stamp.digest != self.stamp:
            return False
        return self.checked.outcome.problem is not None or self.checked.is_sound()

    def is_due(self) -> bool:
        """Return whether the check is to be repeated: it had no conclusion, and that is some time ago."""
        if not self.tries:
            return False
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(self.tries - 1, 16), _LAST_PAUSE_S)
        return not 0 <= time.time() - self.time_s < pause_s  # a clock that was set back must not stop it for long


def read_record(state: Path, package: Path) -> CheckRecord | None:
    """Return the record of a package, whether it holds or not; None = there is none of this version.

    Args:
        state: the state folder.
        package: the `.dlpk` file or the package folder.
    """
    file = _file(state, package)
    try:
        status = os.stat(file)
        return _decoded(file, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


def write_record(state: Path, package: Path, stamp: PackageStamp, checked: CheckedPackage) -> bool:
    """Record what a check has found; return whether that could be done.

    Args:
        state: the state folder.
        package: the `.dlpk` file or the package folder.
        stamp: of the package, before and after the check.
        checked: what was found.
    """
    last, file = read_record(state, package), _file(state, package)
    former, tries = None, 0
    if last is not None:
        is_other = last.checked.folder != checked.folder
        former = last.checked if is_other and last.checked.outcome.problem is None else last.former
        tries = last.tries if last.holds(stamp) else 0
    tries = 0 if checked.outcome.conclusive else tries + 1
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as scratch:
            scratch.write(msgspec.json.encode(CheckRecord(stamp.digest, checked, tries, time.time(), former)))
        os.replace(scratch.name, file)
    except OSError as err:
        _logger.warning("the outcome of a model's check cannot be kept: %s", err.strerror)
        return False
    return True


@lru_cache(maxsize=4096)
def _file(state: Path, package: Path) -> Path:
    return state / "checks" / f"{hashlib.sha256(os.fsencode(os.path.abspath(package))).hexdigest()[:32]}.json"


@lru_cache(maxsize=4096)
def _decoded(file: Path, _inode: int, _size: int, _mtime_ns: int) -> CheckRecord | None:
    """Decode a record. A record that was replaced is another file, so its status is among the arguments."""
    content = file.read_bytes()
    try:
        record = msgspec.json.decode(content, type=CheckRecord)
    except msgspec.DecodeError:
        return None
    return record if record.version == _VERSION else None
