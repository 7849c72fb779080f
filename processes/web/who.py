"""Who makes the request that is being answered."""

from __future__ import annotations

from collections.abc import Mapping

from flask import g

from processes.access.person import ANONYMOUS, EVERYBODY, Person


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
