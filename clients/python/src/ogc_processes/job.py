"""Jobs: how they go, and their results."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from ogc_processes.errors import JobDismissed, JobFailed, RequestRefused, WaitTimeout
from ogc_processes.progress import shown
from ogc_processes.result import Result
from ogc_processes.transport import Transport, json_object, retry_after_s

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
GROWTH = 1.4
ENDED = frozenset({"successful", "failed", "dismissed"})


class Job:
    """A job of a process. `Process.execute` makes one; `Service.job` finds one again.

    Args:
        transport: to its server.
        info: the server's status document.
        address: of the job; None = the answer was its result, and the server tells of no job.
        result: its result, where the answer was that.
    """

    def __init__(
        self, transport: Transport, info: Mapping[str, Any], address: str | None, result: Result | None = None
    ) -> None:
        self._transport = transport
        self._address = address
        self._result = result
        self._retry_after_s: float | None = None
        self._process_id = str(info.get("processID") or "")  # not every status document has it
        self.info: dict[str, Any] = dict(info)
        """The server's status document as it was read last."""

    def __repr__(self) -> str:
        progress = "" if self.progress is None else f", {self.progress} %"
        return f"<Job {self.id or 'without id'} of {self.process_id or 'a process'}: {self.status}{progress}>"

    @property
    def id(self) -> str:
        """By which `Service.job` finds it again; empty if the server keeps no job of it."""
        return str(self.info.get("jobID", self.info.get("id", "")))

    @property
    def process_id(self) -> str:
        """Id of its process; empty if the server does not say."""
        return str(self.info.get("processID") or self._process_id)

    @property
    def status(self) -> str:
        """accepted, running, successful, failed or dismissed, as it was read last."""
        return str(self.info.get("status", "accepted"))

    @property
    def has_ended(self) -> bool:
        """Whether it was successful, failed or dismissed when it was read last."""
        return self.status in ENDED

    @property
    def progress(self) -> int | None:
        """What is done, in percent; None = the server does not say."""
        value = self.info.get("progress")
        return int(value) if isinstance(value, int | float) else None

    @property
    def message(self) -> str:
        """How it goes, in the server's words."""
        return str(self.info.get("message") or "")

    def refresh(self) -> Job:
        """Ask the server how it goes, and return the job."""
        if self._address is not None and not self.has_ended:
            answer = self._transport.get(self._address)
            self._retry_after_s = retry_after_s(answer)
            self.info = json_object(answer)
        return self

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Job:
        """Wait until it has ended, and return the job.

        The server is asked often at first, then less often; a `Retry-After` of its answers is kept.

        Args:
            timeout_s: None = for as long as it takes.
            progress: whether a bar shows how it goes; None = if tqdm is there, in a terminal and in a notebook.

        Raises:
            JobFailed: it failed.
            JobDismissed: it was dismissed.
            WaitTimeout: it has not ended in this time, and goes on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = FIRST_PAUSE_S
        with shown(self.process_id or self.id, progress) as move:
            while True:
                move(self.progress, self.message)
                if self.has_ended:
                    break
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise WaitTimeout(f"job {self.id} is {self.status} after {timeout_s} s, and goes on")
                next_s = self._retry_after_s or pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
                time.sleep(next_s if left_s is None else min(next_s, left_s))
                pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
                self.refresh()
        self._raise_if_unsuccessful()
        return self

    def cancel(self) -> Job:
        """Stop it, or delete its result if it has ended, and return the job."""
        if self._address is not None:
            answer = self._transport.send("DELETE", self._address)
            found = json_object(answer) if answer.content else {}
            self.info |= {**found, "status": "dismissed"}
            self._result = None
        return self

    def result(self, output: str | None = None) -> Result:
        """Return its result, for which it must have ended.

        Nothing is downloaded before the result is asked for its bytes, its JSON, its GeoDataFrame or to be saved.

        Args:
            output: one output of a results document; None = all that the server gives.

        Raises:
            JobFailed: it failed.
            JobDismissed: it was dismissed.
            WaitTimeout: it has not ended; call `wait` first.
        """
        if not self.refresh().has_ended:
            raise WaitTimeout(f"job {self.id} is {self.status}; wait() until it has ended")
        self._raise_if_unsuccessful()
        whole = self._result or Result("", None, self._results_address(), self._transport)
        if output is None:
            return whole
        outputs = whole.outputs()
        if output not in outputs:
            raise KeyError(f"the results have no output {output!r}; they have {', '.join(sorted(outputs))}")
        return outputs[output]

    def _results_address(self) -> str:
        links = self.info.get("links") or []
        found = (link.get("href") for link in links if "results" in str(link.get("rel", "")).rsplit("/", 1)[-1])
        ours = (href for href in found if isinstance(href, str) and "f=html" not in href)
        return self._transport.address(next(ours, f"{(self._address or '').rstrip('/')}/results"))

    def _raise_if_unsuccessful(self) -> None:
        if self.status == "dismissed":
            raise JobDismissed(f"job {self.id} was dismissed")
        if self.status == "failed":
            problem = self.info.get("exception")
            raise JobFailed(self.id, self.message, problem if isinstance(problem, dict) else self._problem())

    def _problem(self) -> Mapping[str, Any]:
        """Return the error that stands in the place of the results."""
        try:
            self._transport.get(self._results_address())
        except RequestRefused as err:
            return err.problem
        return {}
