"""The tool without a server: files of this machine to a file of this machine, by the process that the service runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from processes.classify.description import OUTPUT, PROCESS_ID
from processes.classify.process import ClassifyObjects
from processes.errors import InputError
from processes.features.writing.format import Format
from processes.features.writing.formats import FORMATS, format_of_ending
from processes.imagery.endings import ENDINGS
from processes.model.local_catalog import LocalCatalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from processes.sources.named_links import allow_named

_WITH_PRJ = (*ENDINGS, ".shp")
"""Endings of files whose CRS a `.prj` of the same name tells."""


def run_local(
    inputs: Mapping[str, Any],
    output: Path,
    settings: Settings,
    *,
    overwrite: bool,
    planned: Callable[[int], None],
    progress: Callable[[int], None],
) -> Mapping[str, Any]:
    """Classify, write the output and return its summary; on failure there is no output.

    Args:
        inputs: of the process, as an execute request has them; links may point to any file of this machine, and to the
            hosts and buckets that they name.
        output: the file; its ending names the format.
        settings: what the configuration says.
        overwrite: True = a file that is there already is replaced.
        planned: is called with the number of objects.
        progress: is called with the number of objects that were done.

    Raises:
        ServiceError: something that was asked for cannot be done.
    """
    wanted = output_format(output)
    sidecar = None if wanted.sidecar is None else output.with_suffix(wanted.sidecar)
    for path in (output, sidecar):
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"{path} is there already; --overwrite replaces it")
    if sidecar is not None:
        _require_own(sidecar)
    if not output.absolute().parent.is_dir():
        raise InputError(f"the folder of {output} is not there")
    process, execution = _asked(inputs, settings, wanted, output.stem)
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".classify-") as folder:
            result = process.execute(execution, Path(folder), planned, progress)
            written = Path(folder) / f"{OUTPUT}{wanted.ending}"
            if sidecar is not None:
                _move(written.with_suffix(sidecar.suffix), sidecar)
            os.replace(written, output)
    except OSError as err:
        raise InputError(f"{output} cannot be written: {err.strerror}") from err
    return result.summary or {}


def stream_local(
    inputs: Mapping[str, Any],
    wanted: Format | None,
    sink: BinaryIO,
    settings: Settings,
    *,
    planned: Callable[[int], None],
    progress: Callable[[int], None],
) -> Mapping[str, Any]:
    """Classify, write the result to a stream once it is whole, and return its summary.

    Args:
        inputs: as `run_local` has them.
        wanted: the format of the result; None = GeoJSON, of images without a reference a JSON table.
        sink: gets the result.
        settings: what the configuration says.
        planned: is called with the number of objects.
        progress: is called with the number of objects that were done.

    Raises:
        ServiceError: something that was asked for cannot be done.
        BrokenPipeError: nobody reads the stream any more.
    """
    process, execution = _asked(inputs, settings, wanted, "classified")
    with tempfile.TemporaryDirectory(prefix="classify-") as folder:
        try:
            result = process.execute(execution, Path(folder), planned, progress)
        except OSError as err:
            raise InputError(f"the result cannot be written: {err.strerror}") from err
        if isinstance(result.content, bytes):
            sink.write(result.content)
        else:
            with result.content.open("rb") as file:
                shutil.copyfileobj(file, sink)
        sink.flush()
    return result.summary or {}


def validate_local(inputs: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return what the work would be, as `/validate` of the service has it, after all that is needed was opened.

    Args:
        inputs: as `run_local` has them.
        settings: what the configuration says.

    Raises:
        ServiceError: something that was asked for cannot be done.
    """
    process, execution = _asked(inputs, settings, None, "classified")
    with tempfile.TemporaryDirectory(prefix="classify-") as folder:
        estimate = process.estimate(execution, Path(folder), measures_speed=True)
    sections, seconds = process.estimate_sections(estimate, estimate.objects_per_s or 1, 1)
    return {
        "valid": True,
        "images": estimate.images,
        "objects": estimate.objects,
        "sections": sections,
        "fields": list(estimate.fields),
        "estimatedSeconds": round(seconds, 3),
    }


def _asked(
    inputs: Mapping[str, Any], settings: Settings, wanted: Format | None, result_name: str
) -> tuple[ClassifyObjects, Execution]:
    """Return the process, and the execution of it that is asked for."""
    settings = allow_named(inputs, settings)
    process = ClassifyObjects(settings, LocalCatalog.from_settings(settings))
    request: dict[str, Any] = {"inputs": inputs}
    if wanted is not None:
        request["outputs"] = {OUTPUT: {"format": {"mediaType": wanted.media_type}}}
    return process, Execution.read(PROCESS_ID, msgspec.json.encode(request), process.frame(), result_name=result_name)


def _require_own(sidecar: Path) -> None:
    """Raise InputError where a file that is to stand beside a result would stand beside another file too."""
    siblings = sidecar.parent.glob("*") if sidecar.parent.is_dir() else ()
    for other in siblings:
        if other.stem == sidecar.stem and other.suffix.lower() in _WITH_PRJ:
            raise InputError(f"{sidecar} would tell the CRS of {other} too; give the output another name")


def _move(written: Path, place: Path) -> None:
    """Move what stands beside a result; where there is nothing, what is left of an older result is no longer right."""
    if written.exists():
        os.replace(written, place)
    else:
        place.unlink(missing_ok=True)


def output_format(output: Path) -> Format:
    """Return the format that the ending of a file names.

    Raises:
        InputError: it names none.
    """
    found = format_of_ending(output.suffix)
    if found is None:
        endings = ", ".join(item.ending for item in FORMATS)
        raise InputError(f"{output} has no ending that names a format; there are {endings}")
    return found
