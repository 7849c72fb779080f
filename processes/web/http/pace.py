"""How slow a client may be."""

from __future__ import annotations

import msgspec


class Pace(msgspec.Struct, frozen=True):
    """The times and rates that a client has to keep. Times in seconds, rates in bytes per second."""

    silent_s: float = 30
    """A new connection may be open for so long before its first byte."""
    idle_s: float = 75
    """A connection may be open for so long between two requests; proxies keep theirs for 60 s."""
    head_s: float = 20
    """The head of a request has to be complete after so long."""
    pause_s: float = 10
    """A body may stop arriving for so long."""
    grace_s: float = 30
    """For so long the rates below do not count, and a client may take nothing of its response."""
    linger_s: float = 2
    """For so long a client may read the last response before the connection is cut."""
    min_body_rate: float = 10_000
    """A request, with its body, has to arrive at this rate on average."""
    min_read_rate: float = 4_000
    """A response has to be taken at this rate on average."""

    def is_body_quick(self, size_bytes: int, duration_s: float) -> bool:
        """Return whether a body has arrived at the minimum rate from the beginning, without grace."""
        return size_bytes >= self.min_body_rate * duration_s

    def is_body_in_time(self, size_bytes: int, duration_s: float) -> bool:
        """Return whether a body has arrived at the minimum rate after the time of grace."""
        return size_bytes >= self.min_body_rate * (duration_s - self.grace_s)

    def is_read_in_time(self, size_bytes: int, duration_s: float) -> bool:
        """Return whether a response has been taken at the minimum rate after the time of grace."""
        return size_bytes >= self.min_read_rate * (duration_s - self.grace_s)
