"""The labels of rows: class, confidence, status, and what a raster function gives beside them."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.model.arguments import ModelArguments
from processes.model.definition import ModelDefinition
from processes.model.raster_functions import RasterFunction


class ClassStatus(IntEnum):
    """Why a row has a label or has none."""

    OK = 0
    OUTSIDE_IMAGE = 1
    NODATA = 2
    EMPTY_GEOMETRY = 3
    BELOW_THRESHOLD = 4
    NOT_FINITE = 5
    """The network gave something that is no finite number."""

    @property
    def label(self) -> str:
        """Return the status as clients read it."""
        return self.name.lower().replace("_", "-")


class FunctionValues(msgspec.Struct, frozen=True):
    """What a raster function gives of each row beside class and confidence."""

    labels: NDArray[np.object_]
    """The label as text, None = not classified, `(n,)`."""
    fields: tuple[NDArray[np.object_], ...]
    """The values of each of its own fields: text, number or None, `(n,)` each."""

    @property
    def columns(self) -> list[NDArray[np.object_]]:
        """Return the labels, then the values of each field."""
        return [self.labels, *self.fields]

    @classmethod
    def empty(cls, count: int, fields: int) -> Self:
        """Return the values of rows before anything is classified; both are numbers, of rows and of fields."""
        return cls(np.full(count, None, object), tuple(np.full(count, None, object) for _ in range(fields)))

    def of(self, rows: NDArray[np.int64]) -> FunctionValues:
        """Return the values of some rows."""
        return FunctionValues(self.labels[rows], tuple(column[rows] for column in self.fields))

    def put(self, rows: NDArray[np.int64], some: FunctionValues) -> None:
        """Take the values of some rows, `(k,)`, over."""
        self.labels[rows] = some.labels
        for column, values in zip(self.fields, some.fields, strict=True):
            column[rows] = values


class Labels(msgspec.Struct, frozen=True):
    """The result of each row."""

    winner: NDArray[np.int32]
    """Index of the most probable class, -1 = not classified, or the label of a raster function is no class, `(n,)`."""
    confidence: NDArray[np.float32]
    """Its probability, 0..1, NaN = not classified, `(n,)`."""
    status: NDArray[np.uint8]
    """A `ClassStatus`, `(n,)`."""
    scores: NDArray[np.float32] | None
    """Probabilities of all classes, 0..1, NaN = not classified, `(n, classes)`; None = the result has none."""
    values: FunctionValues | None = None
    """What a raster function gives; None = the labels are a network's."""
    batch_limits: set[int] = msgspec.field(default_factory=set)
    """Numbers of chips that batches were halved to for want of memory, by any of the processes that made the labels."""
    warnings: set[str] = msgspec.field(default_factory=set)
    """Sentences for the summary, from any of these processes."""


def unlabelled(
    count: int, definition: ModelDefinition, arguments: ModelArguments, function: RasterFunction | None = None
) -> Labels:
    """Return the labels before anything is classified: a row that gets no chip touches no image.

    Args:
        count: number of rows.
        definition: of the model.
        arguments: of the model.
        function: the raster function that labels are of; None = they are the network's.
    """
    has_scores = arguments.class_scores or definition.multi_label
    return Labels(
        winner=np.full(count, -1, np.int32),
        confidence=np.full(count, np.nan, np.float32),
        status=np.full(count, ClassStatus.OUTSIDE_IMAGE, np.uint8),
        scores=np.full((count, len(definition.classes)), np.nan, np.float32) if has_scores else None,
        values=None if function is None else FunctionValues.empty(count, len(function.fields)),
    )
