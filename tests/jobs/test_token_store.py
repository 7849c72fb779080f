"""Tokens and sessions in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from processes.access.person import Person, Role
from processes.access.tokens import SaltedHash, require_name
from processes.errors import UnauthorizedError
from processes.jobs import tables
from processes.jobs.database import Database
from processes.jobs.session_store import LASTS_S, SessionStore
from processes.jobs.token_store import TokenStore
from tables import each_row


def test_a_token_is_made_looked_up_listed_and_revoked(database: Database) -> None:
    tokens = TokenStore(database)
    anna, _ = tokens.add("anna", Role.USER, 7), tokens.add("bob", Role.OPERATOR, None)
    assert tokens.look_up(str(anna)) == (anna.id, Person("anna", Role.USER))
    with pytest.raises(ValueError, match="a good token 'anna' already"):
        tokens.add("anna", Role.VIEWER, None)
    now = datetime.now(UTC)
    listed = tokens.tokens()
    assert [(item.name, item.role, item.state(now)) for item in listed] == [
        ("anna", "user", "good"),
        ("bob", "operator", "good"),
    ]
    assert listed[0].expires is not None
    assert abs(listed[0].expires - now - timedelta(days=7)) < timedelta(minutes=1)
    assert [item.state(now + timedelta(days=8)) for item in listed] == ["expired", "good"]
    assert (tokens.revoke("anna"), tokens.revoke("anna"), tokens.revoke("nobody")) == (True, False, False)
    with pytest.raises(UnauthorizedError):
        tokens.look_up(str(anna))
    assert tokens.tokens()[0].state(now) == "revoked"
    tokens.add("anna", Role.USER, None)  # the name is free again


@each_row("name", ["", " ", "a b", "a/b", "a\nb", "x" * 101, "<b>"])
def test_a_name_that_would_mislead_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at most 100 letters"):
        require_name(name)


def test_hashes_are_salted() -> None:
    one, other = SaltedHash.of("secret"), SaltedHash.of("secret")
    assert one != other
    assert one.fits("secret")
    assert other.fits("secret")
    assert not one.fits("secrets")


def test_a_session_lasts_until_it_is_over_or_ended(database: Database) -> None:
    sessions, person = SessionStore(database), Person("u-1", Role.VIEWER, "Anna")
    first, second = sessions.begin(person), sessions.begin(person)
    assert first != second
    assert sessions.person(first, by_token=False) == person
    assert sessions.person("another", by_token=False) is None
    sessions.end(first)
    assert (sessions.person(first, by_token=False), sessions.person(second, by_token=False)) == (None, person)
    with database.write() as connection:  # half a day goes by
        connection.execute(tables.session.update().values(expires=tables.session.c.expires - LASTS_S))
    assert sessions.person(second, by_token=False) is None
    sessions.begin(person)
    with database.read() as connection:
        rows = connection.execute(sa.select(tables.session.c.digest)).all()
    assert len(rows) == 1  # what is over is not kept
    assert first not in repr(rows)


def test_all_sessions_of_somebody_are_listed_and_end_at_once(database: Database) -> None:
    sessions, anna, bela = SessionStore(database), Person("anna", Role.USER), Person("bela", Role.USER)
    keys = [sessions.begin(anna) for _ in range(3)]
    other = sessions.begin(bela)
    sessions.begin(anna, "of-no-token")  # which is over
    listed = sessions.of("anna", keys[1], by_token=False)
    assert [item.is_this for item in listed] == [False, True, False]
    assert all(abs(datetime.now(UTC) - item.begun) < timedelta(minutes=1) for item in listed)
    assert [item.is_this for item in sessions.of("bela", None, by_token=False)] == [False]
    assert sessions.end_all("anna") == 4
    assert ([sessions.person(key, by_token=False) for key in keys], sessions.of("anna", None, by_token=False)) == (
        [None] * 3,
        [],
    )
    assert sessions.person(other, by_token=False) == bela
    assert sessions.end_all("anna") == 0


def test_a_session_ends_with_its_token(database: Database) -> None:
    tokens, sessions = TokenStore(database), SessionStore(database)
    token = tokens.add("anna", Role.USER, None)
    key = sessions.begin(Person("anna", Role.USER), token.id)
    assert sessions.person(key, by_token=True) == Person("anna", Role.USER)
    assert sessions.person(key, by_token=False) is None  # an issuer says who people are by now
    assert [len(sessions.of("anna", key, by_token=by_token)) for by_token in (True, False)] == [1, 0]
    tokens.revoke("anna")
    assert sessions.person(key, by_token=True) is None
