"""Permits to hold a thread of the web server while waiting for something."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator


class Permits:
    """A number of permits, of which the last quarter goes to clients that hold few.

    Args:
        number: of permits, at least one.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        """Permits that each client holds."""

    @contextlib.contextmanager
    def permit(self, client: str) -> Iterator[bool]:
        """Yield a permit for a client; False = there is none left for it."""
        is_permitted = self._take(client)
        try:
            yield is_permitted
        finally:
            if is_permitted:
                self._give_back(client)

    def _take(self, client: str) -> bool:
        with self._lock:
            free, few = self._number - self._held.total(), self._number // 4
            is_permitted = free > few or (free > 0 and self._held[client] < max(1, few))
            if is_permitted:
                self._held[client] += 1
            return is_permitted

    def _give_back(self, client: str) -> None:
        with self._lock:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
