"""Running a plan, or a section of one: from chips to labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from processes.classify.inference import ClassStatus, Labels, classify
from processes.classify.planning.sources import Plan, Sources
from processes.errors import ImageError, PackageError, RequestError
from processes.imagery.chip_plan import ChipPlan, reading_order
from processes.model.processor import available_threads, missing_gpu
from processes.model.session import Session, SessionKey, open_session

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows to do."""


def run(plan: Plan, progress: Progress | None = None) -> Labels:
    """Classify all rows of a plan, with all cores.

    Raises:
        RequestError: an image cannot be read to its end, or the network fails.
    """
    total, done = len(plan.rows), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    rows, session = reading_order(plan.chips), session_for(plan.rows.sources)
    labels, _ = run_rows(plan.rows.sources, plan.chips, rows, session, plan.rows.name, advance, available_threads())
    labels.status[plan.rows.empty] = ClassStatus.EMPTY_GEOMETRY
    if progress is not None:
        progress(total, total)
    return labels


def session_for(sources: Sources) -> Session:
    """Return the opened network of a material, on the processor that is wanted or that there is.

    Raises:
        RequestError: it cannot be opened.
    """
    model = sources.model
    processor = sources.options.processor or ("GPU" if missing_gpu() is None else "CPU")
    key = SessionKey(model.network, model.sha256, model.definition, model.activation, processor, threads=1)
    try:
        return open_session(key)
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err


def run_rows(
    sources: Sources,
    chips: ChipPlan,
    rows: NDArray[np.int64],
    session: Session,
    name_row: Callable[[int], str],
    progress: Callable[[int], None],
    threads: int,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[Labels, int]:
    """Classify some rows of a work, as `classify` does.

    Raises:
        RequestError: an image cannot be read to its end, or the network fails.
    """
    try:
        return classify(chips, rows, session, sources.arguments, name_row, progress, threads, enough)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err
