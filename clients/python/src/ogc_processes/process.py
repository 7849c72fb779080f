"""Processes: what they take, and their execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from ogc_processes.errors import UnexpectedAnswer
from ogc_processes.inputs import to_json
from ogc_processes.job import Job
from ogc_processes.result import Result
from ogc_processes.transport import Transport, json_object


class Process:
    """A process of a server; `Service.process` makes one.

    Args:
        transport: to the server.
        process_id: id of the process.
        upload: sends a file to the server and returns a link to it; None = the server takes no uploads.
    """

    def __init__(self, transport: Transport, process_id: str, upload: Callable[[Path], str | None]) -> None:
        self._transport = transport
        self._upload = upload
        self.id = process_id
        self.description = transport.get_json(f"processes/{process_id}")
        """The server's description of it."""

    def __repr__(self) -> str:
        return f"<Process {self.id}: {self.title}>"

    @property
    def title(self) -> str:
        """What it is called."""
        return str(self.description.get("title", self.id))

    @property
    def inputs(self) -> dict[str, Any]:
        """Descriptions of its inputs by name."""
        return dict(self.description.get("inputs") or {})

    @property
    def outputs(self) -> dict[str, Any]:
        """Descriptions of its outputs by name."""
        return dict(self.description.get("outputs") or {})

    @property
    def is_async(self) -> bool:
        """Whether its description says that it can be executed as a job that goes on by itself."""
        return "async-execute" in (self.description.get("jobControlOptions") or ())

    def execute(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        outputs: Mapping[str, Any] | None = None,
        wait: bool | float = False,
        progress: bool | None = None,
        **members: Any,
    ) -> Job:
        """Execute it, as a job where the server has jobs, and return the job.

        Args:
            inputs: values by name. A `pathlib.Path` is a local file: it is uploaded where the server takes uploads,
                else sent within the request. A GeoDataFrame is sent as GeoJSON.
            outputs: what is wanted of each output, such as `{"out": {"format": {"mediaType": "text/csv"}}}`.
            wait: False = return at once; True = until it has ended; a number = so many seconds at most.
            progress: whether a bar shows how it goes while it is waited for; None = as `Job.wait`.
            members: further members of the request, such as `response="document"` or `subscriber={…}`.

        Raises:
            RequestRefused: something is wrong with the request; its `faults` say what, and where.
            JobFailed, JobDismissed: it was waited for, in vain.
        """
        job = self._submit(self._body(inputs, outputs, members))
        if wait is False or job.has_ended:
            return job
        if wait is True:
            return job.wait(progress=progress)
        try:
            return job.wait(wait, progress=progress)
        except TimeoutError:
            return job

    def validate(self, inputs: Mapping[str, Any], **members: Any) -> dict[str, Any]:
        """Return what a request comes to, without its execution. Few servers have that.

        Args:
            inputs: as of `execute`.
            members: further members of the request.
        """
        body = self._body(inputs, None, members)
        return json_object(self._transport.send("POST", f"processes/{self.id}/validate", json=body))

    def _body(
        self, inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None, members: Mapping[str, Any]
    ) -> dict[str, Any]:
        body = {"inputs": {name: to_json(value, self._upload) for name, value in (inputs or {}).items()}, **members}
        return body if outputs is None else {**body, "outputs": dict(outputs)}

    def _submit(self, body: Mapping[str, Any]) -> Job:
        says_nothing = not self.description.get("jobControlOptions")  # then it may have jobs, and need not mind
        headers = {"Prefer": "respond-async"} if self.is_async or says_nothing else {}
        answer = self._transport.send("POST", f"processes/{self.id}/execution", json=body, headers=headers)
        location = answer.headers.get("location")
        if answer.status_code in (201, 202) and (location or answer.content):
            return self._accepted(answer, location)
        return self._finished(answer)

    def _accepted(self, answer: httpx.Response, location: str | None) -> Job:
        info = json_object(answer) if answer.content and "json" in answer.headers.get("content-type", "") else {}
        if location is None and not info.get("jobID"):
            raise UnexpectedAnswer("the server has accepted a job, and does not say which")
        address = location or f"jobs/{info['jobID']}"
        job_id = address.rstrip("/").rpartition("/")[2]
        known = {"jobID": job_id, "processID": self.id, "status": "accepted"}
        return Job(self._transport, known | info, self._transport.address(address))

    def _finished(self, answer: httpx.Response) -> Job:
        """Return the job of an answer that is its result."""
        monitor = answer.links.get("monitor", {}).get("url")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        is_here = answer.status_code != 204  # else it is at the job, as a link
        result = Result(media_type, answer.content, None, self._transport) if is_here else None
        info = {"processID": self.id, "status": "successful", "progress": 100}
        if monitor is None:
            return Job(self._transport, info, None, result)
        job_id = monitor.rstrip("/").rpartition("/")[2]
        return Job(self._transport, {"jobID": job_id, **info}, self._transport.address(monitor), result)
