"""What a run works on, and the plan made from it: the nouns that planning, running and publishing share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.classify.planning.fields import ImageIdPosition, added_fields
from processes.classify.planning.options import Options
from processes.features.layer import Layer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.grid import ChipRule
from processes.imagery.image import Image
from processes.model.arguments import ModelArguments
from processes.model.catalog import Model
from processes.model.definition import chip_size

_CUT = "cells beyond 0 to 255 are cut off, as the network takes bytes"

RequireFew = Callable[[int, bool], None]
"""Called with a number of rows, and whether these are all; raises LimitError where they are too many."""


class Sources(msgspec.Struct, frozen=True):
    """Images, layer and model of a run, opened."""

    images: Sequence[Image]
    image_pointers: Sequence[str]
    """Where each image stands in the request."""
    layer: Layer | None
    """None = each image is an object."""
    model: Model
    arguments: ModelArguments
    options: Options = msgspec.field(default_factory=Options)

    def chip_rule(self, fixed_size: bool, cell_size: float | None) -> ChipRule:
        """Return how chips are cut for the model.

        Args:
            fixed_size: True = all windows have the same size; False = a window covers its object, or its image.
            cell_size: resolution at which chips of fixed size are sampled, in units of the image's CRS; None = its own.
        """
        definition, side = self.model.definition, None
        if definition.is_keras_classifier and not fixed_size:  # Esri's tool gives it such a window as it is
            height, width = chip_size(definition, self.model.size, self.arguments.resampled_image_size)
            side = width if width == height else None
        resampling = definition.resampling or "pillow"
        return ChipRule(definition.chip_width, definition.chip_height, fixed_size, cell_size, resampling, side)

    @property
    def is_table(self) -> bool:
        """Whether the result is a table: its rows are images without a reference."""
        return self.layer is None and not any(image.is_georeferenced for image in self.images)

    @property
    def warnings(self) -> list[str]:
        """Return what the summary says of the sources themselves; one sentence for images that share it."""
        images: dict[str, list[str]] = {}
        for image in self.images:
            cut = (_CUT,) if self.model.cuts_cells and image.dtype != np.uint8 else ()
            for warning in (*image.warnings, *cut):
                images.setdefault(warning, []).append(image.name)
        of_images = [
            f"{warning}: image {names[0]!r}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            for warning, names in images.items()
        ]
        return [
            *self.model.warnings,
            *self.arguments.warnings,
            *of_images,
            *(self.layer.warnings if self.layer is not None else ()),
        ]

    @property
    def added_fields(self) -> list[pa.Field]:
        """The fields that a run adds to each row."""
        separate = self.options.mode == "separate"
        image_id: ImageIdPosition = "first" if self.layer is None else "after-status" if separate else "nowhere"
        function = self.model.own_function
        return added_fields(self.options.label_field, self.model.definition, self.arguments, image_id, function)


class PlannedRows(msgspec.Struct, frozen=True):
    """The rows of a result, in their order, before they are classified."""

    sources: Sources
    layer: Layer
    """The objects' geometry and attributes: the input layer, or the images' extents, or no columns for a table."""
    objects: NDArray[np.int64]
    """Index of each row's object in the layer, ascending, `(n,)`."""
    empty: NDArray[np.bool_]
    """True = the row's geometry is missing or empty, `(n,)`."""
    ids: pa.ChunkedArray | None
    """As `Layer.ids`, of the rows, `(n,)`."""
    image_ids: pa.Array | None
    """Name of each row's image, null = none, `(n,)`; None = the result does not name them."""
    warnings: tuple[str, ...]
    """Sentences for the summary of the result."""

    def __len__(self) -> int:
        return len(self.objects)

    def name(self, row: int) -> str:
        """Return what a row is called in messages."""
        if self.sources.layer is None and self.image_ids is not None:
            return f"image {self.image_ids[row].as_py()!r}"
        identifier = self.ids[row].as_py() if self.ids is not None else int(self.objects[row]) + 1
        return f"object {identifier}"


class Plan(msgspec.Struct, frozen=True):
    """Which objects are classified, and on which chips."""

    rows: PlannedRows
    chips: ChipPlan
    """The chip of each row."""
