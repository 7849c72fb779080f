"""Who is who, and what each role may: the table of roles by operations, in each mode; tokens that are no good; sessions."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from openapi_spec_validator import OpenAPIV30SpecValidator

from access_modes import BROWSER, JOB, OPERATIONS, ORDER, OWN, application, ask, bearer, operations_of, refusals
from processes.access.audit import LOGGER
from processes.access.person import Role
from processes.jobs import tables
from processes.jobs.token_store import REMEMBERED_S
from processes.web.roles import NEEDS, Openness, need_of
from processes.web.session_cookie import CookiePlace, own_path
from tables import each_row


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return application(tmp_path_factory.mktemp("tokens"), access="tokens")


@pytest.fixture(scope="module")
def bearers(app: Any) -> dict[str, dict[str, str]]:
    """Return the header of somebody of each role."""
    return {role: bearer(app.extensions["tokens"].add(f"a-{role}", role, None)) for role in Role}


def test_every_endpoint_has_a_role(app: Any) -> None:
    assert not operations_of(app) - set(NEEDS)
    assert need_of("an endpoint of tomorrow", "GET") is Role.OPERATOR


@each_row("role", list(Role))
def test_each_role_may_what_the_table_says(app: Any, bearers: dict[str, dict[str, str]], role: Role) -> None:
    above = [operation for need in ORDER[ORDER.index(role) + 1 :] for operation in OPERATIONS[need]]
    assert refusals(app, bearers[role]) == dict.fromkeys(above, 403)


def test_nobody_may_what_needs_a_role(app: Any) -> None:
    needing = [operation for need in ORDER[1:] for operation in OPERATIONS[need]]
    assert refusals(app, None) == dict.fromkeys(needing, 401)


def test_anonymous_readers_see_descriptions_and_no_more(tmp_path: Path) -> None:
    app = application(tmp_path, access="tokens", anonymous="true")
    needing = [operation for need in ORDER[2:] for operation in OPERATIONS[need]]
    assert refusals(app, None) == dict.fromkeys(needing, 401)
    assert ask(app, "GET /", bearer("classify_wrong")).status_code == 401  # who claims to be somebody proves it


def test_an_open_service_asks_nobody(tmp_path: Path) -> None:
    app = application(tmp_path, access="open")
    assert not refusals(app, None)
    assert app.test_client().get("/sign-in").status_code == 404


def test_refusals_are_problems(app: Any, bearers: dict[str, dict[str, str]]) -> None:
    answer = ask(app, "GET /jobs")
    assert (answer.status_code, answer.json["type"], answer.headers["WWW-Authenticate"]) == (
        401,
        "Unauthorized",
        "Bearer",
    )
    assert "Bearer" in answer.json["detail"]
    answer = ask(app, "GET /metrics", bearers[Role.USER])
    assert (answer.status_code, answer.json["type"]) == (403, "Forbidden")
    assert answer.json["detail"] == "the role user does not allow this; it needs the role operator"
    assert "private" in answer.headers["Cache-Control"]


def test_a_link_that_shares_a_job_needs_no_token(app: Any, bearers: dict[str, dict[str, str]]) -> None:
    client, maker = app.test_client(use_cookies=False), bearers[Role.USER]
    execution = {"path": "/processes/echo/execution", "json": {"inputs": {"echo": "x"}}}
    first, second = (
        client.post(**execution, headers={**maker, "Prefer": "respond-async"}).headers["Location"] for _ in range(2)
    )
    made = client.post(f"{first}/shares", headers=maker)
    href = made.json["href"]
    query = href.partition("?")[2]
    assert client.get(href).json["jobID"] == first.rpartition("/")[2]
    assert client.get(href, headers=bearer("classify_wrong")).status_code == 401
    assert client.get(f"{second}?{query}").status_code == 404
    assert [client.open(href, method=method).status_code for method in ("DELETE", "POST")] == [401, 405]
    assert [client.get(address).status_code for address in (first, f"{first}/shares?{query}", "/jobs")] == [401] * 3
    assert client.delete(made.headers["Location"], headers=maker).status_code == 204
    assert client.get(href).status_code == 401


def test_what_is_not_there_is_not_there_for_anybody(app: Any) -> None:
    assert ask(app, "GET /nothing").status_code == 404
    assert ask(app, "DELETE /jobs").status_code == 405


def test_a_preflight_needs_no_token_and_does_nothing(app: Any) -> None:
    answer = ask(
        app, f"OPTIONS {JOB}", {"Origin": "https://map.example.org", "Access-Control-Request-Method": "DELETE"}
    )
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert "Authorization" in ask(app, "OPTIONS /collections/x/items", {
        "Origin": "https://map.example.org", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "Authorization",
    }).headers["Access-Control-Allow-Headers"]  # fmt: skip


def altered(text: str) -> str:
    return text[:-1] + ("A" if text[-1] != "A" else "B")


@each_row(
    "header",
    [
        lambda good: "",
        lambda good: "Bearer",
        lambda good: "Bearer ",
        lambda good: f"Basic {good}",
        lambda good: f"Bearer {altered(good)}",
        lambda good: f"Bearer {good}x",
        lambda good: f"Bearer {good[:22]}{'A' * 43}",
        lambda good: f"Bearer classify_000000000000_{good[22:]}",
        lambda good: "Bearer eyJhbGciOiJub25lIn0.e30.",
        lambda good: "Bearer ' OR 1=1 --",
        lambda good: f"Bearer {good} {good}",
    ],
    ids=map(str, range(11)),
)
def test_what_is_no_token_proves_nothing(
    app: Any, bearers: dict[str, dict[str, str]], header: Callable[[str], str]
) -> None:
    good = bearers[Role.USER]["Authorization"].removeprefix("Bearer ")
    answer = ask(app, "GET /jobs", {"Authorization": header(good)})
    assert answer.status_code == 401
    assert good[22:] not in answer.text


def test_tokens_expire_and_are_revoked_within_a_second(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = app.extensions["tokens"]
    short, long = (bearer(tokens.add(name, Role.USER, days)) for name, days in (("short", 1), ("long", None)))
    assert [ask(app, "GET /jobs", header).status_code for header in (short, long)] == [200, 200]
    with tokens._database.write() as connection:  # a day goes by
        connection.execute(tables.token.update().where(tables.token.c.name == "short").values(expires=1.0))
    assert tokens.revoke("long")
    assert not tokens.revoke("long")
    forget(monkeypatch)
    assert [ask(app, "GET /jobs", header).status_code for header in (short, long)] == [401, 401]
    assert bearer(tokens.add("long", Role.VIEWER, None)) != long  # the name is free again
    assert ask(app, "GET /jobs", long).status_code == 401


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time pass for which a token that was good counts as good."""
    later_s = time.monotonic() + REMEMBERED_S + 0.01
    monkeypatch.setattr("processes.jobs.token_store.time.monotonic", lambda: later_s)


