"""Resampling of chips as Pillow does it: bilinear, with antialiasing when it shrinks, in float32.

Pillow resamples along rows and along columns, one after the other, and one band at a time. Rows know nothing of each
other, nor do columns. So the rows of all bands are one image for it, and then their columns are another one: in the
same memory, as bands lie within rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from processes.imagery.decoded_tile import Cells

_MAX_BYTES = 2**23
"""Pillow keeps an image of twice so many bytes in several pieces, which nothing else can read without a copy."""


def resample(
    cells: Cells, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """Return cells `(bands, height, width)` at another size, bilinear, with antialiasing when it shrinks.

    Args:
        cells: of any type; they are resampled in float32, band by band. The quickest lie in memory as
            `(height, bands, width)`.
        size: (width, height) of the result.
        box: left, top, right and bottom edge of the part of the cells that is resampled, in cells; None = all.
    """
    from PIL import Image as PillowImage  # slow to import, and chips that are cut as they are need it not

    bilinear = PillowImage.Resampling.BILINEAR
    (bands, height, width), (new_width, new_height) = cells.shape, size
    most_cells = bands * max(new_width * height, width * new_height, new_width * new_height)
    if most_cells * 4 > _MAX_BYTES or (box is not None and box != (0, 0, width, height)):
        planes = (PillowImage.fromarray(np.ascontiguousarray(band, np.float32)) for band in cells)
        return np.stack([np.asarray(plane.resize(size, bilinear, box=box)) for plane in planes])
    memory = pa.array(np.ascontiguousarray(cells.transpose(1, 0, 2), np.float32).reshape(-1))
    # Pillow's order, which matters as what lies between is float32 again
    columns_first = height - new_height > max(0, 2 * (width - new_width))
    for along_columns in (columns_first, not columns_first):
        if along_columns and height != new_height:
            image = PillowImage.fromarrow(memory, "F", (bands * width, height))
            memory, height = image.resize((bands * width, new_height), bilinear), new_height
        elif not along_columns and width != new_width:
            image = PillowImage.fromarrow(memory, "F", (width, height * bands))
            memory, width = image.resize((new_width, height * bands), bilinear), new_width
    resampled: NDArray[np.float32] = pa.array(memory).to_numpy()
    return resampled.reshape(height, bands, width).transpose(1, 0, 2)
