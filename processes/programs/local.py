"""The tool without a server: files of this machine to a file of this machine, by the process that the service runs."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from processes.allowed_hosts import AllowedBucket, AllowedHost, normal_host
from processes.classify.description import OUTPUT, PROCESS_ID
from processes.classify.process import ClassifyObjects
from processes.errors import InputError
from processes.features.writing.format import Format
from processes.features.writing.formats import FORMATS, format_of_ending
from processes.imagery.endings import ENDINGS
from processes.model.local_catalog import LocalCatalog
from processes.ogc.execution import Execution
from processes.settings import Settings
from processes.sources.bucket_links import is_bucket_link
from processes.sources.host_links import port_of, split_link

_WITH_PRJ = (*ENDINGS, ".shp")
"""Endings of files whose CRS a `.prj` of the same name tells."""


def link_to(path: Path | str, **parts: str | None) -> dict[str, str]:
    """Return a link to a file or a folder of this machine; `parts`: `layer` in it, or `crs` of its coordinates.

    A text is a link already.

    Raises:
        InputError: both are named; no file has both.
    """
    if all(parts.get(name) for name in ("layer", "crs")):
        raise InputError("a file with layers says its own CRS: name a layer, or the CRS of a CSV")
    named = [f"#{name}={quote(value)}" for name, value in parts.items() if value]
    if isinstance(path, str):
        return {"href": path + "".join(named)}
    ending = "/" if path.is_dir() else named[0] if named else ""
    return {"href": path.absolute().as_uri() + ending}


def object_links(images: Sequence[Path], features: Path | None) -> dict[str, Any]:
    """Return the inputs `image` and `features` for files of this machine; nothing where there are no images."""
    inputs: dict[str, Any] = {"image": [link_to(path) for path in images]} if images else {}
    return inputs if features is None else inputs | {"features": link_to(features)}


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
    output_format = _output_format(output)
    sidecar = None if output_format.sidecar is None else output.with_suffix(output_format.sidecar)
    for path in (output, sidecar):
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"{path} is there already; --overwrite replaces it")
    if sidecar is not None:
        _require_own(sidecar)
    if not output.absolute().parent.is_dir():
        raise InputError(f"the folder of {output} is not there")
    settings = dataclasses.replace(
        settings,
        imagery=(Path("/"),),
        hosts=(*settings.hosts, *_hosts_of(inputs)),
        buckets=(*settings.buckets, *_buckets_of(inputs)),
    )
    catalog = LocalCatalog.from_settings(settings)
    process = ClassifyObjects(settings, catalog)
    body = msgspec.json.encode(
        {"inputs": inputs, "outputs": {OUTPUT: {"format": {"mediaType": output_format.media_type}}}}
    )
    execution = Execution.read(PROCESS_ID, body, process.frame(), result_name=output.stem)
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".classify-") as folder:
            result = process.execute(execution, Path(folder), planned, progress)
            written = Path(folder) / f"{OUTPUT}{output_format.ending}"
            if sidecar is not None:
                _move(written.with_suffix(sidecar.suffix), sidecar)
            os.replace(written, output)
    except OSError as err:
        raise InputError(f"{output} cannot be written: {err.strerror}") from err
    return result.summary or {}


def _links_of(inputs: Mapping[str, Any]) -> Iterator[str]:
    links = [*inputs.get("image", ()), *([inputs["features"]] if "features" in inputs else [])]
    yield from (link["href"] for link in links)


def _buckets_of(inputs: Mapping[str, Any]) -> Iterator[AllowedBucket]:
    """Yield the buckets that the inputs link to: who calls the command has named them."""
    for href in filter(is_bucket_link, _links_of(inputs)):
        parts = split_link(href)
        yield AllowedBucket(parts.scheme, parts.netloc, "")


def _hosts_of(inputs: Mapping[str, Any]) -> Iterator[AllowedHost]:
    """Yield the hosts that the inputs link to, likewise."""
    for href in _links_of(inputs):
        parts = split_link(href)
        if parts.scheme in ("http", "https") and parts.hostname:
            yield AllowedHost(normal_host(parts.hostname), port_of(parts))


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


def _output_format(output: Path) -> Format:
    output_format = format_of_ending(output.suffix)
    if output_format is None:
        endings = ", ".join(item.ending for item in FORMATS)
        raise InputError(f"{output} has no ending that names a format; there are {endings}")
    return output_format
