"""What a run works on, and what a plan makes of it: the nouns that planning, running and publishing share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.classify.inference import ChipPlan
from processes.classify.planning.extent import Extent
from processes.classify.planning.fields import DEFAULT_FIELD, ImageIdPlace, added_fields
from processes.features.layer import Layer
from processes.imagery.image import Image
from processes.model.arguments import ModelArguments
from processes.model.catalog import Model
from processes.model.runtime.runtime import Processor

Mode = Literal["mosaic", "separate"]

RequireFew = Callable[[int, bool], None]
"""Is told a number of rows, and whether that is all, and raises LimitError where they are too many."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a client wants its objects classified."""

    label_field: str = DEFAULT_FIELD
    mode: Mode = "mosaic"
    """`mosaic`: the images are one; `separate`: an object has a row for each image that it touches."""
    extent: Extent | None = None
    """None = everywhere."""
    cell_size: float | None = None
    """Resolution of fixed-size chips, units of the images' CRS; None = the images' own."""
    processor: Processor | None = None
    """None = the GPU where there is one."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a run works on, opened."""

    images: Sequence[Image]
    image_pointers: Sequence[str]
    """Where each image stands in the request."""
    layer: Layer | None
    """None = each image is an object."""
    model: Model
    arguments: ModelArguments
    options: Options = Options()

    @property
    def is_table(self) -> bool:
        """Whether the result is a table: rows are images of no place."""
        return self.layer is None and not any(image.is_georeferenced for image in self.images)

    @property
    def added_fields(self) -> list[pa.Field]:
        """What a run adds to each row."""
        separate = self.options.mode == "separate"
        image_id: ImageIdPlace = "first" if self.layer is None else "after-status" if separate else "nowhere"
        return added_fields(self.options.label_field, self.model.definition, self.arguments, image_id)


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """The rows of a result, in their order: all that is known of them before they are classified."""

    sources: Sources
    layer: Layer
    """The objects' geometry and attributes: the input layer, or the images' extents, or nothing for a table."""
    objects: NDArray[np.int64]
    """Place of each row's object in the layer, ascending, `(n,)`."""
    empty: NDArray[np.bool_]
    """True = the row's geometry is missing or empty, `(n,)`."""
    ids: pa.ChunkedArray | None
    """As `Layer.ids`, of the rows, `(n,)`."""
    image_ids: pa.Array | None
    """Name of each row's image, null = none, `(n,)`; None = rows do not name theirs."""
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.objects)

    def name(self, row: int) -> str:
        """Say what a row is called, for messages."""
        if self.sources.layer is None and self.image_ids is not None:
            return f"image {self.image_ids[row].as_py()!r}"
        identifier = self.ids[row].as_py() if self.ids is not None else int(self.objects[row]) + 1
        return f"object {identifier}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows, and the chip of each."""

    rows: PlannedRows
    work: ChipPlan
