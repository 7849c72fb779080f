"""Somebody who uses the service, and what their role allows."""

from __future__ import annotations

import enum

import msgspec


class Role(enum.StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    """Sees processes, models, and results of their own."""
    USER = "user"
    """Executes, uploads, and has jobs."""
    OPERATOR = "operator"
    """Sees and ends everybody's jobs, and sees the metrics."""

    def allows(self, needed: Role) -> bool:
        """Return whether who has this role may do what another role is needed for."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


class Person(msgspec.Struct, frozen=True):
    """Somebody who is known to the service."""

    name: str
    """Of the token, or the issuer's name for them; empty where nobody has to say who they are."""
    role: Role
    title: str = ""
    """What pages call them; empty = as their name."""

    def may_see(self, maker: str | None) -> bool:
        """Return whether what somebody made is theirs to see.

        Args:
            maker: name of who made it; None = it was made where nobody had to say who they are.
        """
        return self.role is Role.OPERATOR or (maker is not None and maker == self.name)


EVERYBODY = Person("", Role.OPERATOR)
"""Who uses a service that asks nobody who they are."""
ANONYMOUS = Person("", Role.VIEWER)
"""Who has not said who they are, where the service asks for it."""
