"""Several people at one service: what one of them makes is not there for another, in no list, error, name or count."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import g, request

from processes.access.audit import LOGGER
from processes.access.person import EVERYBODY, Person, Role
from processes.jobs import tables
from processes.jobs.runner_store import RunnerStore
from service import Client, configure, link, load_application
from tables import each_row

LIMITS = {"max_objects_per_day": 40, "max_uploads_mb_per_client": 1}
ANNA, BELA, OLGA = Person("anna", Role.USER), Person("bela", Role.USER), Person("olga", Role.OPERATOR)
PEOPLE = {person.name: person for person in (ANNA, BELA, OLGA, EVERYBODY)}
_WHO = "X-Test-Person"
_UNKNOWN = str(uuid.UUID(int=7, version=4))
_NAME = "first_harvest"
_FILE = "far-meadows.tif"

SCOPED = {"job_id", "collection_id", "upload_id"}
"""Parts of paths that name what somebody has made."""
OTHERS = {
    "output": "classifiedObjects",
    "object_id": "1",
    "item_id": "1",
    "zoom": "0",
    "column": "0",
    "row": "0",
    "share_id": "none",
    "instance_id": "x",
    "location_id": "x",
    "style_id": "x",
    "tileMatrixSetId": "WebMercatorQuad",
    "tileMatrix": "0",
    "tileRow": "0",
    "tileCol": "0",
}
"""Values of the other variable parts of such paths."""
COMMON = {"process_id": "classify-objects", "name": "own/pages.css", "filename": "x", "path": "x"}
"""Variable parts of paths that are the same for everybody."""


@dataclass(frozen=True, slots=True)
class Made:
    """What Anna has made."""

    jobs: tuple[str, str, str]
    """One with a result, one that failed, one that was dismissed."""
    upload: str

    def words(self) -> list[str]:
        """Return what nobody else may read."""
        return [*self.jobs, self.upload, _NAME, _FILE, ANNA.name]


class Team:
    """People who use one service."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ask(self, person: Person, method: str, path: str, **options: Any) -> Any:
        headers = {_WHO: person.name, **options.pop("headers", {})}
        return self.client.http.open(path, method=method, headers=headers, buffered=True, **options)

    def get(self, person: Person, path: str, **options: Any) -> Any:
        return self.ask(person, "GET", path, **options)

    def execute(self, person: Person, inputs: Any, *, is_async: bool = False) -> Any:
        headers = {"Prefer": "respond-async"} if is_async else {}
        path = "/processes/classify-objects/execution"
        return self.ask(person, "POST", path, json={"inputs": inputs}, headers=headers)

    def finished(self, person: Person, inputs: Any) -> str:
        """Return the id of a job of somebody that has ended."""
        job: str = self.execute(person, inputs, is_async=True).json["jobID"]
        until = time.monotonic() + 60
        while self.get(person, f"/jobs/{job}").json["status"] in ("accepted", "running"):
            assert time.monotonic() < until
            time.sleep(0.05)
        return job

    def upload(self, person: Person, path: Path, name: str) -> Any:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return self.ask(person, "POST", "/uploads", data=path.read_bytes(), headers=headers).json


