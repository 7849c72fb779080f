"""The sending of callbacks by a runner: several at a time, each for itself, so that a slow subscriber delays none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

from processes.errors import UnavailableError
from processes.jobs.callbacks import Callback, Callbacks

_logger = logging.getLogger(__name__)

_AT_ONCE = 16
_POLL_S = 2
"""Pause between two looks for callbacks, unless one ends before."""


class CallbackSender:
    """Sends the callbacks that are due, and waits for none of them.

    Args:
        callbacks: of the job store.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._in_flight: list[Callback] = []
        self._woken = asyncio.Event()

    async def send_due(self) -> None:
        """Begin to send what is due, as far as there is room, and wait a while, until one is sent or it is woken.

        Raises:
            UnavailableError: the job store does not answer.
        """
        self._woken.clear()
        while len(self._in_flight) < _AT_ONCE:
            due = await asyncio.to_thread(self._callbacks.claim, tuple(self._in_flight))
            if due is None:
                break
            self._in_flight.append(due)
            # no thread of a pool: the program's end would wait for it
            arguments = (due, asyncio.get_running_loop())
            threading.Thread(target=self._send, args=arguments, name="callback", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), _POLL_S)

    def wake(self) -> None:
        """Look for what is due at once: a job has ended."""
        self._woken.set()

    def _send(self, due: Callback, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._callbacks.send(due)
        except UnavailableError:
            _logger.warning("the job store does not answer; the callback may be sent again", extra={"job": due.job.id})
        except Exception:
            _logger.exception("a callback failed, and is tried again", extra={"job": due.job.id})
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the runner has stopped
                loop.call_soon_threadsafe(self._end, due)

    def _end(self, due: Callback) -> None:
        self._in_flight = [item for item in self._in_flight if item is not due]
        self._woken.set()
