"""The tool without a server: files of this machine to a file of this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from processes.classify.pipeline import Progress, run
from processes.classify.planning.extent import read_extent
from processes.classify.planning.fields import FIELD_NAME
from processes.classify.planning.plan import plan
from processes.classify.planning.sources import Mode, Options, Sources
from processes.classify.publish import publish, require_form
from processes.crs import CRS84, parse_crs
from processes.errors import ImageError, InputError, RequestError
from processes.features.reading.files import read_layer
from processes.features.writing.result import FILE_ENDINGS, MediaType
from processes.imagery.image import open_image
from processes.imagery.source import ENDINGS, FileSource, unique_names
from processes.model.arguments import ModelArguments, read_arguments
from processes.model.catalog import Catalog, Model
from processes.model.processor import Processor, require_processor
from processes.settings import Settings


@dataclass(frozen=True, slots=True)
class LocalRun:
    """What the command line asks for; each field as its option has it."""

    images: tuple[Path, ...]
    features: Path | None
    layer: str | None
    model: str
    arguments: tuple[str, ...]
    """Each as `name=value`."""
    label_field: str
    mode: Mode
    extent: tuple[float, float, float, float] | None
    extent_crs: str | None
    cell_size: float | None
    processor: str | None
    output_crs: str | None
    output: Path
    overwrite: bool


def run_local(wanted: LocalRun, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Classify, write the output and return its summary; on failure there is no output.

    Raises:
        ServiceError: something that was asked for cannot be done.
    """
    media_type = _media_type(wanted.output)
    if wanted.output.exists() and not wanted.overwrite:
        raise InputError(f"{wanted.output} is there already; --overwrite replaces it")
    if not wanted.output.absolute().parent.is_dir():
        raise InputError(f"the folder of {wanted.output} is not there")
    if not FIELD_NAME.fullmatch(wanted.label_field):
        raise InputError(f"the label field is {wanted.label_field!r}, which does not match {FIELD_NAME.pattern}")
    if wanted.cell_size is not None and not 0 < wanted.cell_size < float("inf"):
        raise InputError(f"the cell size is {wanted.cell_size}; it must be more than 0")
    processor = cast("Processor | None", wanted.processor)
    require_processor(processor)
    crs = parse_crs(wanted.output_crs) if wanted.output_crs else None
    model = _model(wanted.model, settings)
    paths = list(_image_paths(wanted.images))
    limits = settings.limits
    names = unique_names([path.name for path in paths])
    layer = None
    if wanted.features is not None:
        layer = read_layer(wanted.features, wanted.features.name, wanted.layer, limits.max_objects)
    sources = Sources(
        images=[open_image(FileSource(*item), limits.max_image_pixels) for item in zip(paths, names, strict=True)],
        image_pointers=[f"/inputs/image/{place}" for place in range(len(paths))],
        layer=layer,
        model=model,
        arguments=_arguments(wanted.arguments, model),
        options=Options(
            label_field=wanted.label_field,
            mode=wanted.mode,
            extent=None
            if wanted.extent is None
            else read_extent({"bbox": wanted.extent, "crs": wanted.extent_crs or CRS84}, ""),
            cell_size=wanted.cell_size,
            processor=processor,
        ),
    )
    require_form(sources, media_type, crs)
    planned = plan(sources, limits.max_objects)
    labels = run(planned, progress)
    try:
        with tempfile.TemporaryDirectory(dir=wanted.output.absolute().parent, prefix=".classify-") as folder:
            written = Path(folder) / f"result{FILE_ENDINGS[media_type]}"
            summary = publish(planned.rows, labels, media_type, crs, written, wanted.output.stem)
            os.replace(written, wanted.output)
    except OSError as err:
        raise InputError(f"{wanted.output} cannot be written: {err.strerror}") from err
    return summary


def _media_type(output: Path) -> MediaType:
    for media_type, ending in FILE_ENDINGS.items():
        if output.suffix.lower() == ending:
            return media_type
    raise InputError(f"{output} has no ending that names a format; there are {', '.join(FILE_ENDINGS.values())}")


def _model(model: str, settings: Settings) -> Model:
    catalog = Catalog(settings.models, settings.state, settings.limits.max_model_mb * 2**20)
    if os.sep in model or model.lower().endswith(".dlpk"):
        if not Path(model).exists():
            raise InputError(f"there is no model package {model}")
        return catalog.model_at(Path(model))
    return catalog.model(model)


def _arguments(given: tuple[str, ...], model: Model) -> ModelArguments:
    pairs = {name: value for name, _, value in (argument.partition("=") for argument in given)}
    arguments, faults = read_arguments(pairs, model.definition, "")
    if faults:
        raise RequestError(faults)
    return arguments


def _image_paths(given: tuple[Path, ...]) -> Iterator[Path]:
    for path in given:
        if not path.is_dir():
            yield path
            continue
        found = sorted(entry for entry in path.iterdir() if entry.name.lower().endswith(ENDINGS) and entry.is_file())
        if not found:
            raise ImageError(f"folder {path} holds no images ({', '.join(ENDINGS)})")
        yield from found
