"""The output formats. A new one is a module that defines a `Format`, and a line here."""

from __future__ import annotations

from processes.features.writing.csv import CSV
from processes.features.writing.flatgeobuf import FLATGEOBUF
from processes.features.writing.format import Format
from processes.features.writing.geojson import GEOJSON
from processes.features.writing.geojson_seq import GEOJSON_SEQ
from processes.features.writing.geopackage import GEOPACKAGE
from processes.features.writing.parquet import PARQUET
from processes.features.writing.table import TABLE

FORMATS: tuple[Format, ...] = (
    GEOJSON,
    GEOPACKAGE,
    FLATGEOBUF,
    PARQUET,
    GEOJSON_SEQ,
    CSV,
    TABLE,
)
"""In the order of the process description. The first is the default of feature layers, the last that of tables."""


def offered_formats(is_table: bool) -> tuple[Format, ...]:
    """Return the formats among which `Accept` chooses, the default first."""
    if is_table:
        return tuple(item for item in reversed(FORMATS) if not item.needs_geometry)
    return tuple(item for item in FORMATS if item.is_offered_for_layers)


def format_of_media_type(media_type: str) -> Format:
    """Return the format of a media type.

    Raises:
        KeyError: no format has it.
    """
    return {item.media_type: item for item in FORMATS}[media_type]


def format_of_ending(ending: str) -> Format | None:
    """Return the format of files whose names end so, compared without case; None = no format."""
    return {item.ending: item for item in FORMATS}.get(ending.lower())
