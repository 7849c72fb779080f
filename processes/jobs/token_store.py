"""Tokens in the job store: made, listed and revoked by operators, looked up for each request."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from processes.access.person import Person, Role
from processes.access.tokens import BearerToken, SaltedHash, require_name
from processes.errors import UnauthorizedError
from processes.jobs.database import Database, serialise
from processes.jobs.tables import token

REMEMBERED_S = 1
"""Seconds for which a token that was good counts as good: so soon a revocation is felt."""
_MAX_REMEMBERED = 4096
_DAY_S = 24 * 3600
_BAD = "the token is not known here, has expired, or was revoked"
"""One message for all: who guesses learns nothing."""


class TokenRecord(msgspec.Struct, frozen=True):
    """What operators see of a token."""

    name: str
    role: Role
    made: datetime
    expires: datetime | None
    """None = never."""
    revoked: datetime | None
    """None = it was not."""

    def state(self, now: datetime) -> str:
        """Return in a word whether it is good."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "good"


class TokenStore:
    """The tokens of a service.

    Each method raises UnavailableError where the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._good: dict[str, tuple[Person, float]] = {}
        """By tokens' texts: whose they are, and until when of the monotonic clock that counts."""
        self._lock = threading.Lock()

    def add(self, name: str, role: Role, days: int | None) -> BearerToken:
        """Make a token. Nothing but what is returned can be used as it.

        Args:
            name: of who gets it. What was made with an earlier token of the name is theirs.
            role: of who uses it.
            days: for which it is good; None = until it is revoked.

        Raises:
            ValueError: it cannot have the name, or a good one has it.
        """
        require_name(name)
        made = BearerToken.make()
        kept = SaltedHash.of(made.secret)
        with self._database.write() as connection:
            serialise(connection)
            now = self._database.now(connection)
            if connection.execute(sa.select(token.c.id).where(token.c.name == name, is_good(now))).first():
                raise ValueError(f"there is a good token {name!r} already: revoke it first, or choose another name")
            connection.execute(
                token.insert().values(
                    id=made.id,
                    name=name,
                    role=role.value,
                    salt=kept.salt,
                    digest=kept.digest,
                    made=now,
                    expires=None if days is None else now + days * _DAY_S,
                )
            )
        return made

    def tokens(self) -> Sequence[TokenRecord]:
        """Return all tokens, in the order in which they were made."""
        with self._database.read() as connection:
            rows = connection.execute(token.select().order_by(token.c.made, token.c.id)).all()
        return [
            TokenRecord(row.name, Role(row.role), _time(row.made), _when(row.expires), _when(row.revoked))
            for row in rows
        ]

    def revoke(self, name: str) -> bool:
        """Let the token of a name be good no longer; return whether there was a good one."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            where = (token.c.name == name, is_good(now))
            return bool(connection.execute(token.update().where(*where).values(revoked=now)).rowcount)

    def person(self, text: str) -> Person:
        """Return whose a token is.

        Raises:
            UnauthorizedError: it is not good.
        """
        now_s = time.monotonic()
        person, until_s = self._good.get(text, (None, 0.0))
        if person is not None and now_s < until_s:
            return person
        _, person = self.look_up(text)
        with self._lock:
            if len(self._good) >= _MAX_REMEMBERED:
                self._good.clear()
            self._good[text] = person, now_s + REMEMBERED_S
        return person

    def look_up(self, text: str) -> tuple[str, Person]:
        """Return the id of a token, and whose it is, as the store has it now.

        Raises:
            UnauthorizedError: it is not good.
        """
        given = BearerToken.parse(text)
        if given is None:
            raise UnauthorizedError(_BAD)
        with self._database.read() as connection:
            where = (token.c.id == given.id, is_good(self._database.now(connection)))
            row = connection.execute(token.select().where(*where)).first()
        if row is None or not SaltedHash(row.salt, row.digest).fits(given.secret):
            raise UnauthorizedError(_BAD)
        return row.id, Person(row.name, Role(row.role))


def is_good(now: float) -> sa.ColumnElement[bool]:
    """Return the condition under which a token is good at a time of the database's clock."""
    return token.c.revoked.is_(None) & (token.c.expires.is_(None) | (token.c.expires > now))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _when(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
