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
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.classify.description import OUTPUT, describe
from processes.classify.inference import ClassStatus, Labels, unlabelled
from processes.classify.inputs import LITERALS, Inputs, name_stem, open_sources, read_inputs, stamp_links
from processes.classify.label_files import gather_labels, labels_of, save_labels
from processes.classify.pipeline import run, run_rows, session_for
from processes.classify.planning.plan import plan
from processes.classify.planning.sources import Plan, PlannedRows, Sources
from processes.classify.publish import offered_media_types, publish, require_form, result_fields
from processes.classify.sections import (
    LAYER,
    PLAN,
    ROWS,
    SECTIONS,
    SavedPlan,
    decode_plan,
    describe_plan,
    encode_plan,
    load_images,
    load_rows,
    load_section,
    save_images,
    save_rows,
)
from processes.errors import Fault, PackageError, RequestError, collect_faults
from processes.features.writing.result import FILE_ENDINGS, MediaType
from processes.imagery.chip_plan import reading_order
from processes.imagery.image import Image
from processes.imagery.source import require_unchanged
from processes.model.catalog import Catalog
from processes.model.processor import available_threads
from processes.ogc.process import (
    Estimate,
    Execution,
    Files,
    Output,
    Progress,
    Requirements,
    SectionedProcess,
    Sections,
    choose_media_type,
)
from processes.ogc.request import Description, ExecuteRequest, InputValue
from processes.settings import Settings
from processes.sources.stamps import require_same_files, require_unchanged_files

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

    def published(self, labels: Labels, folder: Path) -> Output:
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

    def check(self, order: Execution) -> Requirements:
        faults = list(order.faults)
        runs_here = self._settings.scheduler is None
        inputs = read_inputs(order.request, faults, self._catalog, runs_here, order.require_free)
        file_stamps, stem = stamp_links(order.request, self._settings, faults)
        if faults or inputs is None:
            raise RequestError(faults)
        # an image that is an object of its own takes longer than a chip
        pace_key = inputs.model.sha256 if "features" in order.request.inputs else f"{inputs.model.sha256}-images"
        return dataclasses.replace(inputs.requirements, file_stamps=file_stamps, name_stem=stem, pace_key=pace_key)

    def execute(self, order: Execution, folder: Path) -> Output:
        prepared = self._prepare(order, folder)
        return prepared.published(run(prepared.plan), folder)

    def outline(self, order: Execution, folder: Path, measures: bool) -> Estimate:
        rows, faults = self._prepare(order, folder).plan.rows, list[Fault]()
        pace = None
        if measures:
            with collect_faults(faults, "/inputs/model"):
                pace = session_for(rows.sources).chips_per_s() * (self._threads or available_threads())
            if faults:
                raise RequestError(faults)
        return Estimate(len(rows.sources.images), len(rows), tuple(result_fields(rows)), pace)

    def forecast(self, objects: int, objects_per_s: float, slots: int) -> tuple[int, float]:
        left = objects - _FIRST_SECTION_S * objects_per_s
        if left <= 0:
            return 1, objects / objects_per_s
        return 1 + math.ceil(left / (objects_per_s * _SECTION_S)), _FIRST_SECTION_S + left / (objects_per_s * slots)

    def begin(
        self, order: Execution, files: Files, planned: Callable[[int], None], progress: Progress
    ) -> Output | Sections:
        prepared = self._prepare(order, files.scratch)
        plan, sources = prepared.plan, prepared.plan.rows.sources
        rows, session = reading_order(plan.chips), session_for(sources)
        planned(len(plan.rows))
        progress(len(plan.rows) - len(rows))
        pace = _Pace(progress)
        labels, done = run_rows(
            sources,
            plan.chips,
            rows,
            session,
            plan.rows.name,
            pace.count,
            self._threads or available_threads(),
            enough=lambda: time.monotonic() - pace.start_s > _FIRST_SECTION_S,
        )
        require_unchanged_files(order.file_stamps or ())
        if done == len(rows):
            labels.status[plan.rows.empty] = ClassStatus.EMPTY_GEOMETRY
            return prepared.published(labels, files.scratch)
        sections = _cut(rows[done:], pace.rows_per_s())
        _freeze(prepared, order, rows[:done], labels, sections, files)
        return Sections((done, *map(len, sections)), len(plan.rows) - len(rows))

    def run_section(self, files: Files, section: int, progress: Progress) -> None:
        if files.has(_labels_name(section)):  # somebody did it, and did not live to tell
            return
        saved, inputs = self._thaw(files)
        images = load_images(saved, files.fetch)
        sources = _sources(inputs, images)
        with files.open(SECTIONS) as source:
            chips, rows = load_section(saved, images, source, section - 1)
        placed = np.unique(chips.placement.image).tolist()
        # cells of a mosaic may come from any of its images
        used = [image.source for image in (images if saved.is_mosaic else map(images.__getitem__, placed))]
        require_unchanged(used, saved.file_stamps)
        labels, _ = run_rows(
            sources,
            chips,
            np.arange(len(rows)),
            session_for(sources),
            lambda row: _thawed_rows(saved, sources, files).name(int(rows[row])),
            progress,
            self._threads or available_threads(),
        )
        require_unchanged(used, saved.file_stamps)
        path = files.scratch / _labels_name(section)
        save_labels(path, rows, labels)
        files.keep(path.name, path)

    def finish(self, files: Files) -> Output:
        saved, inputs = self._thaw(files)
        rows = _thawed_rows(saved, _sources(inputs, saved.images), files)
        labels = unlabelled(len(rows), inputs.model.definition, inputs.arguments)
        gather_labels((files.fetch(_labels_name(section)) for section in range(saved.sections)), labels)
        labels.status[rows.empty] = ClassStatus.EMPTY_GEOMETRY
        return _publish(rows, labels, inputs, cast(MediaType, saved.media_type), saved.result_name, files.scratch)

    def _prepare(self, order: Execution, folder: Path) -> _Prepared:
        """Read the inputs, open what they point to, and plan.

        Raises:
            RequestError: everything that is wrong with the request.
        """
        faults = list(order.faults)
        inputs = read_inputs(order.request, faults, self._catalog, runs_here=True)
        self._require_pinned(order)
        opened = folder / _OPENED
        opened.mkdir()
        sources = open_sources(order.request, inputs, faults, self._settings, opened)
        if inputs is None:
            raise RequestError(faults)
        media_type = inputs.media_type or cast(MediaType, choose_media_type(offered_media_types(sources), order.accept))
        with collect_faults(faults, "/outputs"):
            require_form(sources, media_type, inputs.crs)
        planned = plan(sources, self._settings.limits.max_objects, order.max_objects, faults)
        self._require_pinned(order)
        name = order.result_name or inputs.requirements.result_name or name_stem(sources.images[0].name)
        return _Prepared(inputs, planned, media_type, name)

    def _require_pinned(self, order: Execution) -> None:
        if order.file_stamps is not None:
            require_same_files(order.file_stamps, stamp_links(order.request, self._settings, [])[0])

    def _thaw(self, files: Files) -> tuple[SavedPlan, Inputs]:
        """Return a plan, and what the client asked for, read once more.

        Raises:
            RequestError: the model is another one by now, or this machine lacks what is asked for.
        """
        saved = decode_plan(files.fetch(PLAN).read_bytes())
        values = {name: [InputValue(f"/inputs/{name}", msgspec.Raw(text))] for name, text in saved.asked.items()}
        faults: list[Fault] = []
        inputs = read_inputs(ExecuteRequest(values, None, "raw", None), faults, self._catalog, runs_here=True)
        if faults or inputs is None:
            raise RequestError(faults)
        if inputs.model.sha256 != saved.model_sha256:
            changed = PackageError(f"the model {inputs.model.id!r} was changed after the request was accepted")
            raise RequestError.at("/inputs/model", changed)
        return saved, inputs


