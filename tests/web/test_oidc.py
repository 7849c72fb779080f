"""Access by an issuer of OpenID Connect: tokens of programs, and people who sign in by a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner
from joserfc.jwk import RSAKey

from access_modes import BROWSER, JOB, OPERATIONS, ORDER, OWN, application, ask, bearer, operations_of, refusals
from processes.access import refreshed
from processes.access.person import Role
from processes.programs.cli import main
from processes.web.roles import NEEDS
from small_issuer import AUDIENCE, CLIENT, SmallIssuer, small_issuer
from tables import each_row

CALLBACK = "/sign-in/callback"


@pytest.fixture(scope="module")
def issuer() -> Iterator[SmallIssuer]:
    with small_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def app(issuer: SmallIssuer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    oidc = {"issuer": issuer.url, "audience": AUDIENCE, "client_id": CLIENT}
    return application(tmp_path_factory.mktemp("oidc"), access="oidc", oidc=oidc)


def test_every_endpoint_has_a_role(app: Any) -> None:
    assert ("sign_in_end", "GET") in operations_of(app)
    assert not operations_of(app) - set(NEEDS)


@each_row("role", list(Role))
def test_each_role_may_what_the_table_says(app: Any, issuer: SmallIssuer, role: Role) -> None:
    above = [operation for need in ORDER[ORDER.index(role) + 1 :] for operation in OPERATIONS[need]]
    assert refusals(app, bearer(issuer.token(roles=[role.value]))) == dict.fromkeys(above, 403)


def test_nobody_may_what_needs_a_role(app: Any) -> None:
    needing = [operation for need in ORDER[1:] for operation in OPERATIONS[need]]
    assert refusals(app, None) == dict.fromkeys(needing, 401)


def test_tokens_for_others_prove_nothing(app: Any, issuer: SmallIssuer) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "first"})
    own = app.extensions["tokens"].add("anna", Role.OPERATOR, None)  # which counts in the other mode alone
    for token in (issuer.token(aud=CLIENT), issuer.token(exp=1), issuer.token(key=stranger), own, "x"):
        answer = ask(app, "GET /jobs", bearer(token))
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), token


def test_an_issuer_that_is_gone_is_a_503_and_stops_nobody_else(
    app: Any, issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(app, "GET /jobs", bearer(issuer.token())).status_code == 200
    monkeypatch.setattr(refreshed, "_PAUSE_S", -1)
    monkeypatch.setattr(issuer, "is_down", True)
    answer = ask(app, "GET /jobs", bearer(issuer.token(key=RSAKey.generate_key(2048, {"kid": "new"}))))
    assert (answer.status_code, answer.json["type"]) == (503, "Unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert ask(app, "GET /jobs", bearer(issuer.token())).status_code == 200
    assert ask(app, "GET /health").status_code in (200, 503)


def begun(app: Any, issuer: SmallIssuer, next_path: str = "/jobs?f=html", **claims: Any) -> tuple[Any, dict[str, str]]:
    """Begin a sign-in; return the browser, and the parameters that the issuer sends it back with."""
    browser = app.test_client()
    answer = browser.get("/sign-in/begin", query_string={"next": next_path}, headers=BROWSER)
    assert answer.status_code == 303
    assert all(word in answer.headers["Set-Cookie"] for word in ("HttpOnly", "SameSite=Lax", "Max-Age=600"))
    address = urlsplit(answer.headers["Location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{issuer.url}/authorize"
    query = dict(parse_qsl(address.query))
    assert query.pop("redirect_uri") == f"http://localhost{CALLBACK}"
    assert (query["client_id"], query["response_type"], query["code_challenge_method"]) == (CLIENT, "code", "S256")
    known = {"nonce": query["nonce"], "preferred_username": "anna"}
    issuer.codes["c-1"] = {"challenge": query["code_challenge"], "claims": known | claims}
    return browser, {"code": "c-1", "state": query["state"], "iss": issuer.url}


def test_somebody_signs_in_and_out(app: Any, issuer: SmallIssuer) -> None:
    browser, query = begun(app, issuer)
    answer = browser.get(CALLBACK, query_string=query, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs?f=html")
    page = browser.get("/jobs?f=html", headers=BROWSER)
    assert "anna" in page.text
    assert browser.delete(JOB, headers=OWN).status_code == 404
    assert browser.get("/metrics").status_code == 403
    key = browser.get_cookie("classify-session").value
    assert browser.get_cookie("classify-sign-in") is None
    assert browser.get(CALLBACK, query_string=query).status_code == 401  # an answer counts once
    assert browser.post("/sign-out", headers=OWN).status_code == 303
    replayed = app.test_client()
    replayed.set_cookie("classify-session", key)
    assert replayed.get("/jobs").status_code == 401


def test_somebody_signs_out_everywhere(app: Any, issuer: SmallIssuer) -> None:
    browsers = []
    for sub in ("u-7", "u-7", "u-8"):
        browser, query = begun(app, issuer, sub=sub)
        assert browser.get(CALLBACK, query_string=query, headers=BROWSER).status_code == 303
        browsers.append(browser)
    page = browsers[0].get("/sessions", headers=BROWSER)
    assert (page.text.count("Signed in at"), "anna" in page.text, "u-8" in page.text) == (2, True, False)
    assert browsers[0].post("/sign-out/everywhere", headers=OWN).status_code == 303
    assert [browser.get("/jobs").status_code for browser in browsers] == [401, 401, 200]
    ended = CliRunner().invoke(main, ["--config", app.extensions["configuration"], "token", "sign-out", "u-8"])
    assert ended.stdout == "u-8 signed out of 1 browser\n"
    assert browsers[2].get("/jobs").status_code == 401


@each_row(
    ("claims", "changes"),
    [
        ({}, {"state": "another"}),
        ({}, {"state": None}),
        ({}, {"iss": "https://evil.example"}),
        ({}, {"code": "stolen"}),
        ({}, {"code": None, "error": "access_denied"}),
        ({"nonce": "of another sign-in"}, {}),
        ({"nonce": None}, {}),
        ({"aud": AUDIENCE}, {}),
        ({"aud": [CLIENT, AUDIENCE]}, {}),
        ({"aud": [CLIENT, AUDIENCE], "azp": "another"}, {}),
        ({"azp": "another"}, {}),
        ({"exp": 1}, {}),
        ({"iss": "https://evil.example"}, {}),
    ],
)
def test_who_is_not_confirmed_is_not_signed_in(
    app: Any, issuer: SmallIssuer, claims: dict[str, Any], changes: dict[str, Any]
) -> None:
    browser, query = begun(app, issuer, **claims)
    sent = {name: value for name, value in (query | changes).items() if value is not None}
    assert browser.get(CALLBACK, query_string=sent).status_code == 401
    assert browser.get_cookie("classify-session") is None
    assert browser.get(CALLBACK, query_string=sent, headers=BROWSER).status_code == 401  # a page, and no way back to it


def test_a_token_for_several_says_that_this_client_asked_for_it(app: Any, issuer: SmallIssuer) -> None:
    browser, query = begun(app, issuer, aud=[AUDIENCE, CLIENT], azp=CLIENT)
    assert browser.get(CALLBACK, query_string=query).status_code == 303


def test_an_answer_to_another_browser_signs_nobody_in(app: Any, issuer: SmallIssuer) -> None:
    _, query = begun(app, issuer)
    for cookie in (None, "x", "eyJzdGF0ZSI6IDF9"):
        victim = app.test_client()
        if cookie is not None:
            victim.set_cookie("classify-sign-in", cookie)
        assert victim.get(CALLBACK, query_string=query).status_code == 401
    victim, _ = begun(app, issuer)
    assert victim.get(CALLBACK, query_string=query).status_code == 401


def test_nobody_is_led_elsewhere(app: Any, issuer: SmallIssuer) -> None:
    browser, query = begun(app, issuer, "//evil.example")
    assert browser.get(CALLBACK, query_string=query).headers["Location"] == "/"


def test_the_page_leads_to_the_issuer(app: Any, issuer: SmallIssuer) -> None:
    answer = app.test_client().get("/jobs?f=html", headers=BROWSER)
    page = app.test_client().get(answer.headers["Location"], headers=BROWSER).text
    assert 'href="/sign-in/begin?next=/jobs%3Ff%3Dhtml"' in page
    assert issuer.url in page
    assert "<form" not in page.split("<main")[1]


def test_a_code_is_not_changed_while_the_issuer_is_gone(
    app: Any, issuer: SmallIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, query = begun(app, issuer)
    monkeypatch.setattr(issuer, "is_down", True)
    assert browser.get(CALLBACK, query_string=query).status_code == 503
