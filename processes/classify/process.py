"""The process `classify-objects`: a request in, a classified layer out.

Read the inputs, open what they point to, plan the chips, run the model, publish the result. Large work is cut into
sections: its plan is saved to files, each section writes its labels to a file of its own, and the result is put
together from these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.classify.batches import Pause, pause_after
from processes.classify.description import describe
from processes.classify.downloads import has_host_links
from processes.classify.inference import Classified
from processes.classify.inputs import name_stem, open_sources, read_inputs, stamp_links
from processes.classify.label_files import gather_sections, labels_name, labels_of, save_labels
from processes.classify.outputs import chips_of, published, saved_chips
from processes.classify.paused_sections import SectionProgress, keep_step
from processes.classify.pipeline import classify_rows, empty_labels, session_for, useful_threads
from processes.classify.planning.cutting import READ_BYTES_PER_S, cut_sections, require_readable, seconds_of_section
from processes.classify.planning.plan import plan
from processes.classify.planning.sources import Plan, PlannedRows, Sources
from processes.classify.publish import require_format, result_fields
from processes.classify.sections import (
    LAYER,
    PLAN,
    ROWS,
    SECTIONS,
    OutputOptions,
    SavedPlan,
    decode_plan,
    describe_plan,
    encode_plan,
    load_images,
    load_placement,
    load_rows,
    load_section,
    load_sources,
    plan_kept,
    save_images,
    save_rows,
)
from processes.classify.stopwatch import Stopwatch
from processes.classify.summary import class_counts, counted_classes
from processes.errors import RequestError, at_pointer, collect_faults
from processes.features.writing.formats import format_of_media_type, offered_formats
from processes.imagery.chip_plan import reading_order
from processes.imagery.reading_cost import reading_cost
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.source import require_unchanged
from processes.model.catalog import Catalog
from processes.model.runtime.runtimes import available_threads
from processes.ogc.execution import Execution
from processes.ogc.media_types import choose_media_type
from processes.ogc.process import (
    Estimate,
    JobFiles,
    Output,
    Progress,
    RequireFreeName,
    RequireGpu,
    Requirements,
    SectionedProcess,
    SectionPart,
    Sections,
)
from processes.ogc.request import Description
from processes.settings import Settings
from processes.sources.downloads import OPENED
from processes.sources.part_cache import PartCache
from processes.sources.seal import Seal, seal_of
from processes.sources.stamps import FileStamp, require_same_files, require_unchanged_files

_FIRST_SECTION_S = 0.4
"""Seconds that the first section takes, which one slot does alone, with the cores of those that have nothing to do."""
_WHOLE = 8
"""Work that ends within so many times that has no further section."""
_LEAST_MEASURED = 0.25
"""For this part of it, at least, the speed is measured."""
_SECTION_S = 4
"""Seconds that each further section takes at most, at the speed of the first."""
_STEP_S = 5
"""Seconds after which a section that takes longer makes room for others; it goes on in another step."""
_FEATURES = "/inputs/features"
"""Pointer of the features in a request."""


class ClassifyObjects(SectionedProcess):
    """Classifies objects on imagery.

    Args:
        settings: what the deployment decides.
        catalog: the installed models.
        threads: number of cores that a section uses; None = all.
    """

    def __init__(self, settings: Settings, catalog: Catalog, threads: int | None = None) -> None:
        self._settings = settings
        self._catalog = catalog
        self._threads = threads

    def describe(self) -> Description:
        return describe(self._catalog.usable_ids())

    def frame(self) -> Description:
        return describe([])

    def validate(
        self,
        execution: Execution,
        require_free_name: RequireFreeName = lambda _: None,
        require_gpu: RequireGpu | None = None,
    ) -> Requirements:
        request, faults = execution.request, list(execution.request.faults)
        inputs = read_inputs(request, faults, self._catalog, require_gpu, require_free_name)
        stamps, stem = stamp_links(request, execution.link_settings(self._settings), faults)
        if faults or inputs is None:
            raise RequestError(faults)
        # an image that is an object of its own takes longer than a chip
        pace_key = inputs.model.sha256 if "features" in request.inputs else f"{inputs.model.sha256}-images"
        return msgspec.structs.replace(
            inputs.requirements,
            file_stamps=stamps,
            model_sha256=inputs.model.sha256,
            name_stem=stem,
            pace_key=pace_key,
        )

    def has_host_links(self, execution: Execution) -> bool:
        return has_host_links(execution.request, execution.link_settings(self._settings))

    def execute(
        self,
        execution: Execution,
        folder: Path,
        planned: Callable[[int], None] = lambda _: None,
        progress: Progress = lambda _: None,
    ) -> Output:
        """Do the work. Arguments are those of the interface; `planned` and `progress` are called as in `begin`."""
        plan, output = self._prepare(execution, folder)
        found = self._classify(plan, reading_order(plan.chips), planned, Stopwatch(progress), Pause())
        self._require_same_model(plan.rows.sources)
        return published(plan.rows, found.labels, output, folder, stores=False)

    def estimate(self, execution: Execution, folder: Path, measures_speed: bool) -> Estimate:
        planned = self._prepare(execution, folder)[0]
        rows = planned.rows
        objects_per_s = None
        if measures_speed:
            with at_pointer("/inputs/model"):
                session = session_for(rows.sources, self._catalog.functions, self._thread_count())
                callers = 1 if session.key.processor == "GPU" else self._thread_count()  # one GPU for all threads
                objects_per_s = session.chips_per_s() * callers
        read_bytes = reading_cost(planned.chips).total
        return Estimate(len(rows.sources.images), len(rows), tuple(result_fields(rows)), objects_per_s, read_bytes)

    def estimate_sections(self, estimate: Estimate, objects_per_s: float, slots: int) -> tuple[int, float]:
        seconds = max(estimate.objects / objects_per_s, estimate.read_bytes / READ_BYTES_PER_S)
        if seconds / slots <= _WHOLE * _FIRST_SECTION_S:
            return 1, seconds / slots
        left_s = seconds - _FIRST_SECTION_S * slots
        sections = min(estimate.objects, 1 + math.ceil(left_s / seconds_of_section(left_s, _SECTION_S)))
        return sections, _FIRST_SECTION_S + left_s / min(sections, slots)

    def plan(self, execution: Execution, folder: Path) -> Plan:
        """Open what a request points to, and plan its chips, without a label.

        Args:
            execution: the request.
            folder: for what is opened.

        Raises:
            RequestError: everything that is wrong with the request.
        """
        return self._prepare(execution, folder)[0]

    def begin(
        self,
        execution: Execution,
        files: JobFiles,
        planned: Callable[[int], None],
        progress: Progress,
        cores: int | None = None,
    ) -> Output | Sections:
        plan, output = self._prepare(execution, files.scratch, files.near())
        rows, pace = reading_order(plan.chips), Stopwatch(progress)
        pause = Pause(lambda: _is_first_over(pace, len(rows)), lambda: pace.seconds() > _STEP_S)
        found = self._classify(plan, rows, planned, pace, pause, cores)
        stamps = execution.file_stamps or ()
        require_unchanged((image.source for image in plan.chips.images), stamps)
        require_unchanged_files(stamp for stamp in stamps if stamp.pointer.startswith(_FEATURES))
        self._require_same_model(plan.rows.sources)
        if found.done.all():
            chips = chips_of(plan, stamps, files.scratch / OPENED, seal_of(self._settings))
            return published(plan.rows, found.labels, output, files.scratch, True, chips)
        slots = found.threads / self._thread_count()
        sections = cut_sections(plan.chips, rows, found.done, pace.rows_per_s() / slots, _SECTION_S)
        done = rows[found.done]
        _save(plan, output, stamps, done, found, sections, files, seal_of(self._settings))
        classes = tuple(counted_classes(plan.rows.sources, labels_of(found.labels, done)))
        return Sections((int(found.done.sum()), *map(len, sections)), len(plan.rows) - len(rows), classes)

    def run_section(self, files: JobFiles, section: int, progress: Progress) -> SectionPart:
        if files.has(labels_name(section)):  # another process did it, and ended before it could report
            return SectionPart(1)
        with plan_kept():
            saved = decode_plan(seal_of(self._settings).open(files.fetch(PLAN).read_bytes()))
            images = load_images(saved, files.fetch, self._access(files.near()))
            with files.open(SECTIONS) as source:
                chips, rows = load_section(saved, images, source, section - 1)
        sources = load_sources(saved, images, self._catalog)
        placed = np.unique(chips.placement.image).tolist()
        # cells of a mosaic may come from any of its images
        used = [image.source for image in (images if saved.is_mosaic else map(images.__getitem__, placed))]
        require_unchanged(used, saved.file_stamps)
        before = SectionProgress(files, section, empty_labels(len(rows), sources))
        before.load()
        session = session_for(sources, self._catalog.functions, self._thread_count())
        todo, pause = np.flatnonzero(~before.done), pause_after(_STEP_S)
        found = classify_rows(sources, chips, todo, session, progress, self._thread_count(), pause, before.parts)
        require_unchanged(used, saved.file_stamps)
        self._require_same_model(sources)
        before.add(todo, found)
        if before.done.all():
            path = files.scratch / labels_name(section)
            save_labels(path, rows, before.labels)
            files.keep(path.name, path)
            return SectionPart(1, tuple(class_counts(sources, before.labels)))
        done = todo[found.done]
        keep_step(files, section, before.steps, done, labels_of(found.labels, done), found.parts)
        return SectionPart(before.share())

    def finish(self, files: JobFiles) -> Output:
        with plan_kept():
            saved = decode_plan(seal_of(self._settings).open(files.fetch(PLAN).read_bytes()))
        sources = load_sources(saved, saved.images, self._catalog)
        with plan_kept():
            rows = _loaded_rows(saved, sources, files)
        labels = empty_labels(len(rows), sources)
        gather_sections(files, saved.sections, labels)
        chips = saved_chips(saved, load_placement(files.fetch(ROWS)), seal_of(self._settings))
        return published(rows, labels, saved.output, files.scratch, True, chips)

    def _thread_count(self) -> int:
        return self._threads or available_threads()

    def _access(self, near: Path, execution: Execution | None = None) -> RemoteAccess:
        settings = self._settings if execution is None else execution.link_settings(self._settings)
        return RemoteAccess(settings, PartCache(near, settings.limits.max_cache_mb * 2**20))

    def _prepare(self, execution: Execution, folder: Path, near: Path | None = None) -> tuple[Plan, OutputOptions]:
        """Read the inputs, open what they point to, and plan; `near` is for what later steps may use again.

        Raises:
            RequestError: everything that is wrong with the request.
        """
        request, faults = execution.request, list(execution.request.faults)
        is_run = execution.dry_run is None or execution.dry_run.measures_speed  # else any machine does it
        require_gpu = None if is_run else lambda: None
        inputs = read_inputs(request, faults, self._catalog, require_gpu, sha256=execution.model_sha256)
        self._require_same_files(execution)
        opened = folder / OPENED
        opened.mkdir(exist_ok=True)  # it holds what was downloaded before
        sources = open_sources(request, inputs, faults, self._access(near or folder / "near", execution), opened)
        if inputs is None:
            raise RequestError(faults)
        offers = [item.media_type for item in offered_formats(sources.is_table)]
        output_format = inputs.output_format or format_of_media_type(choose_media_type(offers, execution.accept))
        with collect_faults(faults, "/outputs"):
            require_format(sources, output_format, inputs.crs)
        limits = self._settings.limits
        planned = plan(sources, limits.max_objects, execution.max_objects, faults)
        require_readable(planned.chips, limits.max_read_gb)
        self._require_same_files(execution)
        name = execution.result_name or inputs.requirements.result_name or name_stem(sources.images[0].name)
        crs = None if inputs.crs is None else inputs.crs.to_json()
        return planned, OutputOptions(output_format.media_type, crs, name)

    def _require_same_files(self, execution: Execution) -> None:
        if execution.file_stamps is not None:
            settings = execution.link_settings(self._settings)
            require_same_files(execution.file_stamps, stamp_links(execution.request, settings, [])[0])

    def _require_same_model(self, sources: Sources) -> None:
        """Raise RequestError where the model's files were replaced while it was in use."""
        model = sources.model
        with at_pointer("/inputs/model"):
            self._catalog.unchanged_model(model.id, model.sha256, model.package)

    def _classify(
        self,
        plan: Plan,
        rows: NDArray[np.int64],
        planned: Callable[[int], None],
        pace: Stopwatch,
        pause: Pause,
        cores: int | None = None,
    ) -> Classified:
        """Classify rows of a plan in reading order, as `classify_rows` does."""
        session = session_for(plan.rows.sources, self._catalog.functions, self._thread_count())
        planned(len(plan.rows))
        pace.start(len(plan.rows) - len(rows))
        threads = useful_threads(session, self._thread_count(), cores)
        return classify_rows(plan.rows.sources, plan.chips, rows, session, pace.count, threads, pause)


