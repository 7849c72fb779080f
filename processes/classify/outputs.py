"""The output of a run as files: the result, and beside it what other forms of the result are made from."""

from __future__ import annotations

from pathlib import Path

from processes.classify.description import OUTPUT
from processes.classify.labels import ClassStatus, Labels
from processes.classify.planning.sources import PlannedRows
from processes.classify.publish import publish
from processes.classify.sections import OutputOptions
from processes.crs import crs_from_text
from processes.features.writing.formats import format_of_media_type
from processes.ogc.process import Output

_STORED = "stored.arrow"


def published(rows: PlannedRows, labels: Labels, output: OutputOptions, folder: Path, stores: bool) -> Output:
    """Write the result into a folder.

    Args:
        rows: the rows.
        labels: of the rows.
        output: the form of the result.
        folder: for the files.
        stores: True = other forms of the result can be made later.
    """
    labels.status[rows.empty] = ClassStatus.EMPTY_GEOMETRY
    output_format = format_of_media_type(output.media_type)
    path, stored = folder / f"{OUTPUT}{output_format.ending}", folder / _STORED if stores else None
    crs = None if output.crs is None else crs_from_text(output.crs)
    summary = publish(rows, labels, output_format, crs, path, output.result_name, stored)
    return Output(OUTPUT, output.media_type, path, summary, stored)
