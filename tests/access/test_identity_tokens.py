"""Tokens of an issuer: which are good, whom they are of, and what becomes of requests while the issuer is slow or gone."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from processes.access import refreshed
from processes.access.code_flow import SignInAttempt, sign_in_address
from processes.access.identity_tokens import ALGORITHMS, person_of, role_of
from processes.access.issuer import Issuer
from processes.access.person import Person, Role
from processes.allowed_hosts import OidcIssuer
from processes.errors import UnauthorizedError, UnavailableError
from processes.settings import Settings
from small_issuer import AUDIENCE, CLIENT, SmallIssuer, small_issuer
from tables import each_row

SETTINGS = Settings.from_plugin({})
HOUR_S = 3600


@pytest.fixture
def issuer() -> Iterator[SmallIssuer]:
    with small_issuer() as running:
        yield running


def known(issuer: SmallIssuer) -> Issuer:
    """Return the issuer as a service knows it that has just been started."""
    return Issuer(OidcIssuer(issuer.url, AUDIENCE, "roles"), SETTINGS)


def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshed, "_PAUSE_S", -1)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed_by_public_key(issuer: SmallIssuer) -> str:
    """Return a token whose MAC has the issuer's public key as its secret, as older libraries took it."""
    claims = issuer.token().split(".")[1]
    text = f"{part({'alg': 'HS256', 'kid': 'first'})}.{claims}"
    key = issuer.keys[0]
    assert isinstance(key, RSAKey)
    mac = hmac.digest(key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned(issuer: SmallIssuer, algorithm: str) -> str:
    header, claims = part({"alg": algorithm, "kid": "first"}), issuer.token().split(".")[1]
    return f"{header}.{claims}."


def in_part(issuer: SmallIssuer, **claims: Any) -> str:
    """Return a token whose claims were changed after it was signed."""
    header, body, signature = issuer.token().split(".")
    kept = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{header}.{part(kept | claims)}.{signature}"


def now(seconds: int) -> int:
    return int(time.time()) + seconds


NO_GOOD: dict[str, Callable[[SmallIssuer], str]] = {
    "another audience": lambda issuer: issuer.token(aud="another"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "expired": lambda issuer: issuer.token(exp=now(-61)),
    "no end": lambda issuer: issuer.token(exp=None),
    "an end in words": lambda issuer: issuer.token(exp="soon"),
    "not yet": lambda issuer: issuer.token(nbf=now(70)),
    "made in the future": lambda issuer: issuer.token(iat=now(70)),
    "nobody": lambda issuer: issuer.token(sub=None),
    "an empty name": lambda issuer: issuer.token(sub=""),
    "a number": lambda issuer: issuer.token(sub=7),
    "a long name": lambda issuer: issuer.token(sub="x" * 300),
    "key of another issuer, its own id": lambda issuer: issuer.token(key=RSAKey.generate_key(2048, {"kid": "evil"})),
    "key of another issuer, this one's id": lambda issuer: issuer.token(key=RSAKey.generate_key(2048, {"kid": "first"})),
    "none": lambda issuer: unsigned(issuer, "none"),
    "None": lambda issuer: unsigned(issuer, "None"),
    "public key as a secret": signed_by_public_key,
    "claims changed": lambda issuer: in_part(issuer, roles=["operator"]),
    "no signature": lambda issuer: issuer.token().rsplit(".", 1)[0] + ".",
    "key in the header": lambda issuer: issuer.token({"jwk": RSAKey.generate_key(2048).as_dict(private=False)}, RSAKey.generate_key(2048, {"kid": "first"})),
    "shared secret": lambda issuer: f"{part({'alg': 'HS256', 'kid': 'shared'})}.{issuer.token().split('.')[1]}.AAAA",
    "an id that is a number": lambda issuer: f"{part({'alg': 'RS256', 'kid': 1})}.{issuer.token().split('.')[1]}.AAAA",
    "a list": lambda issuer: f"{part({'alg': 'RS256', 'kid': 'first'})}.{part([1])}.AAAA",
    "five parts": lambda issuer: ".".join("abcde"),
    "dots": lambda issuer: "..",
    "nothing": lambda issuer: "",
    "not ASCII": lambda issuer: "é.é.é",
    "deep": lambda issuer: base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.AAAA",
    "long": lambda issuer: issuer.token(more="x" * 20_000),
}  # fmt: skip


@each_row("token", list(NO_GOOD.values()), ids=list(NO_GOOD))
def test_a_token_that_is_no_good_proves_nothing(issuer: SmallIssuer, token: Callable[[SmallIssuer], str]) -> None:
    service = known(issuer)
    with pytest.raises(UnauthorizedError) as refused:
        person_of(token(issuer), service, AUDIENCE)
    assert (
        refused.value.detail == "the token is not one of this service's issuer, is for another service, or has expired"
    )


@each_row(
    ("claims", "person"),
    [
        ({}, Person("u-1", Role.USER)),
        (
            {"aud": ["another", AUDIENCE], "preferred_username": "anna", "email": "a@b"},
            Person("u-1", Role.USER, "anna"),
        ),
        ({"exp": -30, "email": "a@b"}, Person("u-1", Role.USER, "a@b")),  # clocks differ
        ({"nbf": 30, "iat": 30}, Person("u-1", Role.USER)),
        ({"roles": None}, Person("u-1", Role.VIEWER)),
    ],
)
def test_a_good_token_says_who(issuer: SmallIssuer, claims: dict[str, Any], person: Person) -> None:
    times = {name: now(value) for name, value in claims.items() if name in ("exp", "nbf", "iat")}
    assert person_of(issuer.token(**claims | times), known(issuer), AUDIENCE) == person


def test_algorithms_are_those_with_a_private_key(issuer: SmallIssuer) -> None:
    assert not [name for name in ALGORITHMS if name.startswith(("HS", "none"))]
    service = known(issuer)
    assert person_of(issuer.token({"alg": "PS256"}), service, AUDIENCE).name == "u-1"
    assert person_of(issuer.token({"kid": None}), service, AUDIENCE).name == "u-1"  # where there is but one key


@each_row(
    ("claims", "name", "role"),
    [
        ({"roles": ["viewer", "operator", "user"]}, "roles", Role.OPERATOR),
        ({"roles": "openid user"}, "roles", Role.USER),
        ({"roles": ["Operator", "admin"]}, "roles", Role.VIEWER),
        ({"roles": {"operator": True}}, "roles", Role.VIEWER),
        ({"roles": [{"operator": 1}, 7, None]}, "roles", Role.VIEWER),
        ({"realm_access": {"roles": ["user"]}}, "realm_access.roles", Role.USER),
        ({"https://a.example/roles": ["user"]}, "https://a.example/roles", Role.USER),
        ({"realm_access": ["user"]}, "realm_access.roles", Role.VIEWER),
        ({}, "roles", Role.VIEWER),
    ],
)
def test_who_has_no_role_is_a_viewer(claims: dict[str, Any], name: str, role: Role) -> None:
    assert role_of(claims, name) is role


def test_keys_are_fetched_once_and_anew_for_a_new_key(issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    service = known(issuer)
    for _ in range(5):
        person_of(issuer.token(), service, AUDIENCE)
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    old = issuer.token()
    issuer.turn_over("second")
    monkeypatch.setattr(refreshed, "_PAUSE_S", 0)
    assert person_of(issuer.token(), service, AUDIENCE).name == "u-1"
    with pytest.raises(UnauthorizedError):  # the issuer has withdrawn its key
        person_of(old, service, AUDIENCE)


def test_unknown_keys_do_not_make_the_service_ask_all_the_time(issuer: SmallIssuer) -> None:
    service = known(issuer)
    stranger = RSAKey.generate_key(2048)
    for number in range(20):
        with pytest.raises(UnauthorizedError):
            person_of(issuer.token({"kid": f"unknown-{number}"}, stranger), service, AUDIENCE)
    assert issuer.asked.count("/keys") == 1


def test_an_issuer_that_is_gone_is_told_and_what_is_known_holds(
    issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pause(monkeypatch)
    service, late = known(issuer), known(issuer)
    person_of(issuer.token(), service, AUDIENCE)
    token, stranger = issuer.token(), issuer.token(key=RSAKey.generate_key(2048, {"kid": "new"}))
    issuer.is_down = True
    monkeypatch.setattr(service._keys, "_lasts_s", -1)
    assert person_of(token, service, AUDIENCE).name == "u-1"
    for text, which in ((stranger, service), (token, late)):
        with pytest.raises(UnavailableError, match="cannot be had now"):
            person_of(text, which, AUDIENCE)
    issuer.is_down = False
    assert person_of(token, late, AUDIENCE).name == "u-1"


def test_a_slow_issuer_holds_few_requests_and_none_for_long(
    issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.access.issuer._TIMEOUT_S", 1)
    monkeypatch.setattr(refreshed, "_WAIT_S", 0.3)
    service = known(issuer)
    person_of(issuer.token(), service, AUDIENCE)
    no_pause(monkeypatch)
    issuer.delay_s = 5
    good, bad = issuer.token(), issuer.token(key=RSAKey.generate_key(2048, {"kid": "new"}))
    took_s: list[float] = []

    def ask() -> None:
        start_s = time.monotonic()
        with pytest.raises(UnavailableError):
            person_of(bad, service, AUDIENCE)
        took_s.append(time.monotonic() - start_s)

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    start_s = time.monotonic()
    assert person_of(good, service, AUDIENCE).name == "u-1"  # known keys do not wait
    assert time.monotonic() - start_s < 0.3
    for thread in threads:
        thread.join()
    assert len(took_s) == 32
    assert sum(seconds > 0.2 for seconds in took_s) <= 1 + 2 * refreshed._WAITING
    assert max(took_s) < 2.5


@each_row(
    ("changes", "why"),
    [
        ({"issuer": "https://evil.example"}, "calls itself"),
        ({"jwks_uri": "http://192.0.2.1/keys"}, "http:// on loopback"),
        ({"jwks_uri": "file:///etc/passwd"}, "http:// on loopback"),
        ({"jwks_uri": "https://10.0.0.1/keys"}, "does not answer"),  # private, and not the issuer's own host
        ({"jwks_uri": 7}, "not what OpenID Connect says"),
        ({"jwks_uri": None}, "not what OpenID Connect says"),
    ],
)
def test_an_issuer_that_leads_elsewhere_is_not_followed(
    issuer: SmallIssuer, changes: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.changes = changes
    caplog.clear()
    with pytest.raises(UnavailableError):
        person_of(issuer.token(), known(issuer), AUDIENCE)
    assert why in caplog.text


@each_row("keys", [None, 7, {"a": 1}, [None, 7, "x", {}, {"kty": "RSA"}, {"kty": ["RSA"]}]])
def test_keys_that_are_none_prove_nothing(issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch, keys: Any) -> None:
    answer = issuer.answer
    monkeypatch.setattr(
        issuer, "answer", lambda path, form: (200, {"keys": keys}) if path == "/keys" else answer(path, form)
    )
    with pytest.raises(UnauthorizedError if isinstance(keys, list) else UnavailableError):
        person_of(issuer.token(), known(issuer), AUDIENCE)


@each_row(
    "address", ["", "http://id.example.org/authorize", "javascript:alert(1)", "https:///authorize", "http://[::1"]
)
def test_nobody_is_sent_to_sign_in_where_others_can_read_it(issuer: SmallIssuer, address: str) -> None:
    issuer.changes = {"authorization_endpoint": address}
    with pytest.raises(UnavailableError, match="at safely"):
        sign_in_address(known(issuer), CLIENT, SignInAttempt.make("/"), "http://localhost/sign-in/callback")


def test_a_redirect_or_a_large_answer_of_the_issuer_is_not_taken(
    issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.changes = {"more": "x" * 2**21}
    with pytest.raises(UnavailableError):
        known(issuer).endpoints()
    issuer.changes = {}
    monkeypatch.setattr(issuer, "answer", lambda path, form: (302, {}))
    with pytest.raises(UnavailableError):
        known(issuer).endpoints()
    assert "status 302" in caplog.text
