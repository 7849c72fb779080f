"""The checker of a state folder: one process that checks packages for all web servers of a machine.

Whoever finds a package that nobody has checked wakes the checker, and does not wait for it. A lock in the state folder
says whether there is one; the time of that file tells it that somebody asks. The one who wakes takes the lock and
hands it to the new process, so that there are never two; the kernel releases it however that process ends.

Services of other configurations that share the state folder have checkers of their own, which take turns by a second
lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from processes.model.raster_functions import FunctionSettings

_logger = logging.getLogger(__name__)

_PROGRAM = "processes.programs.model_checker"
_FOLDER = "checks"
_LOCK = "lock"
_PAUSE_S = 1
"""Seconds after the start of a checker in which no other is started, so that one that fails does not fail in a loop."""


def wake_checker(
    folders: Sequence[Path], state: Path, max_bytes: int, timeout_s: float, functions: FunctionSettings
) -> None:
    """Start the checker where none runs; where one does, let it look at the folders now.

    Args:
        folders: with the packages.
        state: the state folder.
        max_bytes: limit of a package's unpacked size.
        timeout_s: seconds that a trial run may take.
        functions: what the operator decided about raster functions.
    """
    decided = msgspec.json.encode(functions).decode()
    options = [str(state), str(max_bytes), str(timeout_s), decided, *map(str, folders)]
    name = hashlib.sha256(os.fsencode("\0".join(options))).hexdigest()[:16]
    try:
        (state / _FOLDER).mkdir(parents=True, exist_ok=True)
        lock = os.open(state / _FOLDER / f"{_LOCK}-{name}", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # there is one
                os.utime(lock)
                return
            if _was_just_started(lock):
                return
            process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, str(lock), str(os.getpid()), *options],
                pass_fds=[lock],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(lock)
    except OSError as err:
        _logger.warning("the models cannot be checked: %s", err.strerror)
        return
    threading.Thread(target=process.wait, daemon=True).start()  # else it stays behind as a zombie


@contextmanager
def sole_check(state: Path) -> Iterator[bool]:
    """Yield whether the caller alone may check a package now, of all checkers of a state folder."""
    (state / _FOLDER).mkdir(parents=True, exist_ok=True)
    lock = os.open(state / _FOLDER / _LOCK, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _was_just_started(lock: int) -> bool:
    """Return whether a checker was started within the pause; if not, one is started now."""
    status = os.fstat(lock)
    if status.st_size and 0 <= time.time() - status.st_mtime < _PAUSE_S:
        return True
    os.pwrite(lock, b"1", 0)
    return False
