"""Tests that go through a table in one case, and the few rows that hold every pair of values of several axes."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, product
from typing import Any

import pytest

Test = Callable[..., None]


def each_row(
    names: str | Sequence[str], rows: Iterable[Any], ids: Callable[[Any], str] | Iterable[Any] | None = None
) -> Callable[[Test], Test]:
    """Make a test go through all rows of a table in one case; each row that fails is told by itself.

    It is written as `pytest.mark.parametrize` is, for rows that cost next to nothing. A row has a `tmp_path` of its own;
    other fixtures are those of the whole table.
    """
    columns = [names] if isinstance(names, str) else list(names)
    table = list(rows)
    if ids is None or callable(ids):
        told = ids or _label
        labels = [told(row) if isinstance(names, str) else "-".join(map(told, row)) for row in table]
    else:
        labels = list(map(str, ids))
    assert len(labels) == len(table) > 0

    def decorate(test: Test) -> Test:
        own = inspect.signature(test).parameters
        assert set(columns) <= set(own), f"{test.__name__} does not take {columns}"
        fixtures = [item for name, item in own.items() if name not in columns]

        @functools.wraps(test)
        def through_table(**given: Any) -> None:
            passed = {item.name: given[item.name] for item in fixtures}
            for number, (label, row) in enumerate(zip(labels, table, strict=True)):
                values = dict(zip(columns, [row] if isinstance(names, str) else row, strict=True))
                if "tmp_path" in passed:
                    values["tmp_path"] = passed["tmp_path"] / f"row-{number}"
                    values["tmp_path"].mkdir()
                with given["subtests"].test(label):
                    test(**passed | values)

        needed = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        taken = fixtures if any(item.name == "subtests" for item in fixtures) else [*fixtures, needed]
        through_table.__dict__["__signature__"] = inspect.Signature(taken)
        return through_table

    return decorate


def _label(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "what is too long to be told"


def pairwise(*axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return rows with a value of each axis, such that every two values of two axes meet in one of them.

    A fault that depends on one value, or on two together, is found as a full product finds it. The rows are always the
    same: each is the one that holds most of the pairs that are left.
    """
    left = {
        ((one, first), (other, second))
        for one, other in combinations(range(len(axes)), 2)
        for first, second in product(range(len(axes[one])), range(len(axes[other])))
    }
    places = list(product(*(range(len(axis)) for axis in axes)))
    found = []
    while left:
        best = max(places, key=lambda row: sum(pair in left for pair in combinations(enumerate(row), 2)))
        left -= set(combinations(enumerate(best), 2))
        found.append(tuple(axis[place] for axis, place in zip(axes, best, strict=True)))
    return found


def each_pair(**axes: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrise a test with the rows that hold every pair of values of its axes."""
    return pytest.mark.parametrize(tuple(axes), pairwise(*axes.values()))
