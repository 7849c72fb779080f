"""The wake-up pipe: whoever brings work wakes a runner on the same machine, which then need not wait for its next look.

Nothing depends on it. Where nobody reads it (another machine, no runner) the runner finds the work at its next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_NAME = "wakeup"
_SIGNAL = b"\0"
_MAX_READ_BYTES = 4096


class WakeupPipe:
    """A named pipe in the state folder.

    Args:
        state: the folder.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / _NAME

    def wake(self) -> None:
        """Wake a runner; where there is none, nothing happens."""
        with contextlib.suppress(OSError):
            pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, _SIGNAL)
            finally:
                os.close(pipe)

    @contextlib.contextmanager
    def sets(self, event: asyncio.Event) -> Iterator[None]:
        """Set an event of the running loop whenever somebody wakes."""
        loop, pipe = asyncio.get_running_loop(), None

        def read(pipe: int) -> None:
            with contextlib.suppress(OSError):
                os.read(pipe, _MAX_READ_BYTES)
            event.set()

        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self._path)
            # open for writing too: else the pipe counts as ended as soon as nobody writes
            pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
            loop.add_reader(pipe, read, pipe)
        try:
            yield
        finally:
            if pipe is not None:
                loop.remove_reader(pipe)
                os.close(pipe)
