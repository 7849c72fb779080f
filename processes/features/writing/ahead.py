"""One batch ahead: the next one is prepared while the one before is written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def one_ahead[T](items: Iterator[T]) -> Iterator[T]:
    """Yield items, each made in another thread while the one before is used; an error comes where its item would.

    The first one is made in the caller's thread: nothing goes on beside it, and PROJ takes 6 ms to begin in a thread.
    """
    first = next(items, None)
    if first is None:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        following = pool.submit(next, items, None)
        yield first
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
