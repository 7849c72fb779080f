"""The process `classify-objects`: a request in, a classified layer out.

Read the inputs, open what they point to, plan the chips, run the model, publish the result. Large work is cut into
sections: its plan is frozen into files, each section writes what it found into a file of its own, and the result is put
together from these.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.classify import Labels, Status, reading_order, unlabelled
from processes.classify_description import OUTPUT, describe
from processes.classify_request import LITERALS, Inputs, name_stem, open_material, pin_links, read_inputs
from processes.description import Description, Request, Value
from processes.errors import Fault, PackageError, RequestError, collected
from processes.features.result import FILE_ENDINGS, MediaType
from processes.imagery.image import Image
from processes.label_files import gather_labels, labels_of, save_labels
from processes.model.catalog import Catalog
from processes.model.processor import available_threads
from processes.pins import require_same, require_unchanged
from processes.planning.frozen import (
    LAYER,
    PLAN,
    ROWS,
    SECTIONS,
    FrozenPlan,
    decode_plan,
    describe_plan,
    encode_plan,
    freeze,
    thaw_images,
    thaw_rows,
    thaw_section,
)
from processes.planning.material import Material, Plan, PlannedRows
from processes.planning.plan import plan
from processes.process import Answer, Begun, Files, Order, Outline, Progress, SectionedProcess, Terms, choose
from processes.publish import offered_media_types, publish, require_form, result_fields
from processes.run import run, run_rows, session_for
from processes.settings import Settings

_FIRST_SECTION_S = 2.5
"""So long the first section takes; work that is done by then has no other."""
_SECTION_S = 4
"""So long each further one would take at the speed of the first."""
_OPENED = "opened"
"""Where images and features lie that came with the request or were fetched."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Work that can begin."""

    inputs: Inputs
    plan: Plan
    media_type: MediaType
    result_name: str

    def published(self, labels: Labels, folder: Path) -> Answer:
        """Write the result into a folder."""
        return _publish(self.plan.rows, labels, self.inputs, self.media_type, self.result_name, folder)


class _Pace:
    """Measures how fast rows are done, the first batch left aside: within that the network is opened.

    Args:
        progress: is told of the rows too.
    """

    def __init__(self, progress: Progress) -> None:
        self.start_s = time.monotonic()
        self._progress = progress
        self._first_s = self._last_s = 0.0
        self._first_rows = self._rows = 0

    def count(self, rows: int) -> None:
        """Count rows that are done."""
        self._last_s = time.monotonic()
        self._rows += rows
        if not self._first_rows:
            self._first_s, self._first_rows = self._last_s, rows
        self._progress(rows)

    def rows_per_s(self) -> float:
        """Return rows per second; of all where there was but one batch."""
        if self._last_s > self._first_s:
            return (self._rows - self._first_rows) / (self._last_s - self._first_s)
        return self._rows / (time.monotonic() - self.start_s)


