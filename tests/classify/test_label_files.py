"""Labels through files, those of raster functions with their own fields too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import definition
from processes.classify.inference import Classified
from processes.classify.label_files import gather_labels, labels_of, save_labels
from processes.classify.labels import FunctionValues, Labels, unlabelled
from processes.classify.paused_sections import SectionProgress, keep_step
from processes.jobs.files import FolderStorage
from processes.model.arguments import ModelArguments
from processes.model.definition import parse_definition
from processes.model.raster_functions import FunctionField, RasterFunction

MODEL = parse_definition(json.dumps(definition()).encode())
FIELDS = (FunctionField("T", "text"), FunctionField("I", "integer"), FunctionField("N", "number"))
FUNCTION = RasterFunction("F.py", "0" * 64, None, True, fields=FIELDS)
ARGUMENTS = ModelArguments(None, 0, False, False)


def empty(count: int) -> Labels:
    return unlabelled(count, MODEL, ARGUMENTS, FUNCTION)


@pytest.fixture
def given() -> Labels:
    """Return the labels of six rows; the last one is not classified."""
    labels = empty(6)
    assert labels.values is not None
    labels.winner[:5], labels.confidence[:5], labels.status[:5] = [0, 1, -1, 0, 1], np.linspace(0, 1, 5), 0
    some = [np.array(values, object) for values in (["a", "", "é\n", None, "x"], [1, 2**60, -3, None, 0])]
    numbers = np.array([0.5, 1e300, None, -0.0, 3.0], object)
    texts = np.array(["dark", "bright", "other", "dark", "bright"], object)
    labels.values.put(np.arange(5), FunctionValues(texts, (*some, numbers)))
    return labels


def told(labels: Labels) -> list[list[str]]:
    assert labels.values is not None
    numbers = [labels.winner.tolist(), labels.confidence.tolist(), labels.status.tolist()]
    return [list(map(repr, column)) for column in (*numbers, *(item.tolist() for item in labels.values.columns))]


def test_values_of_a_function_come_through_the_files_of_sections(tmp_path: Path, given: Labels) -> None:
    found = empty(6)
    for number, rows in enumerate((np.array([5, 0, 3]), np.array([4, 1]), np.array([2]), np.zeros(0, np.int64))):
        save_labels(tmp_path / str(number), rows, labels_of(given, rows))
        gather_labels(tmp_path / str(number), found)
    assert told(found) == told(given)


def test_values_of_a_function_come_through_pauses(tmp_path: Path, given: Labels) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    storage = FolderStorage(tmp_path / "jobs")
    storage.put_execution("job", b"")
    files = storage.files("job", "plan", scratch)
    for step, rows in enumerate((np.array([4, 2]), np.array([0]), np.zeros(0, np.int64))):
        keep_step(files, 1, step, rows, labels_of(given, rows), {})
    progress = SectionProgress(files, 1, empty(6))
    progress.load()
    rest = np.array([1, 3, 5])
    found = empty(6)
    assert found.values is not None
    assert given.values is not None
    for column, values in zip(found.values.columns, labels_of(given, rest).values.columns, strict=True):  # type: ignore[union-attr]
        column[rest] = values
    found.winner[rest], found.confidence[rest], found.status[rest] = (
        given.winner[rest],
        given.confidence[rest],
        given.status[rest],
    )
    progress.add(rest, Classified(found, np.ones(3, bool)))
    assert progress.done.all()
    assert told(progress.labels) == told(given)
