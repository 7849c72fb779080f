"""The bell: a runner on the same machine need not look for work, as who brings some rings.

Nothing depends on it. Where it is not heard (another machine, no runner) the work is found at the runner's next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_NAME = "bell"
_RING = b"\0"
_MANY = 4096


class WakeupPipe:
    """A named pipe in the state folder.

    Args:
        state: the folder.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / _NAME

    def ring(self) -> None:
        """Let a runner look now; where there is none, nothing happens."""
        with contextlib.suppress(OSError):
            pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, _RING)
            finally:
                os.close(pipe)

    @contextlib.contextmanager
    def heard(self, event: asyncio.Event) -> Iterator[None]:
        """Set an event of the running loop whenever somebody rings."""
        loop, pipe = asyncio.get_running_loop(), None

        def hear(pipe: int) -> None:
            with contextlib.suppress(OSError):
                os.read(pipe, _MANY)
            event.set()

        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self._path)
            # open for writing too: else the pipe counts as ended as soon as nobody rings
            pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
            loop.add_reader(pipe, hear, pipe)
        try:
            yield
        finally:
            if pipe is not None:
                loop.remove_reader(pipe)
                os.close(pipe)
