"""Who makes the request that is being answered, and what of it the audit is told."""

from __future__ import annotations

from collections.abc import Mapping

from flask import g, request

from processes.access.audit import AuditEvent, audit
from processes.access.person import ANONYMOUS, EVERYBODY, Person
from processes.web.client import client_address


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


def current_client(proxies: int) -> str:
    """Return whose limits and turns count for this request: the name of who makes it, else the address it comes from.

    Args:
        proxies: number of trusted proxies in front of the service.
    """
    return current_person().name or client_address(request, proxies)


def audit_request(event: AuditEvent, proxies: int, **details: str | int | None) -> None:
    """Write a line of the audit about this request.

    Args:
        event: what happened.
        proxies: as `current_client` has it.
        details: as `audit` has them.
    """
    audit(event, current_person(), address=client_address(request, proxies), **details)


def audit_refusal(reason: str, status: int, proxies: int) -> None:
    """Write a line of the audit about the refusal of this request.

    Its path says what was asked for. What is secret of an address stands in its query.

    Args:
        reason: why it is refused, in a few words.
        status: of the response.
        proxies: as `current_client` has it.
    """
    method, path = request.method, request.path
    audit_request(AuditEvent.REFUSAL, proxies, method=method, path=path, reason=reason, status=status)