class ClassifyObjects(SectionedProcess):
    """Classifies objects on imagery.

    Args:
        settings: what the deployment decides.
        catalog: the installed models.
        threads: cores that a section uses; None = all.
    """

    def __init__(self, settings: Settings, catalog: Catalog, threads: int | None = None) -> None:
        self._settings = settings
        self._catalog = catalog
        self._threads = threads

    def describe(self) -> Description:
        return describe(self._catalog.usable())

    def frame(self) -> Description:
        return describe([])

    def check(self, order: Order) -> Terms:
        faults = list(order.faults)
        runs_here = self._settings.scheduler is None
        inputs = read_inputs(order.request, faults, self._catalog, runs_here, order.require_free)
        pins, stem = pin_links(order.request, self._settings, faults)
        if faults or inputs is None:
            raise RequestError(faults)
        # an image that is an object of its own takes longer than a chip
        pace_key = inputs.model.sha256 if "features" in order.request.inputs else f"{inputs.model.sha256}-images"
        return dataclasses.replace(inputs.terms, pins=pins, name_stem=stem, pace_key=pace_key)

    def execute(self, order: Order, folder: Path) -> Answer:
        prepared = self._prepare(order, folder)
        return prepared.published(run(prepared.plan), folder)

    def outline(self, order: Order, folder: Path, measures: bool) -> Outline:
        rows, faults = self._prepare(order, folder).plan.rows, list[Fault]()
        pace = None
        if measures:
            with collected(faults, "/inputs/model"):
                pace = session_for(rows.material).chips_per_s() * (self._threads or available_threads())
            if faults:
                raise RequestError(faults)
        return Outline(len(rows.material.images), len(rows), tuple(result_fields(rows)), pace)

    def forecast(self, objects: int, objects_per_s: float, slots: int) -> tuple[int, float]:
        left = objects - _FIRST_SECTION_S * objects_per_s
        if left <= 0:
            return 1, objects / objects_per_s
        return 1 + math.ceil(left / (objects_per_s * _SECTION_S)), _FIRST_SECTION_S + left / (objects_per_s * slots)

    def begin(self, order: Order, files: Files, planned: Callable[[int], None], progress: Progress) -> Answer | Begun:
        prepared = self._prepare(order, files.scratch)
        plan, material = prepared.plan, prepared.plan.rows.material
        rows, session = reading_order(plan.work), session_for(material)
        planned(len(plan.rows))
        progress(len(plan.rows) - len(rows))
        pace = _Pace(progress)
        labels, done = run_rows(
            material,
            plan.work,
            rows,
            session,
            plan.rows.name,
            pace.count,
            self._threads or available_threads(),
            enough=lambda: time.monotonic() - pace.start_s > _FIRST_SECTION_S,
        )
        require_unchanged(order.pins or ())
        if done == len(rows):
            labels.status[plan.rows.empty] = Status.EMPTY_GEOMETRY
            return prepared.published(labels, files.scratch)
        sections = _cut(rows[done:], pace.rows_per_s())
        _freeze(prepared, order, rows[:done], labels, sections, files)
        return Begun((done, *map(len, sections)), len(plan.rows) - len(rows))

    def run_section(self, files: Files, section: int, progress: Progress) -> None:
        if files.has(_labels_name(section)):  # somebody did it, and did not live to tell
            return
        frozen, inputs = self._thaw(files)
        images = thaw_images(frozen, partial(_located, files))
        material = _material(inputs, images)
        with files.open(SECTIONS) as source:
            work, rows = thaw_section(frozen, images, source, section - 1)
        placed = np.unique(work.placement.image).tolist()
        # cells of a mosaic may come from any of its images
        used = {image.path for image in (frozen.images if frozen.is_mosaic else map(frozen.images.__getitem__, placed))}
        pins = [item for item in frozen.pins if item.path in used]
        require_unchanged(pins)
        labels, _ = run_rows(
            material,
            work,
            np.arange(len(rows)),
            session_for(material),
            lambda row: _thawed_rows(frozen, material, files).name(int(rows[row])),
            progress,
            self._threads or available_threads(),
        )
        require_unchanged(pins)
        path = files.scratch / _labels_name(section)
        save_labels(path, rows, labels)
        files.keep(path.name, path)

    def finish(self, files: Files) -> Answer:
        frozen, inputs = self._thaw(files)
        rows = _thawed_rows(frozen, _material(inputs, thaw_images(frozen, Path)), files)
        labels = unlabelled(len(rows), inputs.model.definition, inputs.arguments)
        gather_labels((files.fetch(_labels_name(section)) for section in range(frozen.sections)), labels)
        labels.status[rows.empty] = Status.EMPTY_GEOMETRY
        return _publish(rows, labels, inputs, cast(MediaType, frozen.media_type), frozen.result_name, files.scratch)

    def _prepare(self, order: Order, folder: Path) -> _Prepared:
        """Read the inputs, open what they point to, and plan.

        Raises:
            RequestError: everything that is wrong with the request.
        """
        faults = list(order.faults)
        inputs = read_inputs(order.request, faults, self._catalog, runs_here=True)
        self._require_pinned(order)
        opened = folder / _OPENED
        opened.mkdir()
        material = open_material(order.request, inputs, faults, self._settings, opened)
        if inputs is None:
            raise RequestError(faults)
        media_type = inputs.media_type or cast(MediaType, choose(offered_media_types(material), order.accept))
        with collected(faults, "/outputs"):
            require_form(material, media_type, inputs.crs)
        planned = plan(material, self._settings.limits.max_objects, order.max_objects, faults)
        self._require_pinned(order)
        name = order.result_name or inputs.terms.result_name or name_stem(material.images[0].name)
        return _Prepared(inputs, planned, media_type, name)

    def _require_pinned(self, order: Order) -> None:
        if order.pins is not None:
            require_same(order.pins, pin_links(order.request, self._settings, [])[0])

    def _thaw(self, files: Files) -> tuple[FrozenPlan, Inputs]:
        """Return a plan, and what the client asked for, read once more.

        Raises:
            RequestError: the model is another one by now, or this machine lacks what is asked for.
        """
        frozen = decode_plan(files.fetch(PLAN).read_bytes())
        values = {name: [Value(f"/inputs/{name}", msgspec.Raw(text))] for name, text in frozen.asked.items()}
        faults: list[Fault] = []
        inputs = read_inputs(Request(values, None, "raw", None), faults, self._catalog, runs_here=True)
        if faults or inputs is None:
            raise RequestError(faults)
        if inputs.model.sha256 != frozen.model_sha256:
            changed = PackageError(f"the model {inputs.model.id!r} was changed after the request was accepted")
            raise RequestError.at("/inputs/model", changed)
        return frozen, inputs


