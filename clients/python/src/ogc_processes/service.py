"""A server of OGC API - Processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from ogc_processes.errors import ProcessesError, RequestRefused
from ogc_processes.inputs import media_type
from ogc_processes.job import Job
from ogc_processes.process import Process
from ogc_processes.transport import Transport, json_object

_TAKES_NO_UPLOADS = (403, 404, 405)


class Service:
    """A server of OGC API - Processes.

        with Service("http://127.0.0.1:5000") as service:
            print(service.processes)

    Args:
        url: base URL, that of the landing page.
        token: is sent as `Authorization: Bearer …`, to this server only.
        headers: are sent with each request, to this server only.
        timeout_s: seconds without a byte after which an answer is given up. A synchronous execution has to answer in
            this time.
        client: httpx's own, for proxies, certificates and such; None = a plain one.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
        client: httpx.Client | None = None,
    ) -> None:
        sent = dict(headers or {}) | ({} if token is None else {"Authorization": f"Bearer {token}"})
        self._transport = Transport(url, client or httpx.Client(timeout=timeout_s), sent)
        self._takes_uploads: bool | None = None

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Service {self._transport.url}>"

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    @property
    def conformance(self) -> list[str]:
        """URIs of what the server conforms to."""
        return [str(item) for item in self._transport.get_json("conformance").get("conformsTo", ())]

    @property
    def processes(self) -> dict[str, str]:
        """Titles of all processes by their ids."""
        return {str(item["id"]): str(item.get("title", "")) for item in self._pages("processes", "processes", {})}

    def process(self, process_id: str) -> Process:
        """Return a process with its description.

        Raises:
            RequestRefused: there is no such process; its status is 404.
        """
        return Process(self._transport, quote(process_id, safe=""), self._upload)

    def job(self, job_id: str) -> Job:
        """Return a job by its id, in whatever program it was begun.

        Raises:
            RequestRefused: there is no such job; its status is 404 or 410.
        """
        path = f"jobs/{quote(job_id, safe='')}"
        return Job(self._transport, self._transport.get_json(path), self._transport.address(path))

    def jobs(self, *, process: str | None = None, status: str | None = None, limit: int | None = None) -> Iterator[Job]:
        """Yield the jobs of the server, in its order, a page at a time.

        Args:
            process: id of their process; None = of all.
            status: that they have; None = any.
            limit: at most so many; None = all.
        """
        wanted = {"processID": process, "status": status}
        params = {name: value for name, value in wanted.items() if value is not None}
        number = 0
        for info in self._pages("jobs", "jobs", params):
            # servers need not know the parameters
            if (process or info.get("processID")) != info.get("processID") or (status or info["status"]) != info[
                "status"
            ]:
                continue
            if number == limit:
                return
            number += 1
            path = f"jobs/{quote(str(info.get('jobID', info.get('id'))), safe='')}"
            yield Job(self._transport, info, self._transport.address(path))

    def upload(self, path: Path) -> str:
        """Send a file, and return the link that inputs take.

        Args:
            path: of the file; it is read in parts.

        Raises:
            RequestRefused: the server takes no uploads, or not this one.
        """
        size = path.stat().st_size
        headers = {
            "Content-Type": media_type(path),
            "Content-Length": str(size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}",
        }
        with path.open("rb") as file:
            answer = self._transport.send("POST", "uploads", content=file, headers=headers)
        return str(json_object(answer)["href"])

    def _upload(self, path: Path) -> str | None:
        """Send a file, and return its link; None = the server takes no uploads."""
        if self._takes_uploads is None:
            self._takes_uploads = self._offers_uploads()
        if not self._takes_uploads:
            return None
        try:
            return self.upload(path)
        except RequestRefused as err:
            if err.status not in _TAKES_NO_UPLOADS:
                raise
        self._takes_uploads = False
        return None

    def _offers_uploads(self) -> bool:
        """Return whether the server's OpenAPI document has the path of uploads."""
        try:
            links = self._transport.get_json("").get("links") or ()
            found = [str(link["href"]) for link in links if link.get("rel") == "service-desc"]
            return any("/uploads" in self._transport.get_json(href).get("paths", {}) for href in found[:1])
        except (ProcessesError, KeyError):
            return False

    def _pages(self, path: str, member: str, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list that has pages."""
        seen = set()
        page = self._transport.get_json(path, params)
        while True:
            yield from page.get(member) or ()
            following = [link["href"] for link in page.get("links") or () if link.get("rel") == "next"]
            if not following or following[0] in seen:
                return
            seen.add(following[0])
            page = self._transport.get_json(following[0])
