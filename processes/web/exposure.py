"""Who reaches the service: this machine alone, or others too, and whether that is meant."""

from __future__ import annotations

from processes.allowed_hosts import is_loopback
from processes.settings import OPEN, TOKENS


def require_meant(access: str | None, host: str) -> None:
    """Raise ValueError where a service would be open to other machines without being told so.

    Args:
        access: as the deployment wrote it out; None = it did not.
        host: that the service listens at.
    """
    if access is None and not is_loopback(host.strip("[]").lower()):
        raise ValueError(
            f"at {host} other machines reach the service, and whoever does may use all of it: set "
            f"CLASSIFY_ACCESS={OPEN} if that is meant, CLASSIFY_ACCESS={TOKENS} so that it asks who they are, "
            "or listen at 127.0.0.1"
        )
