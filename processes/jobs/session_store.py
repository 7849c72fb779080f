"""Sessions of browsers, in the job store: a cookie names one, and signing out ends it wherever the cookie is."""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa

from processes.access.person import Person, Role
from processes.jobs.database import Database
from processes.jobs.tables import session, token
from processes.jobs.token_store import is_good

LASTS_S = 12 * 3600
"""Seconds after which somebody has to sign in again."""
_KEY_BYTES = 32


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

    def person(self, key: str) -> Person | None:
        """Return whose session it is; None = there is none of the key, or it has ended."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            has_token = sa.exists().where(token.c.id == session.c.token, is_good(now))
            where = (session.c.digest == _digest(key), session.c.expires > now, session.c.token.is_(None) | has_token)
            row = connection.execute(session.select().where(*where)).first()
        return None if row is None else Person(row.name, Role(row.role), row.title)

    def end(self, key: str) -> None:
        """End a session; nothing happens where there is none of the key."""
        with self._database.write() as connection:
            connection.execute(session.delete().where(session.c.digest == _digest(key)))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
