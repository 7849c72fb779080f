"""From the answer of a server to files: one for each output, with its style beside it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from osgeo import gdal
from qgis.core import QgsFeedback, QgsProcessingContext, QgsVectorFileWriter, QgsVectorLayer

from .client import Client
from .description import OutputKind, ProcessOutput
from .formats import bare, best, ending
from .jobs import ExecutionAnswer
from .problems import ServerError

_QUALIFIED: Final = {"value", "mediaType", "encoding", "schema"}
"""Members of a value of a results document that says what it is; an object is always within one."""


def outputs_of_request(targets: Mapping[ProcessOutput, Path]) -> dict[str, Any]:
    """Return the `outputs` and `response` of a request.

    Args:
        targets: the file that each output goes to.
    """
    outputs = {}
    for output, target in targets.items():
        wanted = best(output.media_types, target.suffix)
        is_plain = wanted == output.media_types[0] in ("application/json", "text/plain")  # which may be a guess of ours
        outputs[output.id] = {} if wanted is None or is_plain else {"format": {"mediaType": wanted}}
    return {"outputs": outputs, "response": "raw" if len(outputs) == 1 else "document"} if outputs else {}


def write_outputs(
    answer: ExecutionAnswer,
    targets: Mapping[ProcessOutput, Path],
    client: Client,
    context: QgsProcessingContext,
    feedback: QgsFeedback,
) -> None:
    """Write what a server has answered to files.

    Args:
        answer: what came of the execution.
        targets: the file that each output goes to.
        client: the server, where the answer only links to a result.
        context: for conversions.
        feedback: breaks downloads off.

    Raises:
        ServerError: an output is missing, or cannot be written as it is wanted.
    """
    document = _document(answer, targets)
    for output, target in targets.items():
        file, media_type = answer.file, answer.media_type
        if document is not None:
            if output.id not in document:
                raise ServerError(f"The server's answer has no {output.title}")
            file, media_type = _value_file(document[output.id], output, answer, client, feedback)
        _place(file, media_type or output.media_types[0], output, target, context)
        has_style = target.suffix == ending(media_type) == ".gpkg"
        if output.kind is OutputKind.VECTOR and answer.job and not has_style:
            _write_style(client, answer.job, target)


def _document(answer: ExecutionAnswer, targets: Mapping[ProcessOutput, Path]) -> Mapping[str, Any] | None:
    """Return an answer that has the outputs by their ids; None = it is the one output itself."""
    if len(targets) > 1 or (
        bare(answer.media_type) == "application/json" and answer.file.stat().st_size < 1_000_000_000
    ):
        try:
            document = json.loads(answer.file.read_bytes())
        except ValueError:
            document = None
        known = {output.id for output in targets}
        if isinstance(document, Mapping) and (len(targets) > 1 or set(document) == known):
            return document
        if len(targets) > 1:
            raise ServerError("The server's answer is no document of results")
    return None


def _value_file(
    value: Any, output: ProcessOutput, answer: ExecutionAnswer, client: Client, feedback: QgsFeedback
) -> tuple[Path, str]:
    """Write the value of an output to a file, and return it with its media type."""
    file = answer.file.with_name("value")
    if isinstance(value, Mapping) and isinstance(value.get("href"), str):
        address = urljoin(client.address(), value["href"])
        reply = client.download(address, file, feedback)
        return file, str(value.get("type") or reply.media_type)
    media_type = output.media_types[0]
    if isinstance(value, Mapping) and "value" in value and set(value) <= _QUALIFIED:
        is_base64, media_type = value.get("encoding") == "base64", str(value.get("mediaType") or media_type)
        value = base64.b64decode(value["value"]) if is_base64 else value["value"]
    if isinstance(value, bytes):
        file.write_bytes(value)
    else:
        file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return file, media_type


def _place(file: Path, media_type: str, output: ProcessOutput, target: Path, context: QgsProcessingContext) -> None:
    """Bring a file where a person wants it, in the format that its ending says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if output.kind is OutputKind.FILE or ending(media_type) == target.suffix.lower():
        shutil.move(str(file), str(target))
        return
    named = file.with_name(f"{target.stem}{ending(media_type)}")
    file.rename(named)
    if output.kind is OutputKind.RASTER:
        if gdal.Translate(str(target), str(named)) is None:
            raise ServerError(f"{output.title} is {bare(media_type)} and cannot be written as {target.suffix}")
        return
    layer = QgsVectorLayer(str(named), target.stem, "ogr")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = QgsVectorFileWriter.driverForExtension(target.suffix)
    options.layerName = target.stem
    if not layer.isValid():
        raise ServerError(f"{output.title} is {bare(media_type)}, which QGIS cannot read")
    error, message, *_ = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(target), context.transformContext(), options
    )
    if error != QgsVectorFileWriter.WriterError.NoError:
        raise ServerError(f"{output.title} cannot be written as {target.suffix}: {message}")


def _write_style(client: Client, job: str, target: Path) -> None:
    """Write the style of a result beside it, where QGIS looks for one; a GeoPackage of the server has it inside."""
    try:
        style = client.get(f"{job}/results/style.qml").body
    except ServerError:
        return  # a server without styles
    if b"<qgis" in style[:200]:
        target.with_suffix(".qml").write_bytes(style)
