"""Resampling as scikit-image does it, cell by cell: `scikit_image_resizes.py` wrote what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oracle import as_scikit_image
from processes.imagery.resampling import resample_bilinear, resample_to_square

RIGHT = np.load(Path(__file__).with_name("scikit_image_resizes.npz"))


def test_cells_are_those_of_scikit_image() -> None:
    for place in range(len(RIGHT.files) // 2):
        chip, resized = RIGHT[f"chip-{place}"], RIGHT[f"resized-{place}"]
        chips = np.stack([chip, chip[:, ::-1], np.zeros_like(chip)])
        found = resample_bilinear(chips, resized.shape[1:])
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[0], resized, str(place))
        assert not found[2].any()
        np.testing.assert_array_equal(as_scikit_image(chip.astype(np.float32), resized.shape[1:]), resized, str(place))


def test_floats_are_cut_to_whole_numbers_towards_0() -> None:
    chips = np.array([[[[-3.0, 0.0], [-2.0, 0.0]]]], np.float32)
    np.testing.assert_array_equal(resample_bilinear(chips, (1, 1)), [[[[-1]]]])
    chips = np.array([[[[1000.5, 3.25]]]], np.float32)
    np.testing.assert_array_equal(resample_bilinear(chips, (1, 2)), chips)  # nothing to resample


def test_what_is_no_square_keeps_its_proportions_between_zeros() -> None:
    chips = np.full((1, 1, 4, 9), 200, np.uint8)
    found = resample_to_square(chips, 3)
    np.testing.assert_array_equal(found[0, 0], [[0, 0, 0], [200, 200, 200], [0, 0, 0]])
    found = resample_to_square(chips.transpose(0, 1, 3, 2), 3)
    np.testing.assert_array_equal(found[0, 0], [[0, 200, 0]] * 3)