def _material(inputs: Inputs, images: Sequence[Image]) -> Material:
    return Material(images, [], None, inputs.model, inputs.arguments, inputs.options)


def _thawed_rows(frozen: FrozenPlan, material: Material, files: Files) -> PlannedRows:
    return thaw_rows(frozen, material, files.fetch(ROWS), files.fetch(LAYER))


def _located(files: Files, path: str) -> Path:
    """Return where an image of a plan lies: a relative path is one of the job's own files."""
    return Path(path) if Path(path).is_absolute() else files.fetch(path)


def _labels_name(section: int) -> str:
    return f"labels-{section:06}.arrow"


def _cut(rows: NDArray[np.int64], rows_per_s: float) -> list[NDArray[np.int64]]:
    """Cut rows in reading order into sections of equal size, each of which takes some seconds."""
    return np.array_split(rows, math.ceil(len(rows) / max(1, rows_per_s * _SECTION_S)))


def _freeze(
    prepared: _Prepared,
    order: Order,
    done: NDArray[np.int64],
    labels: Labels,
    sections: Sequence[NDArray[np.int64]],
    files: Files,
) -> None:
    """Keep a plan, what the first section found, and the images that came with the request or were fetched."""
    folder = files.scratch / "frozen"
    folder.mkdir()
    freeze(prepared.plan, sections, folder)
    save_labels(folder / _labels_name(0), done, labels_of(labels, done))
    opened = files.scratch / _OPENED
    images = []
    for image in prepared.plan.work.images:
        if image.path.is_relative_to(opened):
            name = f"{_OPENED}-{image.path.name}"
            files.keep(name, image.path)
            image = dataclasses.replace(image, path=Path(name))
        images.append(image)
    asked = {name: bytes(given[0].text) for name, given in order.request.inputs.items() if name in LITERALS}
    frozen = describe_plan(
        prepared.plan, images, len(sections) + 1, order.pins or (), asked, prepared.media_type, prepared.result_name
    )
    (folder / PLAN).write_bytes(encode_plan(frozen))
    for path in sorted(folder.iterdir()):
        files.keep(path.name, path)


def _publish(
    rows: PlannedRows, labels: Labels, inputs: Inputs, media_type: MediaType, name: str, folder: Path
) -> Answer:
    path = folder / f"{OUTPUT}{FILE_ENDINGS[media_type]}"
    summary = publish(rows, labels, media_type, inputs.crs, path, name)
    return Answer(OUTPUT, media_type, path, summary)