@pytest.fixture(scope="module")
def team(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Team:
    folder = tmp_path_factory.mktemp("team")
    application = load_application(
        configure(folder, models=[home / "models"], imagery=[home / "imagery"], limits=LIMITS)
    )

    def sign_in() -> None:
        g.person = PEOPLE[request.headers.get(_WHO, "")]

    application.before_request_funcs[None].append(sign_in)
    return Team(Client(application))


@pytest.fixture(scope="module")
def made(team: Team, home: Path, inputs: dict[str, Any]) -> Made:
    sent = team.upload(ANNA, home / "imagery" / "a.tif", _FILE)
    own = inputs | {"image": {"href": sent["href"]}}
    done = team.finished(ANNA, own | {"resultName": _NAME})
    assert team.get(ANNA, f"/jobs/{done}").json["status"] == "successful"
    failed = team.finished(ANNA, inputs | {"image": link(home / "imagery" / "broken.tif")})
    dismissed = team.finished(ANNA, own)
    assert team.ask(ANNA, "DELETE", f"/jobs/{dismissed}").status_code == 200
    return Made((done, failed, dismissed), sent["href"].removeprefix("upload:").partition("/")[0])


def scoped_rules(team: Team) -> Iterator[tuple[Any, set[str]]]:
    """Yield the rules whose paths name what somebody has made, with their methods."""
    for rule in team.client.http.application.url_map.iter_rules():
        unknown = rule.arguments - SCOPED - OTHERS.keys() - COMMON.keys()
        assert not unknown, f"{rule.rule}: say in this test what {unknown} name"
        if rule.arguments & SCOPED:
            yield rule, rule.methods - {"OPTIONS", "HEAD"}


def filled(rule: Any, names: dict[str, str]) -> str:
    """Return the path of a rule whose variable parts have values."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: {**OTHERS, **names}[match[1]], rule.rule)


def test_what_is_another_s_is_not_there_at_any_address(team: Team, made: Made) -> None:
    """The same body as for what never was, at every address and with every method; it is made from the map of URLs."""
    tried = set()
    for rule, methods in scoped_rules(team):
        for method in sorted(methods - {"DELETE"}) + sorted(methods & {"DELETE"}):
            for part, values in {
                "job_id": [(job, _UNKNOWN) for job in made.jobs],
                "collection_id": [(_NAME, "no" * 8), (made.jobs[0], _UNKNOWN)],
                "upload_id": [(made.upload, "0" * 32)],
            }.items():
                for value, none in values if part in rule.arguments else ():
                    for headers in ({}, {"Accept": "text/html,application/xhtml+xml"}):
                        found = team.ask(BELA, method, filled(rule, {part: value}), headers=headers)
                        other = team.ask(BELA, method, filled(rule, {part: none}), headers=headers)
                        assert found.status_code == other.status_code, (method, rule.rule)
                        assert found.status_code in (400, 404, 405), (method, rule.rule, found.status_code)
                        assert found.text.replace(value, "*") == other.text.replace(none, "*"), (method, rule.rule)
                        assert set(found.headers.keys()) == set(other.headers.keys()), (method, rule.rule)
                        tried.add((method, rule.endpoint))
    assert {("DELETE", "pygeoapi.get_jobs"), ("DELETE", "upload"), ("GET", "chip"), ("GET", "object_tile")} <= tried
    assert team.get(ANNA, f"/jobs/{made.jobs[0]}/results").status_code == 200  # and nothing was deleted
    assert team.get(ANNA, f"/uploads/{made.upload}").status_code == 200


@each_row(
    "address",
    [
        "/jobs/{job}",
        "/jobs/{job}?f=html",
        "/jobs/{job}/events",
        "/jobs/{job}/results",
        "/jobs/{job}/results?f=html",
        "/jobs/{job}/results/classifiedObjects",
        "/jobs/{job}/results/classifiedObjects.gpkg",
        "/jobs/{job}/results/style.qml",
        "/jobs/{job}/review",
        "/jobs/{job}/map",
        "/jobs/{job}/map/objects/0/0/0.mvt",
        "/jobs/{job}/map/imagery/0/0/0.webp",
        "/jobs/{job}/objects/1/chip.png",
        "/collections/{collection}",
        "/collections/{collection}/items",
        "/collections/{collection}/items/1",
        "/uploads/{upload}",
    ],
)
def test_its_maker_and_an_operator_see_it(team: Team, made: Made, address: str) -> None:
    for person, collection in ((ANNA, _NAME), (OLGA, made.jobs[0]), (EVERYBODY, made.jobs[0])):
        path = address.format(job=made.jobs[0], collection=collection, upload=made.upload)
        response = team.get(person, path)
        assert response.status_code in (200, 204), (person, path, response.text)


def test_a_viewer_is_offered_nothing_that_changes_a_job(
    team: Team, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was a user has jobs."""
    for role in (Role.USER, Role.VIEWER):
        monkeypatch.setitem(PEOPLE, ANNA.name, Person(ANNA.name, role))
        pages = [team.get(ANNA, f"/jobs/{made.jobs[0]}{part}?f=html") for part in ("", "/results")]
        assert [page.status_code for page in pages] == [200, 200]
        assert ["shares.js" in page.text for page in pages] == [role is Role.USER] * 2
        (button,) = re.findall(r'<button[^>]*name="dismiss"[^>]*>', pages[0].text)
        assert ("disabled" in button, "hidden" in button) == (role is Role.VIEWER,) * 2


def test_lists_show_one_s_own_and_operators_all(team: Team, made: Made) -> None:
    assert {job["jobID"] for job in team.get(ANNA, "/jobs").json["jobs"]} == set(made.jobs)
    assert team.get(BELA, "/jobs?status=successful,failed,dismissed&type=process&minDuration=0").json["jobs"] == []
    assert set(made.jobs) <= {job["jobID"] for job in team.get(OLGA, "/jobs?limit=100").json["jobs"]}
    assert [item["id"] for item in team.get(ANNA, "/collections").json["collections"]] == [_NAME]
    assert team.get(BELA, "/collections").json["collections"] == []
    (found,) = (item for item in team.get(OLGA, "/collections").json["collections"] if item["title"] == _NAME)
    assert found["id"] == made.jobs[0]
    (self_link,) = (item["href"] for item in found["links"] if item["rel"] == "self")
    assert team.get(OLGA, self_link.removeprefix("http://localhost")).json["id"] == made.jobs[0]


def test_two_people_may_give_the_same_name(team: Team, made: Made, inputs: dict[str, Any]) -> None:
    assert team.execute(ANNA, inputs | {"resultName": _NAME}).status_code == 409
    job = team.finished(OLGA, inputs | {"resultName": _NAME})
    assert team.get(OLGA, f"/collections/{_NAME}").json["links"][-1]["href"].endswith(job)
    assert team.get(ANNA, f"/collections/{_NAME}").json["links"][-1]["href"].endswith(made.jobs[0])
    assert {item["id"] for item in team.get(OLGA, "/collections").json["collections"]} >= {_NAME, made.jobs[0]}
    team.ask(OLGA, "DELETE", f"/jobs/{job}")


def test_what_was_made_in_open_mode_is_the_operators(team: Team, home: Path, inputs: dict[str, Any]) -> None:
    name, sent = "made_before", team.upload(EVERYBODY, home / "imagery" / "a.tif", "before.tif")
    job = team.finished(EVERYBODY, inputs | {"resultName": name, "image": {"href": sent["href"]}})
    for person, status in ((EVERYBODY, 200), (OLGA, 200), (ANNA, 404)):
        for path in (f"/jobs/{job}", f"/collections/{name}", f"/collections/{job}"):
            assert team.get(person, path).status_code == status, (person, path)
        validated = team.ask(
            person,
            "POST",
            "/processes/classify-objects/validate",
            json={"inputs": inputs | {"image": {"href": sent["href"]}}},
        )
        assert validated.status_code == (200 if status == 200 else 400)
    assert team.ask(OLGA, "DELETE", f"/jobs/{job}").status_code == 200


def requests_of(person: Person, team: Team, inputs: Any, made: Made) -> Iterator[Any]:
    """Yield responses of all kinds to somebody who knows what another has made."""
    for rule in team.client.http.application.url_map.iter_rules():
        if "GET" in rule.methods and not rule.arguments & SCOPED:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: {**OTHERS, **COMMON}[match[1]], rule.rule)
            for query in ("", "?f=html", "?f=json"):
                yield team.get(person, path + query)
    for query in ("limit=1", "offset=1", "status=dismissed", "datetime=../..", "processID=none", "limit=x"):
        yield team.get(person, f"/jobs?{query}")
        yield team.get(person, f"/collections?{query}")
    body = {"inputs": inputs | {"resultName": _NAME}}
    yield team.ask(person, "POST", "/processes/classify-objects/validate", json=body)
    yield team.execute(person, inputs)
    yield team.get(person, f"/jobs/{team.finished(person, inputs)}")
    yield team.execute(person, inputs | {"resultName": _NAME})
    yield team.get(person, "/jobs?limit=100")
    yield team.get(person, "/collections?limit=100")


