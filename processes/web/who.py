"""Who makes the request that is being answered."""

from __future__ import annotations

from flask import g

from processes.access.person import EVERYBODY, Person


def current_person() -> Person:
    """Return who makes this request, as the check before it found out."""
    person: Person = g.get("person", EVERYBODY)
    return person
