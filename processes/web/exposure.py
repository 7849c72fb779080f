"""Who reaches the service: this machine alone, or others too, and whether that is meant."""

from __future__ import annotations

import ipaddress

from processes.settings import OPEN


def is_loopback(name: str) -> bool:
    """Return whether a name or an address, in lower case, is one of loopback's: only this machine reaches it."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def require_meant(access: str | None, host: str) -> None:
    """Raise ValueError where a service would be open to other machines without being told so.

    Args:
        access: as the deployment wrote it out; None = it did not.
        host: that the service listens at.
    """
    if access is None and not is_loopback(host.strip("[]").lower()):
        raise ValueError(
            f"at {host} other machines reach the service, and whoever does may use all of it: set "
            f"CLASSIFY_ACCESS={OPEN} if that is meant, or listen at 127.0.0.1"
        )
