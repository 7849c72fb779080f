"""The audit: one line for each thing that somebody did or was refused, in the log of its own name."""

from __future__ import annotations

import logging
from enum import StrEnum

from processes.access.person import Person

LOGGER = "classify.audit"
"""Name of the log. Its lines hold no secret: no token, no link of a share, no request."""
_logger = logging.getLogger(LOGGER)


class AuditEvent(StrEnum):
    """What happened."""

    EXECUTION = "execution"
    DISMISSAL = "dismissal"
    REFUSAL = "refusal"
    """Who makes a request is not known, may not do it, asks for what is another's, or for more than a limit allows."""
    UPLOAD = "upload"
    UPLOAD_REMOVED = "upload removed"
    SHARE = "share"
    SHARE_REVOKED = "share revoked"
    SESSIONS_ENDED = "sessions ended"
    TOKEN = "token"  # noqa: S105 - no secret
    TOKEN_REVOKED = "token revoked"  # noqa: S105 - no secret


def audit(event: AuditEvent, person: Person | None, **details: str | int | None) -> None:
    """Write a line of the audit.

    Args:
        event: what happened.
        person: who did it; None = nobody knows.
        details: what it was done to, by name; those that are None are left out.
    """
    who = {} if person is None or not person.name else {"person": person.name, "role": person.role.value}
    _logger.info(event.value, extra={**who, **{name: value for name, value in details.items() if value is not None}})
