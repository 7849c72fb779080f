"""The steps of an optimisation: cut chips of real objects, write the variant, measure it, keep it or refuse it."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from processes.classify.inference import GPU_THREADS
from processes.errors import InputError, PackageError
from processes.model.catalog import Model
from processes.model.local_catalog import LocalCatalog
from processes.model.runtime.cpu import network_instructions
from processes.model.runtime.quantisation import METHOD
from processes.model.runtime.runtime import Precision, Processor
from processes.model.runtime.runtimes import available_threads, choose_runtime, missing_gpu, missing_precision
from processes.model.session import Session, SessionKey
from processes.programs.conversion.new_package import require_writable, write_archive
from processes.programs.conversion.object_chips import CutObjects, RecordingSession, cut_chips
from processes.programs.optimisation.figures import (
    LabelFigures,
    Speeds,
    Truth,
    compare_labels,
    measure_speeds,
    read_truth,
    scores_of,
)
from processes.programs.optimisation.variant_files import write_figures, write_variant
from processes.settings import Settings

_LAYERS_KEPT = (0, 1)
"""How many of the first layers stay in float32: none, unless too many labels change. All others get their errors."""


class OptimisationOptions(msgspec.Struct, frozen=True):
    """What the user decides about a variant."""

    precision: Precision
    overwrite: bool = False
    """True = a package that is there already is replaced."""
    truth_field: str | None = None
    """The field of the features that names the class of each; None = nobody knows it."""
    max_changed: float | None = None
    """Share of labels that may change, 0..1; None = any."""
    objects: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Inputs `image` and `features` of the process."""


class OptimisedPackage(msgspec.Struct, frozen=True):
    """What an optimisation tells at its end."""

    runtime: str
    """Name and version of the library that computes the variant here."""
    labels: LabelFigures
    speeds: Speeds
    truth: Truth | None
    """None = it is not known."""
    accuracies: tuple[float, float] | None
    """Share of right labels in fp32 and of the variant, 0..1; None as `truth`."""
    warnings: tuple[str, ...]


def optimise_package(
    given: str, output: Path, settings: Settings, options: OptimisationOptions, tell: Callable[[str], None]
) -> OptimisedPackage:
    """Make a variant of a package, measure it and write it; on failure nothing is written.

    Args:
        given: id of an installed model, or a package: a `.dlpk`, a folder or its .emd.
        output: the new `.dlpk`.
        settings: what the configuration says.
        options: what the user decides.
        tell: is called with what is being done.

    Raises:
        ServiceError: there can be no such variant, this machine cannot compute it, or it changes too many labels.
    """
    require_writable(output, options.overwrite)
    processor = _processor(options.precision)
    missing = (missing_gpu() if processor == "GPU" else None) or missing_precision(options.precision, processor)
    if missing is not None:
        raise InputError(f"a variant in {options.precision} cannot be measured on this machine: {missing}")
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".optimise-") as folder:
            work, archive = Path(folder), Path(folder, "optimised.dlpk")
            package = work / "package" / output.stem
            package.mkdir(parents=True)
            found = _optimise(given, work, package, settings, options, tell)
            write_archive(package, archive)
            os.replace(archive, output)
            return found
    except OSError as err:
        raise InputError(f"{output} cannot be written: {err.strerror or err}") from err


