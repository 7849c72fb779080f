"""From chips to labels: the one way that a whole execution, its first seconds and a section of it share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from processes.classify.batches import Pause
from processes.classify.inference import Classified, classify
from processes.classify.labels import Labels, unlabelled
from processes.classify.planning.sources import Sources
from processes.errors import ForbiddenError, ImageError, PackageError, RequestError, at_pointer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.large_chips import PartialChip
from processes.model.catalog import Model
from processes.model.function_session import FunctionKey, FunctionSession, open_function
from processes.model.raster_functions import FunctionSettings, RasterFunction
from processes.model.runtime.runtime import Processor
from processes.model.runtime.runtimes import choose_processor
from processes.model.session import Session, SessionKey, open_session
from processes.model.stamps import stamp_package
from processes.ogc.process import Progress


def session_for(sources: Sources, functions: FunctionSettings, callers: int) -> Session | FunctionSession:
    """Return the opened network of the model, on the processor that is asked for, or else on the best one.

    Args:
        sources: what the run works on.
        functions: what the operator decided about raster functions.
        callers: threads that call it at the same time.

    Raises:
        RequestError: it cannot be opened.
    """
    model = sources.model
    processor = sources.options.processor or choose_processor()
    if model.own_function is not None:
        with at_pointer("/inputs/model"):
            return open_function(_function_key(model, model.own_function, processor, sources, functions))
    stamp = stamp_package(model.network.parent)
    key = SessionKey(
        model.network,
        model.sha256,
        model.definition,
        model.activation,
        processor,
        1,
        model.output_name,
        sources.arguments.resampled_image_size,
        "" if stamp is None else stamp.digest,
        callers,
    )
    try:
        return open_session(key)
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err


def useful_threads(session: Session | FunctionSession, own: int, cores: int | None) -> int:
    """Return how many threads a session is to be called by where it may have more cores for a while.

    Args:
        session: that was opened for the threads of a slot; a raster function works on one call at a time.
        own: number of these.
        cores: that it may have; None = those of the slot.
    """
    return cores if cores and isinstance(session, Session) and session.takes_more_callers else own


def empty_labels(count: int, sources: Sources) -> Labels:
    """Return the labels of so many rows before anything is classified."""
    return unlabelled(count, sources.model.definition, sources.arguments, sources.model.own_function)


def _function_key(
    model: Model, function: RasterFunction, processor: Processor, sources: Sources, functions: FunctionSettings
) -> FunctionKey:
    return FunctionKey(
        model=model.id,
        folder=model.folder,
        sha256=model.sha256,
        file=function.file,
        definition_file=function.definition,
        definition=model.definition,
        scalars=sources.arguments.function_values,
        fields=function.fields,
        batch_size=function.batch_size or model.definition.batch_size,
        processor=processor,
        surroundings=functions.surroundings(),
        timeout_s=functions.timeout_s,
    )


def classify_rows(
    sources: Sources,
    chips: ChipPlan,
    rows: NDArray[np.int64],
    session: Session | FunctionSession,
    progress: Progress,
    threads: int,
    pause: Pause | None = None,
    parts: Mapping[int, Sequence[PartialChip]] | None = None,
) -> Classified:
    """Classify some rows, as `classify` does.

    Args:
        sources: what the run works on.
        chips: where the chips lie.
        rows: those to classify, in reading order, `(k,)`.
        session: the opened network, or the raster function that labels are of.
        progress: is called with the number of rows that were done.
        threads: number of threads that work at the same time.
        pause: when to stop before the end; None = never.
        parts: what was read of large chips before, by their rows; None = nothing.

    Raises:
        RequestError: an image cannot be read to its end, or the network or the raster function fails.
    """
    try:
        return classify(chips, rows, session, sources.arguments, progress, threads, pause, parts)
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err
    except (ForbiddenError, ImageError) as err:
        raise RequestError.at("/inputs/image", err) from err
