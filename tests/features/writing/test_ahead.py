"""One batch ahead: in order, no further, and no error lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from processes.features.writing.ahead import one_ahead


def test_items_come_in_order_and_only_one_is_made_ahead() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(1, 6):
            made.append(number)
            yield number

    for number in one_ahead(items()):
        assert len(made) <= number + 1
    assert made == [1, 2, 3, 4, 5]
    assert list(one_ahead(iter([]))) == []


def test_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second one")

    found = one_ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second one"):
        next(found)


def test_no_thread_is_left_where_the_rest_is_not_wanted() -> None:
    found = one_ahead(iter(range(1, 100)))
    assert next(found) == 1
    found.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_only_what_follows_the_first_item_is_made_in_another_thread() -> None:
    makers = list(one_ahead(threading.current_thread().name for _ in range(3)))
    assert makers[0] == threading.current_thread().name
    assert all(name.startswith("ahead") for name in makers[1:])
