"""Requests and their answers: addresses, time limits, what is tried again, and which answers are errors."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from ogc_processes.errors import NoAnswer, RequestRefused, UnexpectedAnswer

TRIES = 5
"""How often a GET is sent, the first time included."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
TRANSIENT = frozenset({429, 502, 503, 504})
"""Statuses of errors that may be gone at the next try."""
_LARGEST_PROBLEM_BYTES = 1_000_000
_MOST_REDIRECTS = 10


class Transport:
    """Sends requests to one server.

    A GET that fails for a moment is tried again, later each time; nothing else is, as it might be done twice.

    Args:
        url: base URL of the server.
        client: httpx's; it is closed with this.
        headers: are sent to this server, and to no other one that it links to.
    """

    def __init__(self, url: str, client: httpx.Client, headers: Mapping[str, str]) -> None:
        self.url = httpx.URL(url.rstrip("/") + "/")
        self._client = client
        self._headers = dict(headers)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def address(self, path: str) -> str:
        """Return the address of a path below the base URL; of an absolute URL itself."""
        return str(self.url.join(path))

    def get_json(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at a path or address.

        Args:
            path: below the base URL, or an address.
            params: of the query.
        """
        answer = self.get(path, params)
        return json_object(answer)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        """Return the answer of a path or address, as JSON if the server has a choice.

        Args:
            path: below the base URL, or an address.
            params: of the query.
        """
        with self.stream(path, params, {"Accept": "application/json"}) as answer:
            read(answer)
            return answer

    @contextmanager
    def stream(
        self, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """Give the answer of a path or address whose body has not been read.

        Args:
            path: below the base URL, or an address.
            params: of the query.
            headers: beside those of all requests.
        """
        pause_s = FIRST_PAUSE_S
        for number in range(1, TRIES + 1):
            try:
                answer = self._send("GET", path, params=params, headers=headers)
            except NoAnswer:
                if number == TRIES:
                    raise
                time.sleep(pause_s)
            else:
                if answer.status_code not in TRANSIENT or number == TRIES:
                    break
                answer.close()
                time.sleep(min(retry_after_s(answer) or pause_s, LONGEST_PAUSE_S))
            pause_s *= 2
        try:
            raise_for_problem(answer)
            yield answer
        finally:
            answer.close()

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request once, and return the whole answer.

        Args:
            method: of HTTP.
            path: below the base URL, or an address.
            more: further arguments of httpx: `json`, `content`, `headers`.
        """
        answer = self._send(method, path, **more)
        try:
            raise_for_problem(answer)
            return read(answer)
        finally:
            answer.close()

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        address = httpx.URL(self.address(path))
        for _ in range(_MOST_REDIRECTS):
            own = self._headers if _origin(address) == _origin(self.url) else {}
            request = self._client.build_request(method, address, headers={**own, **(headers or {})}, **more)
            try:
                answer = self._client.send(request, stream=True)
            except httpx.TransportError as err:
                raise NoAnswer(f"{method} {address}: {err or type(err).__name__}") from err
            if method != "GET" or answer.next_request is None:
                return answer
            answer.close()
            address, more = answer.next_request.url, {}
        raise UnexpectedAnswer(f"{path} leads from one address to the next without end")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def read(answer: httpx.Response) -> httpx.Response:
    """Read the body of an answer, and return the answer."""
    try:
        answer.read()
    except httpx.TransportError as err:
        raise NoAnswer(f"{answer.url}: the answer broke off: {err or type(err).__name__}") from err
    return answer


def raise_for_problem(answer: httpx.Response) -> None:
    """Raise what is wrong where an answer is an error."""
    if answer.status_code < 400:
        return
    is_small = int(answer.headers.get("content-length", 0)) <= _LARGEST_PROBLEM_BYTES
    problem = None
    if is_small and "json" in answer.headers.get("content-type", ""):
        with suppress(ValueError):  # the status says enough
            problem = read(answer).json()
    raise RequestRefused(answer.status_code, problem if isinstance(problem, dict) else None)


def json_object(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object that an answer is."""
    try:
        value = answer.json()
    except ValueError as err:
        raise UnexpectedAnswer(f"{answer.url} answered with something else than JSON") from err
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"{answer.url} answered with something else than a JSON object")
    return value


def retry_after_s(answer: httpx.Response) -> float | None:
    """Return the seconds that an answer asks to wait for; None = it does not say."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