def _is_first_over(pace: Stopwatch, rows: int) -> bool:
    """Return whether the first section ends here, and the rest of so many rows is cut into further ones."""
    measured_s = pace.measured_s()  # the network is opened before that
    is_known = pace.seconds() > _FIRST_SECTION_S and measured_s >= _LEAST_MEASURED * _FIRST_SECTION_S
    return is_known and measured_s + pace.seconds_left(rows) > _WHOLE * _FIRST_SECTION_S


def _loaded_rows(saved: SavedPlan, sources: Sources, files: JobFiles) -> PlannedRows:
    return load_rows(saved, sources, files.fetch(ROWS), files.fetch(LAYER))


def _save(
    plan: Plan,
    output: OutputOptions,
    file_stamps: Sequence[FileStamp],
    done: NDArray[np.int64],
    found: Classified,
    sections: Sequence[NDArray[np.int64]],
    files: JobFiles,
    seal: Seal,
) -> None:
    """Keep the plan, what the first section found, and the images that came with the request or were fetched."""
    folder = files.scratch / "plan"
    folder.mkdir()
    save_rows(plan, sections, folder)
    save_labels(folder / labels_name(0), done, labels_of(found.labels, done))
    images = save_images(plan.chips.images, files.scratch / OPENED, files.keep)
    saved = describe_plan(plan, images, len(sections) + 1, file_stamps, output)
    (folder / PLAN).write_bytes(seal.close_if_needed(encode_plan(saved)))
    for path in sorted(folder.iterdir()):
        files.keep(path.name, path)
    for number, rows in enumerate(sections if found.parts else (), 1):
        parts = {place: found.parts[row] for place, row in enumerate(rows.tolist()) if row in found.parts}
        if parts:
            none = np.zeros(0, np.int64)
            keep_step(files, number, 0, none, labels_of(found.labels, none), parts)
    files.sync()