def test_nothing_of_one_person_is_in_any_answer_to_another(
    team: Team, made: Made, inputs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    known = {_NAME}  # Bela says it himself
    responses = list(requests_of(BELA, team, inputs, made))
    statuses = [response.status_code for response in responses]
    assert statuses.count(200) > 40
    assert 409 not in statuses
    for response in responses:
        text = response.text if response.mimetype.startswith(("text", "application")) else ""
        told = text + str(response.headers)
        assert not [word for word in made.words() if word not in known and word in told], response.request.path
    document = team.get(BELA, "/jobs?limit=100").json
    assert len(document["jobs"]) == 3
    assert len(document["links"]) == 2  # none to a page that others' jobs would fill
    names = {item["id"] for item in team.get(BELA, "/collections").json["collections"]}
    assert names == {_NAME, "classify-objects-a", "classify-objects-a-2"}  # no number tells of others' results
    for job in document["jobs"]:
        team.ask(BELA, "DELETE", f"/jobs/{job['jobID']}")


@pytest.mark.parametrize("operation", ["validate", "execution"])
def test_an_upload_of_another_is_a_link_that_leads_nowhere(
    team: Team, made: Made, inputs: dict[str, Any], operation: str
) -> None:
    """Together with other faults too, for which the files of a request are opened."""
    none = "0" * 32
    for more in ({}, {"cellSize": -1}):
        for form in ("image", "features"):

            def answer(upload: str, form: str = form, more: dict[str, Any] = more) -> tuple[int, str]:
                body = {"inputs": inputs | more | {form: {"href": f"upload:{upload}/{_FILE}"}}}
                response = team.ask(BELA, "POST", f"/processes/classify-objects/{operation}", json=body)
                return response.status_code, response.text.replace(upload, "*")

            assert answer(made.upload) == answer(none)
            assert answer(made.upload)[0] == 400
    own = inputs | {"image": {"href": f"upload:{made.upload}/{_FILE}"}}
    assert team.ask(OLGA, "POST", "/processes/classify-objects/validate", json={"inputs": own}).status_code == 200


def test_the_audit_has_a_line_for_each_thing(
    team: Team, made: Made, inputs: dict[str, Any], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        job = team.finished(BELA, inputs)
        team.ask(BELA, "DELETE", f"/jobs/{job}")
        team.get(BELA, f"/jobs/{made.jobs[0]}?secret=1")
        team.get(BELA, f"/collections/{made.jobs[0]}")
        team.ask(BELA, "DELETE", f"/uploads/{made.upload}")
        team.execute(BELA, inputs | {"image": {"href": "https://elsewhere.example/a.tif?key=secret"}})
        team.execute(EVERYBODY, inputs)
    lines = [record.__dict__ for record in caplog.records if record.name == LOGGER]

    def told(line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line.get(name) for name in ("msg", "person", "role", "address", "status", "reason"))

    who = ("bela", "user", "127.0.0.1")
    anothers, forbidden = ("refusal", *who, 404, "made by another"), ("refusal", *who, 403, "Forbidden")
    assert list(map(told, lines)) == [
        ("execution", *who, None, None),
        ("dismissal", *who, None, None),
        anothers,
        anothers,
        anothers,
        forbidden,
        ("execution", None, None, "127.0.0.1", None, None),
    ]
    assert [line.get("job") for line in lines[:2]] == [job, job]
    assert lines[2]["path"] == f"/jobs/{made.jobs[0]}"
    assert "secret" not in str(lines)


CARL = Person("carl", Role.USER)
PEOPLE["carl"] = CARL


def test_objects_of_a_day_are_limited_by_person(team: Team, inputs: dict[str, Any]) -> None:
    (feature,) = inputs["features"]["features"]

    def status(objects: int, is_async: bool = False) -> int:
        features = inputs["features"] | {"features": [feature | {"id": number} for number in range(objects)]}
        if is_async:
            job = team.finished(CARL, inputs | {"features": features})
            return int(team.get(CARL, f"/jobs/{job}/results").status_code)
        return int(team.execute(CARL, inputs | {"features": features}).status_code)

    assert [status(41), status(41, is_async=True), status(40)] == [429, 429, 200]
    refused = team.execute(CARL, inputs)
    assert refused.status_code == 429
    assert refused.json["type"] == "TooManyRequests"
    assert "max_objects_per_day = 40" in refused.json["detail"]
    assert team.execute(BELA, inputs).status_code == 200


def test_uploads_are_limited_by_person(team: Team, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(600_000))
    first = team.upload(CARL, tmp_path / "large", "large.tif")
    refused = team.upload(CARL, tmp_path / "large", "large.tif")
    assert (refused["status"], refused["type"]) == (413, "TooLarge")
    assert "max_uploads_mb_per_client = 1" in refused["detail"]
    assert "href" in team.upload(BELA, tmp_path / "large", "large.tif")
    assert team.ask(CARL, "DELETE", f"/uploads/{first['href'][7:39]}").status_code == 204
    assert "href" in team.upload(CARL, tmp_path / "large", "large.tif")


GUEST = Person("", Role.VIEWER)
PEOPLE["guest"] = GUEST
_PAGE = {"Accept": "text/html,application/xhtml+xml"}


def as_guest(team: Team, path: str, *, with_cookies_of: Any = None, method: str = "GET", **headers: str) -> Any:
    """Return the response to somebody without a name, in a browser of its own or in one that has been here."""
    browser = with_cookies_of or team.client.http.application.test_client()
    return browser.open(path, method=method, headers={_WHO: "guest", **headers}, buffered=True)


def path_of(href: str) -> str:
    return href.removeprefix("http://localhost")


def test_a_link_gives_reading_of_one_job_and_no_more(team: Team, made: Made) -> None:
    done, failed, _ = made.jobs
    answer = team.ask(ANNA, "POST", f"/jobs/{done}/shares")
    assert answer.status_code == 201
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Location"] == f"http://localhost/jobs/{done}/shares/{answer.json['id']}"
    secret = answer.json["href"].partition("share=")[2]
    assert len(secret) == 43
    assert as_guest(team, f"/jobs/{done}").status_code == 404
    results = f"/jobs/{done}/results"
    for path in (
        f"/jobs/{done}",
        f"/jobs/{done}/events",
        results,
        f"{results}/classifiedObjects.gpkg",
        f"/jobs/{done}/review",
        f"/jobs/{done}/map",
        f"/jobs/{done}/map/objects/0/0/0.mvt",
        f"/jobs/{done}/objects/1/chip.png",
        f"/collections/{done}",
        f"/collections/{done}/items?limit=1",
    ):
        join = "&" if "?" in path else "?"
        shared = as_guest(team, f"{path}{join}share={secret}")
        assert shared.status_code == 200, (path, shared.text)
        assert shared.headers["Referrer-Policy"] == "no-referrer"
        assert "private" in shared.headers["Cache-Control"] or "no-store" in shared.headers["Cache-Control"]
        assert as_guest(team, f"{path}{join}share={secret[::-1]}").status_code in (400, 404), path
    for path in (f"/jobs/{failed}", f"/collections/{_NAME}", f"/uploads/{made.upload}", f"/jobs/{done}/shares"):
        assert as_guest(team, f"{path}?share={secret}").status_code == 404, path
    assert "request" in team.get(ANNA, f"/jobs/{done}").json
    for path in (f"/jobs/{done}", f"/jobs/{done}?f=html", f"/jobs/{done}/events", f"/jobs/{done}/map", results):
        shared = as_guest(team, f"{path}{'&' if '?' in path else '?'}share={secret}").text
        assert not [word for word in (made.upload, _FILE, ANNA.name, '"request"') if word in shared], path
    for path in ("/jobs", "/collections"):
        assert done not in as_guest(team, f"{path}?share={secret}").text
    for method, path in (("DELETE", f"/jobs/{done}"), ("POST", f"/jobs/{done}/shares")):
        assert as_guest(team, f"{path}?share={secret}", method=method).status_code == 404
    assert team.get(BELA, f"/jobs/{done}/shares").status_code == 404
    assert team.get(ANNA, f"/jobs/{done}/shares").json == {
        "shares": [{name: answer.json[name] for name in ("id", "created")}]
    }
    assert team.ask(BELA, "DELETE", path_of(answer.headers["Location"])).status_code == 404
    assert team.ask(ANNA, "DELETE", path_of(answer.headers["Location"])).status_code == 204
    assert team.ask(ANNA, "DELETE", path_of(answer.headers["Location"])).status_code == 404
    assert as_guest(team, f"/jobs/{done}?share={secret}").status_code == 404


def test_a_browser_goes_on_without_the_secret_in_its_address(team: Team, made: Made) -> None:
    done = made.jobs[0]
    link = team.ask(ANNA, "POST", f"/jobs/{done}/shares").json
    browser = team.client.http.application.test_client()
    first = as_guest(team, path_of(link["href"]) + "&f=html", with_cookies_of=browser, **_PAGE)
    assert first.status_code == 303
    assert first.headers["Location"] == f"{done}?f=html"
    cookies = first.headers.getlist("Set-Cookie")
    assert sorted(re.findall(r"Path=([^;]*)", " ".join(cookies))) == [f"/collections/{done}", f"/jobs/{done}"]
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies)
    page = as_guest(team, f"/jobs/{done}?f=html", with_cookies_of=browser, **_PAGE)
    assert page.status_code == 200
    again = as_guest(team, path_of(link["href"]).replace("?", "/?"), **_PAGE)
    assert (again.status_code, again.headers["Location"]) == (303, ".")  # which ends, and leads to the same page
    assert as_guest(team, f"/jobs/{done}/", with_cookies_of=browser, **_PAGE).status_code == 200
    assert 'id="shares"' not in page.text  # who follows a link cannot share it further, nor delete anything
    assert re.search(r'name="dismiss"[^>]* hidden disabled', page.text)
    results = as_guest(team, f"/jobs/{done}/results?f=html", with_cookies_of=browser, **_PAGE)
    assert f"/collections/{done}?f=html" in results.text
    assert as_guest(team, f"/collections/{done}?f=html", with_cookies_of=browser, **_PAGE).status_code == 200
    assert as_guest(team, f"/jobs/{made.jobs[1]}", with_cookies_of=browser).status_code == 404
    for path in (f"/jobs/{done}?f=html", f"/jobs/{done}/results?f=html"):
        assert 'id="shares"' in team.get(ANNA, path).text
    team.ask(ANNA, "DELETE", f"/jobs/{done}/shares/{link['id']}")
    assert as_guest(team, f"/jobs/{done}", with_cookies_of=browser).status_code == 404


def test_links_end_with_the_job_and_no_log_has_them(
    team: Team, inputs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        job = team.finished(ANNA, inputs)
        href = team.ask(ANNA, "POST", f"/jobs/{job}/shares").json["href"]
        assert as_guest(team, path_of(href)).status_code == 200
        assert team.ask(ANNA, "DELETE", f"/jobs/{job}").status_code == 200
        assert as_guest(team, path_of(href)).status_code == 404
        assert team.get(ANNA, f"/jobs/{job}/shares").json == {"shares": []}
        assert team.ask(ANNA, "POST", f"/jobs/{job}/shares").status_code == 410
    secret = href.partition("share=")[2]
    assert [record.msg for record in caplog.records if record.name == LOGGER] == [
        "execution",
        "share",
        "dismissal",
        "refusal",
    ]
    assert not [record for record in caplog.records if secret in str(record.__dict__)]


DORA = Person("dora", Role.USER)
PEOPLE["dora"] = DORA


def test_what_was_sent_and_is_gone_is_named_to_nobody(team: Team, home: Path, inputs: dict[str, Any]) -> None:
    sent = team.upload(DORA, home / "imagery" / "a.tif", _FILE)
    job = team.finished(DORA, inputs | {"image": {"href": sent["href"]}})
    secret = team.ask(DORA, "POST", f"/jobs/{job}/shares").json["href"].partition("share=")[2]
    upload = sent["href"].removeprefix("upload:").partition("/")[0]
    assert team.ask(DORA, "DELETE", f"/uploads/{upload}").status_code == 204
    chip = as_guest(team, f"/jobs/{job}/objects/1/chip.png?share={secret}")
    assert chip.status_code == 410
    for told in (chip.json["detail"], as_guest(team, f"/jobs/{job}/map?share={secret}").json["problem"]):
        assert "was removed" in told
        assert upload not in told
    team.ask(DORA, "DELETE", f"/jobs/{job}")


@pytest.mark.parametrize("end", ["dismissed", "expired", "dismissed after a failure"])
def test_what_is_over_leaves_nothing(team: Team, home: Path, inputs: dict[str, Any], end: str) -> None:
    """No file of the state folder has the job's id, and no row of the store but that of the job itself."""
    intake = team.client.intake
    if end == "dismissed after a failure":
        job = team.finished(ANNA, inputs | {"image": link(home / "imagery" / "broken.tif")})
    else:
        job = team.finished(ANNA, inputs | {"resultName": "of_short_life"})
        for name in (
            "results/classifiedObjects.gpkg",
            "map/objects/0/0/0.mvt",
            "objects/1/chip.png",
            "results/style.qml",
        ):
            assert team.get(ANNA, f"/jobs/{job}/{name}").status_code == 200, name
        assert team.get(ANNA, "/collections/of_short_life/items?bbox=0,0,90,90").status_code == 200
        assert list(intake.settings.state.rglob(f"*{job}*"))
    assert team.ask(ANNA, "POST", f"/jobs/{job}/shares").status_code == 201
    with intake.database.write() as connection:
        subscriber = '{"success_uri":"https://example.org/secret","in_progress_uri":null,"failed_uri":null}'
        changed = {"subscriber": subscriber} | ({"finished": 1.0} if end == "expired" else {})
        connection.execute(tables.job.update().where(tables.job.c.id == job).values(changed))
        told = {"job": job, "event": "success", "url": "https://example.org/secret", "due": 1e11}
        connection.execute(tables.callback.insert().values(told))
    if end == "expired":
        RunnerStore(intake.database, "another").expire(20_000)  # results go, records stay
    else:
        assert team.ask(ANNA, "DELETE", f"/jobs/{job}").status_code == 200
    row, until = tables.job.select().where(tables.job.c.id == job), time.monotonic() + 20
    left: Any = {"has_files": True}
    while left["has_files"]:
        assert time.monotonic() < until
        time.sleep(0.05)
        with intake.database.read() as connection:
            left = connection.execute(row).mappings().one()
    assert not list(intake.settings.state.rglob(f"*{job}*"))
    assert not [path for path in (intake.settings.state / "forms").iterdir() if path.is_dir()]
    assert (left["result"], left["result_name"], left["subscriber"]) == (None, None, None)
    with intake.database.read() as connection:
        for table in (tables.request, tables.section, tables.share, tables.callback):
            assert connection.execute(table.select().where(table.c.job == job)).first() is None, table.name
    assert "request" not in team.get(ANNA, f"/jobs/{job}").json
    assert team.get(ANNA, f"/jobs/{job}/results").status_code == 410
