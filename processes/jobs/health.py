"""Whether the service can work: the job store answers, a runner works, and there is space on the disks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping

from processes.errors import ServiceError
from processes.jobs.claiming import LEASE_S
from processes.jobs.disk import require_space
from processes.jobs.store import JobStore
from processes.settings import Settings

OK = "ok"
_SILENT_S = 2 * LEASE_S
"""Seconds after which a runner that says nothing counts as gone."""
_WAIT_S = 1.5
"""Seconds that a request waits for the answer."""
_FRESH_S = 1
"""Seconds for which an answer is given again."""
_NOT_KNOWN = "not known, as the check takes too long"


class Health:
    """The health of the service, looked at by one thread at a time, however many ask and however long it hangs.

    Args:
        store: the job store.
        settings: what the configuration says.
    """

    def __init__(self, store: JobStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._lock = threading.Lock()
        self._check: threading.Thread | None = None
        self._found: Mapping[str, str] = {}
        self._found_s = -math.inf

    def report(self) -> Mapping[str, str]:
        """Return of `store`, `runner` and `disk` that they are `OK`, or what is wrong; it takes 2 s at most."""
        with self._lock:
            if time.monotonic() - self._found_s < _FRESH_S:
                return self._found
            if self._check is None or not self._check.is_alive():
                self._found = dict.fromkeys(("store", "runner", "disk"), _NOT_KNOWN)
                self._check = threading.Thread(target=self._look, name="health", daemon=True)
                self._check.start()
            check = self._check
        check.join(_WAIT_S)
        return self._found

    def _look(self) -> None:
        found = dict(self._found)
        for name, look in (("disk", self._disk), ("store", self._store_answers), ("runner", self._runner)):
            found[name] = _words(look)
            self._found = dict(found)
        self._found_s = time.monotonic()

    def _disk(self) -> str:
        require_space(self._settings)
        return OK

    def _store_answers(self) -> str:
        self._store.queue()
        return OK

    def _runner(self) -> str:
        silence_s = self._store.runner_silence_s()
        if silence_s is None:
            return "no runner has worked with this job store"
        return OK if silence_s < _SILENT_S else f"no runner has been heard of for {silence_s:.0f} s"


def _words(look: Callable[[], str]) -> str:
    """Return what a look finds, or what goes wrong with it, without internals."""
    try:
        return look()
    except ServiceError as err:
        return err.detail
    except Exception:  # noqa: BLE001 - whatever is wrong, it is not well
        return "it cannot be looked at"
