"""How objects are classified, as the client chooses: the inputs that are neither images, features nor model."""

from __future__ import annotations

from typing import Literal

import msgspec

from processes.classify.planning.extent import Extent
from processes.features.writing.label_fields import DEFAULT_FIELD
from processes.model.runtime.runtime import Processor

Mode = Literal["mosaic", "separate"]


class Options(msgspec.Struct, frozen=True):
    """How objects are classified, as the client chooses."""

    label_field: str = DEFAULT_FIELD
    """Name of the field that gets the label."""
    mode: Mode = "mosaic"
    """`mosaic`: the images are one; `separate`: an object has a row for each image that it touches."""
    extent: Extent | None = None
    """Only objects that touch it are classified; None = all are."""
    cell_size: float | None = None
    """Resolution of fixed-size chips, units of the images' CRS; None = the images' own."""
    processor: Processor | None = None
    """None = the GPU where this machine has a usable one."""
