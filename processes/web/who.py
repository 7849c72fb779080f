"""Who makes the request that is being answered, and what of it the audit is told."""

from __future__ import annotations

from collections.abc import Mapping

from flask import g, request

from processes.access.audit import AuditEvent, audit
from processes.access.person import ANONYMOUS, EVERYBODY, Person
from processes.web.client import client_address
from processes.web.roles import Openness, need_of


def current_person() -> Person:
    """Return who makes this request, as the check before it found out."""
    person: Person = g.get("person", EVERYBODY)
    return person


def shown_visitor() -> Mapping[str, str] | None:
    """Return what pages show of who makes this request: `name` and `role`; None = the service asks nobody.

    The name is empty where the request does not say who makes it.
    """
    person = current_person()
    if person is EVERYBODY:
        return None
    return {"name": "" if person is ANONYMOUS else person.title or person.name, "role": person.role.value}


def may(operation: tuple[str, str], process_id: str | None = None) -> bool:
    """Return whether who makes this request may do an operation; pages offer nothing else.

    Args:
        operation: endpoint and method, as the table of roles has them.
        process_id: of the process that it names; None = it names none.
    """
    need, person = need_of(*operation, process_id), current_person()
    return isinstance(need, Openness) or (person is not ANONYMOUS and person.role.allows(need))


def current_client() -> str:
    """Return whose limits and turns count for this request: the name of who makes it, else its address."""
    return current_person().name or client_address(request)


def audit_request(event: AuditEvent, **details: str | int | None) -> None:
    """Write a line of the audit about this request.

    Args:
        event: what happened.
        details: as `audit` has them.
    """
    audit(event, current_person(), address=client_address(request), **details)


def audit_refusal(reason: str, status: int) -> None:
    """Write a line of the audit about the refusal of this request.

    Its path says what was asked for. What is secret of an address stands in its query.

    Args:
        reason: why it is refused, in a few words.
        status: of the response.
    """
    method, path = request.method, request.path
    audit_request(AuditEvent.REFUSAL, method=method, path=path, reason=reason, status=status)
