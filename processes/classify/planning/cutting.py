"""What a plan costs: refuse one that reads too much, and cut the rest of its rows into sections of some seconds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from processes.errors import ImageError, LimitError, RequestError
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import large_rows
from processes.imagery.reading_cost import ReadingCost, reading_cost

READ_BYTES_PER_S = 200e6
"""Decoded bytes that a slot reads in a second, about."""
_LARGE_CHIP_S = 0.3
"""Seconds that a large chip takes beside its reading, about."""
_LEAST_SECTION_S, _SECONDS_OF_ROOT = 0.3, 0.4
_GB = 10**9
MAX_SECTIONS = 10_000
"""Sections of chips that are not large; each costs some milliseconds beside its work."""


def require_readable(chips: ChipPlan, max_read_gb: int) -> None:
    """Raise an error where chips need more to be read than allowed.

    Args:
        chips: the plan.
        max_read_gb: decoded bytes, in 10^9.

    Raises:
        LimitError: they do.
        RequestError: an image cannot be read.
    """
    total = _cost(chips).total
    if total > max_read_gb * _GB:
        raise LimitError("max_read_gb", max_read_gb, f"{math.ceil(total / _GB)} GB of cells to read for one request")


def _cost(chips: ChipPlan) -> ReadingCost:
    try:
        return reading_cost(chips)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err


def seconds_of_section(left_s: float, most_s: float) -> float:
    """Return how many seconds a section is to take.

    They grow as the root of the work that is left. So a job that one slot would do in a few seconds occupies several,
    and one of many sections does not decode the tiles at their borders twice too often.

    Args:
        left_s: seconds that the work would take one slot.
        most_s: the result is no more.
    """
    return min(most_s, max(_LEAST_SECTION_S, _SECONDS_OF_ROOT * math.sqrt(left_s)))


def cut_sections(
    chips: ChipPlan, rows: NDArray[np.int64], done: NDArray[np.bool_], rows_per_s: float, most_s: float
) -> list[NDArray[np.int64]]:
    """Cut the rows that are not done into sections of some seconds each, as `seconds_of_section` has it.

    Sections have equally many rows; those of large chips, which cost what is read for them, are cut by that. There are
    no more than `MAX_SECTIONS` of the former: a machine that had much else to do at first seems to be very slow, and a
    section that takes longer is done in several steps.

    Args:
        chips: the plan.
        rows: in reading order, large chips last, `(k,)`.
        done: which of them are done, `(k,)`.
        rows_per_s: speed so far.
        most_s: seconds that a section is to take at most.
    """
    is_large = large_rows(chips.images, chips.placement, chips.rule, rows)
    small, large = rows[~done & ~is_large], rows[~done & is_large]
    sections: list[NDArray[np.int64]] = []
    if len(small):
        section_s = seconds_of_section(len(small) / max(1, rows_per_s), most_s)
        number = math.ceil(len(small) / max(1, rows_per_s * section_s))
        sections += np.array_split(small, min(number, MAX_SECTIONS))
    if len(large):
        read_bytes = _cost(chips).windows
        seconds = _LARGE_CHIP_S + read_bytes / READ_BYTES_PER_S
        known = rows[done & is_large]
        if len(known) and not (~is_large).any():  # all that was done was of this kind
            seconds *= np.clip(1 / rows_per_s / seconds[known].mean(), 0.1, 100)
        ends = np.cumsum(seconds[large])
        numbers = np.floor((ends - seconds[large] / 2) / seconds_of_section(float(ends[-1]), most_s))
        sections += np.split(large, np.flatnonzero(np.diff(numbers)) + 1)
    return sections
