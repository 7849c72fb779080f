"""The figures of a variant, by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from conftest import definition
from processes.errors import InputError, PackageError
from processes.model.definition import ModelDefinition, parse_definition
from processes.programs.optimisation.figures import Speeds, compare_labels, read_truth
from tables import each_row


def parsed(**changes: Any) -> ModelDefinition:
    return parse_definition(json.dumps(definition(**changes)).encode())


@each_row(
    ("after", "multi_label", "changed", "largest"),
    [
        ([[0.9, 0.1], [0.4, 0.6]], False, 0, 0.0),
        ([[0.8, 0.2], [0.55, 0.45]], False, 1, 0.15),
        ([[0.6, 0.1], [0.4, 0.49]], True, 1, 0.3),  # one more class, or one less, is another label
        ([[0.9, 0.6], [0.6, 0.1]], True, 2, 0.5),
    ],
)
def test_labels_are_compared(after: Any, multi_label: bool, changed: int, largest: float) -> None:
    before = np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    changes = {"MetaDataMode": "MultiLabeled_Tiles"} if multi_label else {}
    found = compare_labels(before, np.array(after, np.float32), parsed(**changes))
    assert (found.objects, found.changed, found.share) == (2, changed, changed / 2)
    assert found.largest_change == pytest.approx(largest, abs=1e-6)


def test_object_without_a_finite_number_is_left_out_or_the_variants_fault() -> None:
    before = np.array([[np.nan, np.nan], [0.4, 0.6]], np.float32)
    after = np.array([[0.5, 0.5], [0.4, 0.6]], np.float32)
    assert compare_labels(before, after, parsed()).objects == 1
    with pytest.raises(PackageError, match="no finite number for 1 of 2 objects"):
        compare_labels(after, before, parsed())


def test_truth_is_the_name_of_a_class_or_its_value() -> None:
    columns = {"kind": pa.chunked_array([["dark", " bright "], ["20", "shed", None]])}
    truth = read_truth("kind", columns, np.array([0, 1, 2, 3, 4]), parsed())
    assert (truth.places.tolist(), truth.known) == ([0, 1, 1, -1, -1], 3)
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.2, 0.8]], np.float32)
    assert truth.accuracy(scores) == pytest.approx(2 / 3)
    assert read_truth("kind", columns, np.array([3, 1]), parsed()).places.tolist() == [-1, 1]
    whole = {"kind": pa.chunked_array([[10, 20]])}
    assert read_truth("kind", whole, np.array([1, 0]), parsed()).places.tolist() == [1, 0]
    message = r"the field 'kind' names no class of the model \('dark', 'bright'\), but 'shed', 'None'"
    with pytest.raises(InputError, match=message):
        read_truth("kind", columns, np.array([3, 4]), parsed())


def test_speed_is_the_median_of_the_rounds() -> None:
    speeds = Speeds((100.0, 50.0, 100.0), (200.0, 150.0, 150.0))
    assert speeds.ratio == 2
    assert str(speeds) == "150 chips/s, in fp32 100: 2.00 times as fast"