def test_the_store_holds_no_token(app: Any, tmp_path: Path) -> None:
    tokens = app.extensions["tokens"]
    secret = str(tokens.add("secretive", Role.USER, None)).rsplit("_", 1)[1]
    with tokens._database.read() as connection:
        kept = repr(connection.execute(sa.select(tables.token)).all())
    assert "secretive" in kept
    assert secret not in kept
    assert not re.search("secret", repr(tokens.tokens()).replace("secretive", ""))


def signed_in(app: Any, role: Role, name: str) -> Any:
    """Return a browser that has signed in with a token of its own."""
    return signed_in_with(app, str(app.extensions["tokens"].add(name, role, None)))


def signed_in_with(app: Any, token: str) -> Any:
    """Return a browser that has signed in with a token."""
    browser = app.test_client()
    answer = browser.post("/sign-in", data={"token": f" {token} ", "next": "/jobs?f=html"}, headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs?f=html")
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/"))
    assert token not in cookie
    return browser


def test_a_browser_is_led_to_sign_in_and_back(app: Any) -> None:
    answer = app.test_client().get("/jobs?status=failed&f=html", headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/sign-in?next=%2Fjobs%3Fstatus%3Dfailed%26f%3Dhtml",
    )
    page = app.test_client().get(answer.headers["Location"], headers=BROWSER)
    assert 'value="/jobs?status=failed&amp;f=html"' in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "no-store" in page.headers["Cache-Control"]
    assert app.test_client().head("/sign-in").status_code == 200


def test_a_link_to_a_job_opens_no_list(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"known").hexdigest()
    with app.extensions["tokens"]._database.write() as connection:
        connection.execute(tables.share.insert().values(id="s-1", job=JOB[6:], digest=digest, created=0))
    opened = {path: ask(app, f"GET {path}?share=known").status_code for path in (JOB, f"/collections/{JOB[6:]}")}
    assert set(opened.values()) == {404}  # there is no such job; without the link it is not even said
    for path in ("/jobs", "/collections", "/models", "/sessions", "/metrics", f"{JOB}/shares"):
        assert ask(app, f"GET {path}?share=known").status_code == 401, path
    monkeypatch.setitem(app.extensions["classify-objects-api"].config["resources"], "parcels", {"type": "collection"})
    for path in ("/collections/parcels", "/collections/parcels/items"):  # which an operator has configured
        assert ask(app, f"GET {path}?share=known").status_code == 401, path
    assert ask(app, f"GET {JOB}?share=other").status_code == 401


@each_row(("role", "offered"), [(None, False), (Role.VIEWER, False), (Role.USER, True), (Role.OPERATOR, True)])
def test_a_form_offers_what_its_reader_may(tmp_path: Path, role: Role | None, offered: bool) -> None:
    app = application(tmp_path, access="tokens", anonymous="true")
    browser = app.test_client() if role is None else signed_in(app, role, "anna")
    for process in ("classify-objects", "echo"):
        text = browser.get(f"/processes/{process}?f=html", headers=BROWSER).text
        assert ('name="run"' in text) == offered
        assert ('name="validate"' in text) == (offered and process == "classify-objects")
        assert ('data-upload="image"' in text) == (offered and process == "classify-objects")
        assert ("Your role is viewer" in text) == (role is Role.VIEWER)
        assert (f'/sign-in?next=/processes/{process}%3Ff%3Dhtml">Sign in</a> to run' in text) == (role is None)
    text = browser.get("/processes/describe-model?f=html", headers=BROWSER).text
    assert ('name="run"' in text) == (role is not None)  # it only reads, which viewers may
    if role is not None:
        text = browser.get("/jobs?f=html", headers=BROWSER).text
        assert (">Run one</a>" in text) == offered


def test_a_session_is_shown_and_ends_where_it_is_signed_out(app: Any) -> None:
    browser = signed_in(app, Role.VIEWER, "vera")
    page = browser.get("/jobs?f=html", headers=BROWSER)
    assert page.status_code == 200
    assert "vera" in page.text
    assert 'action="/sign-out"' in page.text
    assert browser.get("/metrics").status_code == 403
    key = browser.get_cookie("classify-session").value
    answer = browser.post("/sign-out", headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert browser.get_cookie("classify-session") is None
    replayed = app.test_client()
    replayed.set_cookie("classify-session", key)
    assert replayed.get("/jobs").status_code == 401


def test_somebody_signs_out_everywhere(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    tokens = app.extensions["tokens"]
    own, other = str(tokens.add("wanda", Role.VIEWER, None)), tokens.add("w-2", Role.VIEWER, None)
    browser, *others = (signed_in_with(app, own) for _ in range(3))
    stranger = signed_in(app, Role.VIEWER, "xaver")
    page = browser.get("/sessions", headers=BROWSER)
    assert (page.text.count("Signed in at"), page.text.count("(this browser)")) == (3, 1)
    assert ("wanda" in page.text, "no-store" in page.headers["Cache-Control"]) == (True, True)
    for headers in ({}, {"Origin": "https://evil.example"}):
        assert browser.post("/sign-out/everywhere", headers=headers).status_code == 401
    assert ask(app, "POST /sign-out/everywhere", bearer(other)).status_code == 303  # of somebody else
    assert [client.get("/jobs").status_code for client in (browser, *others)] == [200] * 3
    caplog.clear()
    with caplog.at_level(logging.INFO, LOGGER):
        answer = browser.post("/sign-out/everywhere", headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert browser.get_cookie("classify-session") is None
    assert [client.get("/jobs").status_code for client in (browser, *others)] == [401] * 3
    assert stranger.get("/jobs").status_code == 200
    (record,) = [item for item in caplog.records if item.getMessage() == "sessions ended"]
    assert (vars(record)["person"], vars(record)["sessions"]) == ("wanda", 3)


def test_a_session_ends_with_its_token(app: Any) -> None:
    browser = signed_in(app, Role.USER, "rita")
    assert browser.get("/jobs").status_code == 200
    app.extensions["tokens"].revoke("rita")
    assert browser.get("/jobs").status_code == 401


def test_a_session_changes_nothing_but_for_the_services_own_pages(app: Any) -> None:
    browser = signed_in(app, Role.USER, "ursula")
    for headers, status in (
        ({}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        (OWN, 404),
    ):
        assert browser.delete(JOB, headers=headers).status_code == status, headers  # `origins` is * here
    for headers in ({}, {"Origin": "https://evil.example"}):
        assert browser.post("/sign-out", headers=headers).status_code == 403
        assert browser.post("/sign-in", data={"token": "x"}, headers=headers).status_code == 403
    assert browser.get("/jobs").status_code == 200


def test_who_guesses_tokens_is_told_of_in_the_audit(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        app.test_client().post("/sign-in", data={"token": "classify_x"}, headers=OWN | BROWSER)
        answer = app.test_client().get("/jobs", headers=BROWSER | bearer("classify_x"))
        assert answer.status_code == 401  # a page, but none that leads on
    told = [(record.__dict__["path"], record.__dict__["reason"]) for record in caplog.records if record.name == LOGGER]
    assert told == [("/sign-in", "Unauthorized"), ("/jobs", "Unauthorized")]
    assert "classify_x" not in caplog.text


def test_a_wrong_token_is_told_on_the_page(app: Any) -> None:
    answer = app.test_client().post("/sign-in", data={"token": "classify_x", "next": "/models"}, headers=OWN | BROWSER)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert 'value="/models"' in answer.text
    assert "Set-Cookie" not in answer.headers


def test_nobody_fills_the_memory_before_they_have_signed_in(app: Any) -> None:
    form = b"token=classify_x&" + b"a=b&" * 2**15
    media_type = "application/x-www-form-urlencoded"
    answer = app.test_client().post("/sign-in", data=form, content_type=media_type, headers=OWN)
    assert (answer.status_code, answer.json["type"]) == (413, "TooLarge")
    answer = app.test_client().post("/sign-in", data=form[: 2**15], content_type=media_type, headers=OWN)
    assert answer.status_code == 401


@each_row(
    ("given", "path"),
    [
        ("/jobs?f=html", "/jobs?f=html"),
        (None, "/"),
        ("", "/"),
        ("jobs", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/jobs\\..", "/"),
        ("https://evil.example/jobs", "/"),
        ("/\t/evil.example", "/"),
        ("/jobs\r\nSet-Cookie: x", "/"),
        ("/" + "x" * 3000, "/"),
    ],
)
def test_nobody_is_led_elsewhere(given: str | None, path: str) -> None:
    assert own_path(given) == path


def test_cookies_of_a_service_behind_tls_are_secure() -> None:
    assert CookiePlace.of("https://a.example/") == CookiePlace("", True)
    assert CookiePlace.of("https://a.example/").session == "__Host-classify-session"
    assert CookiePlace.of("https://a.example/").sign_in == "__Host-classify-sign-in"
    assert CookiePlace.of("https://a.example/classify/").session == "classify-session"
    assert CookiePlace.of("https://a.example/classify/").root == "/classify"


@pytest.mark.parametrize("anonymous", ["false", "true"])
def test_the_openapi_document_says_who_may(tmp_path: Path, anonymous: str) -> None:
    app = application(tmp_path, access="tokens", anonymous=anonymous)
    token = bearer(app.extensions["tokens"].add("anna", Role.VIEWER, None))
    document = ask(app, "GET /openapi?f=json", token).json
    assert not list(OpenAPIV30SpecValidator(document).iter_errors())
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["security"] == [{"token": []}]
    router = app.url_map.bind("localhost")
    for path, methods in document["paths"].items():
        for method, operation in ((name, item) for name, item in methods.items() if name != "parameters"):
            endpoint, _ = router.match(re.sub(r"{\w+}", "1", path), method=method.upper())
            need = need_of(endpoint, method.upper())
            if need is Openness.ALWAYS:
                assert operation["security"] == [], path
                continue
            assert {"401", "403"} <= set(operation["responses"]), path
            is_open = need is Openness.IF_ANONYMOUS and anonymous == "true"
            assert operation.get("security") == ([{}, {"token": []}] if is_open else None), path