def _sources(inputs: Inputs, images: Sequence[Image]) -> Sources:
    return Sources(images, [], None, inputs.model, inputs.arguments, inputs.options)


def _thawed_rows(saved: SavedPlan, sources: Sources, files: Files) -> PlannedRows:
    return load_rows(saved, sources, files.fetch(ROWS), files.fetch(LAYER))


def _labels_name(section: int) -> str:
    return f"labels-{section:06}.arrow"


def _cut(rows: NDArray[np.int64], rows_per_s: float) -> list[NDArray[np.int64]]:
    """Cut rows in reading order into sections of equal size, each of which takes some seconds."""
    return np.array_split(rows, math.ceil(len(rows) / max(1, rows_per_s * _SECTION_S)))


def _freeze(
    prepared: _Prepared,
    order: Execution,
    done: NDArray[np.int64],
    labels: Labels,
    sections: Sequence[NDArray[np.int64]],
    files: Files,
) -> None:
    """Keep a plan, what the first section found, and the images that came with the request or were fetched."""
    folder = files.scratch / "frozen"
    folder.mkdir()
    save_rows(prepared.plan, sections, folder)
    save_labels(folder / _labels_name(0), done, labels_of(labels, done))
    images = save_images(prepared.plan.chips.images, files.scratch / _OPENED, files.keep)
    asked = {name: bytes(given[0].text) for name, given in order.request.inputs.items() if name in LITERALS}
    saved = describe_plan(
        prepared.plan,
        images,
        len(sections) + 1,
        order.file_stamps or (),
        asked,
        prepared.media_type,
        prepared.result_name,
    )
    (folder / PLAN).write_bytes(encode_plan(saved))
    for path in sorted(folder.iterdir()):
        files.keep(path.name, path)


def _publish(
    rows: PlannedRows, labels: Labels, inputs: Inputs, media_type: MediaType, name: str, folder: Path
) -> Output:
    path = folder / f"{OUTPUT}{FILE_ENDINGS[media_type]}"
    summary = publish(rows, labels, media_type, inputs.crs, path, name)
    return Output(OUTPUT, media_type, path, summary)
