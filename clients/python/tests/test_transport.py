"""What is tried again, and to whom headers go, with a server that answers as it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Serve
from ogc_processes import NoAnswer, RequestRefused, Service, UnexpectedAnswer, transport


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.01)


CONFORMANCE = (200, {"Content-Type": "application/json"}, b'{"conformsTo": ["a"]}')
DESCRIPTION = (200, {"Content-Type": "application/json"}, b'{"id": "p"}')
BUSY = (503, {"Retry-After": "0"}, b"")


@pytest.mark.parametrize("document", ['{"processes": null}', '{"links": null}', '{"processes": [], "links": null}'])
def test_null_is_nothing(serve: Serve, tmp_path: Path, document: str) -> None:
    answer = (200, {"Content-Type": "application/json"}, document.encode())
    (tmp_path / "a.txt").write_text("a")
    server = serve(answer, answer, DESCRIPTION, answer, (200, {"Content-Type": "text/plain"}, b"done"))
    with Service(server.url) as service:
        assert service.processes == {}
        assert list(service.jobs()) == []
        assert service.process("p").execute({"file": tmp_path / "a.txt"}).result().text() == "done"


def test_a_get_is_tried_again(serve: Serve) -> None:
    server = serve(BUSY, (502, {}, b""), CONFORMANCE)
    with Service(server.url) as service:
        assert service.conformance == ["a"]
    assert len(server.asked) == 3


def test_a_get_is_given_up_in_the_end(serve: Serve) -> None:
    server = serve(*[BUSY] * transport.TRIES)
    with Service(server.url) as service, pytest.raises(RequestRefused, match="503"):
        _ = service.conformance
    assert len(server.asked) == transport.TRIES


def test_a_post_is_sent_once(serve: Serve) -> None:
    server = serve(DESCRIPTION, BUSY, DESCRIPTION)
    with Service(server.url) as service, pytest.raises(RequestRefused, match="503"):
        service.process("p").execute({})
    assert [method for method, _, _ in server.asked] == ["GET", "POST"]


def test_the_token_goes_to_its_server_only(serve: Serve) -> None:
    other = serve(CONFORMANCE)
    server = serve((302, {"Location": f"{other.url}/conformance"}, b""))
    with Service(server.url, token="secret", headers={"X-Key": "secret"}) as service:  # noqa: S106
        assert service.conformance == ["a"]
    (asked,), (asked_of_other,) = server.asked, other.asked
    assert asked[1] == "/api/conformance"
    assert (asked[2]["authorization"], asked[2]["x-key"]) == ("Bearer secret", "secret")
    assert "secret" not in str(asked_of_other)


def test_what_is_no_json_is_told(serve: Serve) -> None:
    server = serve((200, {"Content-Type": "text/html"}, b"<html>"))
    with Service(server.url) as service, pytest.raises(UnexpectedAnswer, match="something else than JSON"):
        _ = service.conformance


def test_a_server_that_is_not_there_is_told(serve: Serve) -> None:
    server = serve()
    server.stop()
    with Service(server.url) as service, pytest.raises(NoAnswer, match="conformance"):
        _ = service.conformance


def test_a_download_that_breaks_off_is_no_result(serve: Serve) -> None:
    accepted = (201, {"Location": "jobs/1"}, b"")
    done = (200, {"Content-Type": "application/json"}, b'{"jobID": "1", "status": "successful"}')
    server = serve(
        (200, {}, b'{"id": "p", "jobControlOptions": ["async-execute"]}'),
        accepted,
        done,
        (200, {"Content-Length": "100"}, b"half"),
    )
    with Service(server.url) as service:
        job = service.process("p").execute({}, wait=True)
        with pytest.raises(NoAnswer, match="broke off"):
            job.result().read()


def test_a_server_that_asks_for_a_pause_gets_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ogc_processes.job.time.sleep", pauses.append)
    running = b'{"jobID": "1", "status": "running"}'
    server = serve(
        (200, {}, b'{"jobID": "1", "status": "accepted"}'),
        (200, {"Retry-After": "7"}, running),
        (200, {}, running),
        (200, {}, b'{"jobID": "1", "status": "successful"}'),
    )
    with Service(server.url) as service:
        assert service.job("1").wait().status == "successful"
    assert pauses[1] == 7
    assert pauses[0] < pauses[2] < 1
