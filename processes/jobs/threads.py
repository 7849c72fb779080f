"""Threads for what blocks. Each kind has its own, so that none waits for others that hang."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_LEASE_THREADS, _STORE_THREADS, _FILE_THREADS = 1, 8, 4


class Threads:
    """Runs what blocks in threads."""

    def __init__(self) -> None:
        self._leases = ThreadPoolExecutor(_LEASE_THREADS, "lease")
        self._store = ThreadPoolExecutor(_STORE_THREADS, "store")
        self._files = ThreadPoolExecutor(_FILE_THREADS, "files")

    async def renew[**P, T](self, action: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Renew leases: what else there is to do must not delay it, or other runners take the jobs over."""
        return await _run(self._leases, lambda: action(*args, **options))

    async def store[**P, T](self, action: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Ask the job store."""
        return await _run(self._store, lambda: action(*args, **options))

    async def files[**P, T](self, action: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Work on files of jobs; an object store may hang."""
        return await _run(self._files, lambda: action(*args, **options))

    def close(self) -> None:
        """Begin nothing more."""
        for executor in (self._leases, self._store, self._files):
            executor.shutdown(wait=False, cancel_futures=True)


async def _run[T](executor: ThreadPoolExecutor, action: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, action)