def _optimise(
    given: str,
    work: Path,
    package: Path,
    settings: Settings,
    options: OptimisationOptions,
    tell: Callable[[str], None],
) -> OptimisedPackage:
    """Write the files of the variant into the folder `package`, and measure them."""
    settings = msgspec.structs.replace(settings, state=work / "state")
    catalog, processor = LocalCatalog.from_settings(settings), _processor(options.precision)
    model = catalog.model(given)
    _require_plain(model, package.name)
    threads = GPU_THREADS if processor == "GPU" else available_threads()
    before = RecordingSession(_key(model, processor, threads))
    _require_fit(options.precision, before)
    tell("cutting the chips of the objects")
    cut = cut_chips({**options.objects, "model": given}, catalog, settings, before, work / "objects")
    if not before.has_recorded():
        raise InputError(f"none of the {cut.count} objects has a chip: they touch no image, or nodata alone")
    chips, scores = before.recorded()
    truth = None if options.truth_field is None else _truth(options.truth_field, cut, model)
    most = 1.0 if options.max_changed is None else options.max_changed
    variants = LocalCatalog.from_settings(msgspec.structs.replace(settings, models=()))
    for kept in _LAYERS_KEPT if options.precision == "int8" else (0,):
        tell(f"making a network of {options.precision}" + (", but for its first layer" if kept else ""))
        calibrated = write_variant(model, options.precision, before, chips, package, work, kept)
        variant = variants.model_at(package)
        after = Session(_key(variant, processor, threads))
        tell("comparing the labels")
        after_scores = scores_of(after, chips)
        labels = compare_labels(scores, after_scores, model.definition)
        if labels.share <= most:
            break
    else:
        raise PackageError(
            f"{options.precision} changes the labels of {labels.changed} of {labels.objects} objects "
            f"({labels.share:.2%}), more than --max-changed {most * 100:g}% allows: nothing was written"
        )
    tell("measuring the speed")
    found = OptimisedPackage(
        runtime=choose_runtime(processor, after.precision).version(),
        labels=labels,
        speeds=measure_speeds(Session(before.key), after, chips, threads),
        truth=truth,
        accuracies=None if truth is None else (truth.accuracy(scores), truth.accuracy(after_scores)),
        warnings=variant.warnings,
    )
    figures = _figures(found, model, options.precision, threads)
    if calibrated:
        figures["calibration"] = {"chips": calibrated, "method": METHOD, "firstLayersInFp32": kept}
    from processes.model.mlm import stac_item  # its libraries take their time to import

    write_figures(package, figures, _sentence(found, model, options.precision), stac_item(variant))
    return found


def _processor(precision: Precision) -> Processor:
    """Return what a precision is for."""
    return "GPU" if precision == "fp16" else "CPU"


def _require_plain(model: Model, new_id: str) -> None:
    """Raise where a model cannot have a variant, or not one of such an id."""
    if model.id == new_id:
        raise InputError(f"a variant has an id of its own, but OUTPUT is {new_id}.dlpk: give it another name")
    if model.own_function is not None:
        raise PackageError(f"the labels of {model.id!r} are its raster function's: there is no network to optimise")
    stated = model.definition.precision
    if stated not in (None, "fp32"):
        raise PackageError(f"{model.id!r} states Precision {stated} already: optimise the package that it was made of")


def _require_fit(precision: Precision, session: Session) -> None:
    """Raise PackageError where the network cannot be computed in a precision."""
    network = session.network
    if network.is_quantised:
        raise PackageError("the network is quantised already")
    if network.dtype != "float32":
        raise PackageError(f"the network takes {network.dtype}: {precision} is made of networks of float32")


def _key(model: Model, processor: Processor, threads: int) -> SessionKey:
    return SessionKey(
        model.network,
        model.sha256,
        model.definition,
        model.activation,
        processor,
        1,
        model.output_name,
        callers=threads,
    )


def _truth(field_name: str, cut: CutObjects, model: Model) -> Truth:
    attributes = cut.planned.layer.attributes
    columns = {name: attributes.column(name) for name in attributes.column_names}
    return read_truth(field_name, columns, cut.planned.objects[cut.rows], model.definition)


def _figures(found: OptimisedPackage, model: Model, precision: Precision, threads: int) -> dict[str, Any]:
    """Return the figures as the .emd and the card have them."""
    speeds = {"fp32": found.speeds.fp32, precision: found.speeds.variant}
    figures: dict[str, Any] = {
        "from": {"id": model.id, "sha256": model.sha256},
        "precision": precision,
        "runtime": found.runtime,
        "instructions": network_instructions(),
        "threads": threads,
        "objects": found.labels.objects,
        "labelsChanged": found.labels.changed,
        "largestChange": round(found.labels.largest_change, 6),
        "chipsPerSecond": {name: round(statistics.median(values), 1) for name, values in speeds.items()},
        "timesAsFast": round(found.speeds.ratio, 2),
    }
    if found.truth is not None and found.accuracies is not None:
        accuracies = {name: round(value, 4) for name, value in zip(speeds, found.accuracies, strict=True)}
        figures["accuracy"] = {"field": found.truth.field, "objects": found.truth.known, **accuracies}
    return figures


def _sentence(found: OptimisedPackage, model: Model, precision: Precision) -> str:
    return (
        f"A variant of {model.id}, computed in {precision}: {found.labels}; "
        f"{found.speeds.ratio:.2f} times as fast as fp32 with {found.runtime}."
    )
