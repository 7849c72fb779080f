"""Running a plan: from chips to labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from processes.classify import Labels, Status, classify
from processes.errors import (
    ImageError,
    InputError,
    PackageError,
    RequestError,
)
from processes.model.session import Processor, SessionKey, available_threads, missing_gpu, open_session
from processes.planning.material import Material, Plan

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows to do."""


def run(plan: Plan, progress: Progress | None = None) -> Labels:
    """Classify the rows of a plan.

    Raises:
        RequestError: an image cannot be read to its end, or the network fails.
    """
    material, total, done = plan.material, len(plan), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total)

    try:
        session = open_session(_session_key(material))
        threads = available_threads()
        labels = classify(plan.work, session, material.arguments, partial(_row_name, plan), advance, threads)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err
    labels.status[plan.empty] = Status.EMPTY_GEOMETRY
    if progress is not None:
        progress(total, total)
    return labels


def _session_key(material: Material) -> SessionKey:
    model = material.model
    processor = material.options.processor or ("GPU" if missing_gpu() is None else "CPU")
    return SessionKey(model.network, model.sha256, model.definition, model.activation, processor, threads=1)


def require_processor(processor: Processor | None) -> None:
    """Raise InputError where a GPU is asked for and there is none."""
    missing = missing_gpu() if processor == "GPU" else None
    if missing is not None:
        raise InputError(f"processorType is GPU, but {missing}")


def _row_name(plan: Plan, row: int) -> str:
    if plan.material.layer is None and plan.image_ids is not None:
        return f"image {plan.image_ids[row].as_py()!r}"
    identifier = plan.ids[row].as_py() if plan.ids is not None else int(plan.objects[row]) + 1
    return f"object {identifier}"
