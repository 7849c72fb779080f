"""EndWatch: many wait, one looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from processes.errors import UnavailableError
from processes.jobs.end_watch import EndWatch


class Store:
    """Knows which jobs have ended, and how often it was asked."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.looks: list[set[str]] = []
        self.error: Exception | None = None
        self.threads: set[int] = set()

    def look(self, job_ids: Collection[str]) -> Collection[str]:
        self.looks.append(set(job_ids))
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return self.ended & set(job_ids)


def test_all_who_wait_share_the_looks() -> None:
    store = Store()
    watch, jobs = EndWatch(store.look), [f"job{number}" for number in range(20)]
    ready = threading.Barrier(len(jobs) + 1)

    def wait(job: str) -> float:
        with watch.watched(job) as has_ended:
            ready.wait()
            assert has_ended.wait(20)
            return time.monotonic()

    with ThreadPoolExecutor(len(jobs)) as pool:
        waits = [pool.submit(wait, job) for job in jobs]
        ready.wait()
        begun_s, looks = time.monotonic(), len(store.looks)
        while len(store.looks) < looks + 3:
            time.sleep(0.001)
        passed_s, passed = time.monotonic() - begun_s, len(store.looks) - looks
        assert not any(item.done() for item in waits)
        assert store.looks[-1] == set(jobs)
        assert passed < 3 + passed_s / 0.005
        store.ended |= set(jobs[:10])
        assert all(item.result(20) for item in waits[:10])
        while store.looks[-1] != set(jobs[10:]):
            time.sleep(0.001)
        store.ended |= set(jobs[10:])
    assert len(store.threads) == 1


def test_two_wait_for_the_same_job() -> None:
    store = Store()
    watch = EndWatch(store.look)
    with watch.watched("job") as first:
        with watch.watched("job") as second:
            assert not second.wait(0.05)
        store.ended.add("job")
        assert first.wait(20)


def test_a_store_that_fails_is_asked_again() -> None:
    store = Store()
    watch = EndWatch(store.look)
    for error in (UnavailableError("the job store does not answer"), ValueError("a fault of ours")):
        store.error = error
        with watch.watched("job") as has_ended:
            while len(store.looks) < 3:
                time.sleep(0.001)
            assert not has_ended.is_set()
            assert watch.silent_s() > 0
            store.error, store.ended = None, {"job"}
            assert has_ended.wait(20)
        assert watch.silent_s() < 20
        store.ended, store.looks = set(), []
