"""From chips to labels: the one way that a whole execution, its first seconds and a section of it share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from processes.classify.inference import Classified, Pause, classify
from processes.classify.planning.sources import Sources
from processes.errors import ImageError, PackageError, RequestError
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.large_chips import PartialChip
from processes.model.runtime.runtimes import choose_processor
from processes.model.session import Session, SessionKey, open_session
from processes.model.stamps import stamp_package
from processes.ogc.process import Progress


def session_for(sources: Sources) -> Session:
    """Return the opened network of the model, on the processor that is asked for, or else on the best one.

    Raises:
        RequestError: it cannot be opened.
    """
    model = sources.model
    processor = sources.options.processor or choose_processor()
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
    )
    try:
        return open_session(key)
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err


def classify_rows(
    sources: Sources,
    chips: ChipPlan,
    rows: NDArray[np.int64],
    session: Session,
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
        session: the opened network.
        progress: is called with the number of rows that were done.
        threads: number of threads that work at the same time.
        pause: when to stop before the end; None = never.
        parts: what was read of large chips before, by their rows; None = nothing.

    Raises:
        RequestError: an image cannot be read to its end, or the network fails.
    """
    try:
        return classify(chips, rows, session, sources.arguments, progress, threads, pause, parts)
    except ImageError as err:
        raise RequestError.at("/inputs/image", err) from err
    except PackageError as err:
        raise RequestError.at("/inputs/model", err) from err
