"""Sixteen clients that do all that clients do, at the same time, each by its own dice."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from jobs_service import Reply, Service

CLIENTS = 16
WEB_WORKERS = 4
LIMITS = {"max_waiting_jobs": 5000, "max_waiting_jobs_per_client": 5000}
"""Of the service that they ask."""
STATUSES = {
    "sync": {200}, "async": {201}, "status": {200}, "list": {200}, "dismiss": {200}, "results": {200, 404},
}  # fmt: skip
"""What each request may be answered with."""


@dataclass
class Load:
    """What came of a load."""

    counts: Counter[tuple[str, int | str]] = field(default_factory=Counter)
    """Answers by kind of request and status, or error."""
    times_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of each kind of request."""
    errors: set[bytes] = field(default_factory=set)
    """Beginnings of answers that no client should get."""

    def ask(self, name: str, request: Callable[[], Reply]) -> Reply | None:
        """Send a request and enter its answer; None = there was none."""
        start_s = time.monotonic()
        try:
            reply = request()
        except OSError as err:
            self.counts[name, repr(err)] += 1
            return None
        self.counts[name, reply.status] += 1
        if reply.status not in STATUSES[name]:
            self.errors.add(reply.body[:300])
        self.times_s[name].append(time.monotonic() - start_s)
        return reply

    def unexpected(self) -> set[tuple[str, int | str]]:
        """Return answers that no client should get."""
        return {key for key in self.counts if key[1] not in STATUSES[key[0]]}


def mixed_load(service: Service, seconds: float, seed: int = 0) -> Load:
    """Let sixteen clients ask for a while.

    Args:
        service: that they ask.
        seconds: for which they do.
        seed: of their dice.
    """
    load, deadline = Load(), time.monotonic() + seconds
    dice = [random.Random(CLIENTS * seed + number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=_ask_on, args=(service, load, die, deadline)) for die in dice]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load


def _ask_on(service: Service, load: Load, dice: random.Random, deadline: float) -> None:
    """Be one client until a time of the monotonic clock."""
    jobs: list[str] = []
    while time.monotonic() < deadline:
        match dice.choice(("sync", "async", "status", "status", "list", "dismiss", "results")):
            case "sync":
                load.ask("sync", lambda: service.execute(service.inputs(dice.randint(1, 50))))
            case "async":
                inputs = service.inputs(dice.choice((1, 10, 200)), "slow")
                reply = load.ask("async", partial(service.execute, inputs, "respond-async"))
                if reply is not None and reply.status == 201:
                    jobs.append(reply.json["jobID"])
            case "status" if jobs:
                load.ask("status", lambda: service.get(f"/jobs/{dice.choice(jobs)}"))
            case "results" if jobs:
                load.ask("results", lambda: service.get(f"/jobs/{dice.choice(jobs)}/results"))
            case "list":
                load.ask("list", lambda: service.get(f"/jobs?limit={dice.randint(1, 50)}"))
            case "dismiss" if len(jobs) > 3:
                job = jobs.pop(dice.randrange(len(jobs)))
                load.ask("dismiss", partial(service.request, "DELETE", f"/jobs/{job}"))
            case _:
                time.sleep(0.01)


def p95(values: Iterable[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
