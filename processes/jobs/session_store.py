"""Sessions of browsers, in the job store: a cookie names one, and signing out ends it wherever the cookie is."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from processes.access.person import Person, Role
from processes.jobs.database import Database
from processes.jobs.tables import session, token
from processes.jobs.token_store import is_good

LASTS_S = 12 * 3600
"""Seconds after which somebody has to sign in again."""
_KEY_BYTES = 32


class SessionRecord(msgspec.Struct, frozen=True):
    """What somebody sees of a session of theirs."""

    begun: datetime
    """When they signed in."""
    is_this: bool
    """Whether it is that of the browser that asks."""


class SessionStore:
    """The sessions of a service. What is kept of a session's key cannot be used as it.

    Each method raises UnavailableError where the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, person: Person, token_id: str | None = None) -> str:
        """Begin a session, and return its key.

        Args:
            person: who signed in.
            token_id: of the token with which they did: the session ends with it. None = an issuer said who they are.
        """
        key = secrets.token_urlsafe(_KEY_BYTES)
        with self._database.write() as connection:
            now = self._database.now(connection)
            connection.execute(session.delete().where(session.c.expires <= now))
            values = {"name": person.name, "title": person.title, "role": person.role.value, "token": token_id}
            connection.execute(session.insert().values(digest=_digest(key), expires=now + LASTS_S, **values))
        return key

    def person(self, key: str, by_token: bool) -> Person | None:
        """Return whose session it is; None = there is none of the key, or it has ended.

        Args:
            key: of the session.
            by_token: True = only one that began with a token, False = only one of whom an issuer said who they are: a
                session does not outlive a change from one to the other.
        """
        with self._database.read() as connection:
            where = (session.c.digest == _digest(key), _began(by_token), _lasts(self._database.now(connection)))
            row = connection.execute(session.select().where(*where)).first()
        return None if row is None else Person(row.name, Role(row.role), row.title)

    def end(self, key: str) -> None:
        """End a session; nothing happens where there is none of the key."""
        with self._database.write() as connection:
            connection.execute(session.delete().where(session.c.digest == _digest(key)))

    def of(self, name: str, key: str | None, by_token: bool) -> Sequence[SessionRecord]:
        """Return the sessions of somebody, the latest first.

        Args:
            name: of the person.
            key: of the session of the browser that asks; None = it has none.
            by_token: as `person` has it.
        """
        with self._database.read() as connection:
            where = (session.c.name == name, _began(by_token), _lasts(self._database.now(connection)))
            rows = connection.execute(session.select().where(*where).order_by(session.c.expires.desc())).all()
        this = None if key is None else _digest(key)
        return [SessionRecord(datetime.fromtimestamp(row.expires - LASTS_S, UTC), row.digest == this) for row in rows]

    def end_all(self, name: str) -> int:
        """End all sessions of somebody; return how many there were."""
        with self._database.write() as connection:
            return int(connection.execute(session.delete().where(session.c.name == name)).rowcount)


def _began(by_token: bool) -> sa.ColumnElement[bool]:
    """Return the condition under which a session began so, as `SessionStore.person` has it."""
    return session.c.token.is_not(None) if by_token else session.c.token.is_(None)


def _lasts(now: float) -> sa.ColumnElement[bool]:
    """Return the condition under which a session goes on at a time of the database's clock."""
    has_token = sa.exists().where(token.c.id == session.c.token, is_good(now))
    return (session.c.expires > now) & (session.c.token.is_(None) | has_token)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
