"""Writes `scikit_image_resizes.npz`: what scikit-image makes of random chips, as Esri's KerasClassifier calls it.

    pip install scikit-image==0.26.0
    python tests/imagery/scikit_image_resizes.py

Each case has a chip `(bands, height, width)` and what becomes of it. The service does not need scikit-image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.transform  # type: ignore[import-not-found] # only who writes the file has it

CASES = [
    ((3, 24, 24), (6, 6)),
    ((3, 25, 24), (7, 6)),
    ((1, 40, 13), (9, 11)),
    ((4, 7, 9), (16, 5)),
    ((2, 3, 4), (9, 12)),
    ((1, 1, 1), (3, 2)),
    ((3, 17, 31), (8, 8)),
    ((2, 30, 30), (29, 23)),
    ((3, 45, 23), (32, 32)),
    ((3, 61, 130), (8, 8)),
]

if __name__ == "__main__":
    rng = np.random.default_rng(15)
    arrays = {}
    for place, (shape, size) in enumerate(CASES):
        chip = rng.integers(int(rng.integers(200)), 256, shape).astype(np.uint8)
        resized = skimage.transform.resize(
            chip.transpose(1, 2, 0),
            size,
            order=1,
            mode="constant",
            cval=0,
            clip=True,
            preserve_range=True,
            anti_aliasing=False,
        )
        arrays[f"chip-{place}"] = chip
        arrays[f"resized-{place}"] = resized.astype(np.uint8).transpose(2, 0, 1)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)  # type: ignore[arg-type] # names of arrays are keywords
