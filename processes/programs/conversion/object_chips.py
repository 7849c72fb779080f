"""The chips of real objects, cut as the service cuts them, with the probabilities that it gives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.classify.description import PROCESS_ID
from processes.classify.labels import ClassStatus
from processes.classify.pipeline import classify_rows
from processes.classify.planning.sources import PlannedRows
from processes.classify.process import ClassifyObjects
from processes.imagery.chip_plan import reading_order
from processes.model.arguments import read_arguments
from processes.model.catalog import Catalog
from processes.model.runtime.runtime import Chips
from processes.model.session import Session, SessionKey
from processes.ogc.execution import Execution
from processes.settings import Settings
from processes.sources.named_links import allow_named

_MOST_CELLS = 2**27
"""Most cells of all chips together, 0.5 GiB in float32; of more objects some are taken, evenly."""


class RecordingSession(Session):
    """A session that keeps the chips it is given, and the probabilities it gives.

    Args:
        key: as a session has it.
    """

    def __init__(self, key: SessionKey) -> None:
        super().__init__(key)
        self._kept: list[tuple[Chips, NDArray[np.float32]]] = []

    def scores(self, chips: Chips, batch_size: int | None = None) -> NDArray[np.float32]:
        scores = super().scores(chips, batch_size)
        self._kept.append((chips, scores))
        return scores

    def has_recorded(self) -> bool:
        """Return whether it was given chips."""
        return bool(self._kept)

    def recorded(self) -> tuple[Chips, NDArray[np.float32]]:
        """Return all chips, `(n, bands, height, width)`, and their probabilities, `(n, classes)`."""
        chips, scores = zip(*self._kept, strict=True)
        return np.concatenate(chips), np.concatenate(scores)


class CutObjects(msgspec.Struct, frozen=True):
    """Objects whose chips were cut."""

    count: int
    """Number of all objects that have a chip or may have one."""
    planned: PlannedRows
    rows: NDArray[np.int64]
    """Which of the planned rows the session's chips are of, in their order, `(n,)`."""


def cut_chips(
    inputs: Mapping[str, Any], catalog: Catalog, settings: Settings, session: RecordingSession, folder: Path
) -> CutObjects:
    """Let a session label objects, without test-time augmentation; of many objects some.

    Args:
        inputs: of the process, as an execute request has them; links may point to any file of this machine.
        catalog: that knows the model.
        settings: what the configuration says.
        session: of the model; it keeps chips and probabilities.
        folder: for what is opened.

    Raises:
        ServiceError: images or features cannot be read, or do not fit the model.
    """
    process = ClassifyObjects(allow_named(inputs, settings), catalog, threads=1)
    execution = Execution.read(PROCESS_ID, msgspec.json.encode({"inputs": inputs}), process.frame())
    folder.mkdir()
    plan = process.plan(execution, folder)
    rows = reading_order(plan.chips)
    definition = session.key.definition
    cells = int(np.prod(session.chip_size)) * (session.network.bands or 3)
    taken = rows[:: max(1, -(-len(rows) * cells // _MOST_CELLS))]
    arguments, _ = read_arguments({}, definition, "", session.network.size)
    arguments = msgspec.structs.replace(arguments, test_time_augmentation=False)
    sources = msgspec.structs.replace(plan.rows.sources, arguments=arguments)
    if len(taken):
        found = classify_rows(sources, plan.chips, taken, session, lambda _: None, threads=1)
        taken = taken[~np.isin(found.labels.status[taken], (ClassStatus.NODATA, ClassStatus.OUTSIDE_IMAGE))]
    return CutObjects(len(rows), plan.rows, taken)
