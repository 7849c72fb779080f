"""The steps of a conversion: read, export, check, prove, write."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.convert.messages import ConversionAnswer, ConversionRequest, ForeignFile
from processes.errors import InputError, PackageError
from processes.model.catalog import Model
from processes.model.local_catalog import LocalCatalog, package_path
from processes.model.runtime.runtime import Chips
from processes.model.runtime.runtimes import available_threads
from processes.model.session import SessionKey
from processes.model.trial import random_chips
from processes.programs.conversion.environment import run_converter
from processes.programs.conversion.new_package import (
    RECORD,
    converted_document,
    copy_others,
    network_name,
    require_writable,
    write_archive,
    write_document,
)
from processes.programs.conversion.object_chips import RecordingSession, cut_chips
from processes.programs.conversion.proof import LIMIT, Comparison, compare, write_inputs
from processes.programs.conversion.source import ForeignPackage, read_foreign
from processes.settings import Settings

_RANDOM_CHIPS = 32
_SEED = 15


class ConversionOptions(msgspec.Struct, frozen=True):
    """What the user decides about a conversion."""

    python: Path
    """The Python of the environment of the converters."""
    overwrite: bool = False
    """True = a package that is there already is replaced."""
    side: int | None = None
    """`resampled_image_size` of an Esri KerasClassifier that takes any size, in cells; None = Esri's default."""
    timeout_s: float = 1800
    """Seconds that each run of the framework may take."""
    objects: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Inputs `image` and `features` of the process, for a proof on real objects; empty = none."""


class ConvertedPackage(msgspec.Struct, frozen=True):
    """What a conversion tells at its end."""

    answer: ConversionAnswer
    """Of the converter."""
    comparisons: tuple[Comparison, ...]
    """The proof."""
    warnings: tuple[str, ...]
    """Sentences about what may make labels wrong."""


def convert_package(
    given: str, output: Path, settings: Settings, options: ConversionOptions, tell: Callable[[str], None]
) -> ConvertedPackage:
    """Convert a package, prove it and write it; on failure nothing is written.

    Args:
        given: the package: a `.dlpk`, a folder or its .emd.
        output: the new `.dlpk`.
        settings: what the configuration says.
        options: what the user decides.
        tell: is called with what is being done.

    Raises:
        ServiceError: the package cannot be converted, or its network is another one afterwards.
    """
    require_writable(output, options.overwrite)
    path = package_path(given)
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".convert-") as folder:
            work, archive = Path(folder), Path(folder, "converted.dlpk")
            package = work / "package" / output.stem
            found = _convert(path, work, package, settings, options, tell)
            write_archive(package, archive)
            os.replace(archive, output)
            return found
    except OSError as err:
        raise InputError(f"{output} cannot be written: {err.strerror or err}") from err


def _convert(
    path: Path,
    work: Path,
    package: Path,
    settings: Settings,
    options: ConversionOptions,
    tell: Callable[[str], None],
) -> ConvertedPackage:
    """Write the files of the new package into the folder `package`, and prove them."""
    source = read_foreign(path, work / "packages", settings.limits.max_model_mb * 2**20)
    process = work / "process"
    for folder in (process, package):
        folder.mkdir(parents=True)
    file = source.file(options.side)
    copy_others(source, package)
    tell(f"exporting {source.network.name}")
    request = ConversionRequest(file, str(package / network_name(source)))
    answer = run_converter(options.python, request, process, options.timeout_s)
    document = converted_document(source, answer)
    emd = package / source.emd.name
    write_document(document, emd)
    tell("checking the network")
    catalog = LocalCatalog.from_settings(msgspec.structs.replace(settings, models=(), state=work / "state"))
    model = catalog.model_at(package)
    document.setdefault("Activation", model.activation)
    session = RecordingSession(_key(model))
    names, sides = _chips(session, catalog, package, settings, options, work)
    tell("proving it against the framework")
    comparisons = _proven(names, sides, session, file, process, options)
    document[RECORD] = _record(source, answer, comparisons)
    write_document(document, emd)
    return ConvertedPackage(answer, comparisons, (*model.warnings, *_doubts(comparisons)))


def _key(model: Model) -> SessionKey:
    return SessionKey(
        model.network,
        model.sha256,
        model.definition,
        model.activation,
        "CPU",
        available_threads(),
        model.output_name,
    )


def _chips(
    session: RecordingSession,
    catalog: LocalCatalog,
    package: Path,
    settings: Settings,
    options: ConversionOptions,
    work: Path,
) -> tuple[list[str], list[tuple[Chips, NDArray[np.float32]]]]:
    """Return what chips the proof is on, and the chips with their probabilities."""
    chips = random_chips(session, _RANDOM_CHIPS, np.random.default_rng(_SEED))
    words, found = ["random chips"], [(chips, session.scores(chips))]
    if options.objects:
        objects = RecordingSession(session.key)
        inputs = {**options.objects, "model": str(package)}
        count = cut_chips(inputs, catalog, settings, objects, work / "objects").count
        if not objects.has_recorded():
            raise InputError(f"none of the {count} objects has a chip: they touch no image, or nodata alone")
        found.append(objects.recorded())
        words.append(f"chips of {count} objects")
    return words, found


def _proven(
    words: list[str],
    found: list[tuple[Chips, NDArray[np.float32]]],
    session: RecordingSession,
    file: ForeignFile,
    process: Path,
    options: ConversionOptions,
) -> tuple[Comparison, ...]:
    """Run the framework on chips, and compare."""
    paths = [process / f"chips-{place}.npy" for place in range(len(found))]
    for path, (chips, _) in zip(paths, found, strict=True):
        write_inputs(chips, session, path)
    run_converter(options.python, ConversionRequest(file, None, tuple(map(str, paths))), process, options.timeout_s)
    definition, activation = session.key.definition, session.key.activation
    return tuple(
        compare(what, _outputs(path, len(chips)), scores, definition, activation)
        for what, path, (chips, scores) in zip(words, paths, found, strict=True)
    )


def _outputs(chips: Path, count: int) -> NDArray[np.float32]:
    outputs = np.load(f"{chips}.outputs.npy", allow_pickle=False)
    if outputs.ndim != 2 or len(outputs) != count:
        raise PackageError(f"the network gives an array of shape {outputs.shape} for {count} chips")
    return np.asarray(outputs, np.float32)


def _record(source: ForeignPackage, answer: ConversionAnswer, comparisons: tuple[Comparison, ...]) -> dict[str, Any]:
    with source.network.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "From": {"ModelFile": source.network.name, "sha256": digest},
        "Framework": answer.framework,
        "Network": answer.network,
        "Notes": list(answer.notes),
        "Limit": LIMIT,
        "Proof": [comparison.record() for comparison in comparisons],
    }


def _doubts(comparisons: tuple[Comparison, ...]) -> list[str]:
    """Return a warning where all chips have one label: then the proof says little of the others."""
    if any(len([count for count in item.labels.values() if count]) > 1 for item in comparisons):
        return []
    return ["all chips of the proof have the same label: prove the package on real objects, --image … --features …"]
