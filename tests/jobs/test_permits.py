"""Permits to wait: how many there are, and who gets the last ones."""

from __future__ import annotations

from contextlib import ExitStack

from processes.jobs.permits import Permits


def test_one_client_never_holds_all() -> None:
    permits = Permits(8)
    with ExitStack() as held:

        def asks(client: str, times: int) -> list[bool]:
            return [held.enter_context(permits.permit(client)) for _ in range(times)]

        assert asks("greedy", 7) == [True] * 6 + [False]
        assert asks("another", 1) == [True]
        assert asks("greedy", 1) == [False]
        assert asks("third", 2) == [True, False]
    with permits.permit("greedy") as is_permitted:
        assert is_permitted


def test_a_single_permit_is_given_to_anybody() -> None:
    permits = Permits(1)
    for client in ("a", "b"):
        with permits.permit(client) as first, permits.permit("c") as second:
            assert (first, second) == (True, False)
