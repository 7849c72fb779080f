"""What an output format is. Each format's module defines one; `formats.py` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec
import pyproj

from processes.features.writing.result import ResultLayer

HEIGHTS, MEASURES = 1, 2
"""Dimensions beside x and y: bits of an ISO type's thousands."""


def _no_names(_result: ResultLayer) -> set[str]:
    return set()


def _all_dimensions(_iso_types: frozenset[int]) -> int:
    return HEIGHTS | MEASURES


class Format(msgspec.Struct, frozen=True):
    """A form that a result can have: how it is asked for, what it can hold, and how it is written."""

    media_type: str
    """In lower case, without parameters. It also decides how a results document holds the output: see ogc/results."""
    name: str
    """What messages call the format."""
    ending: str
    """Ending of a file's name, with the dot, in lower case."""
    schema: Mapping[str, Any]
    """JSON schema of the output without its media type; `"format": "binary"` = a results document has it in base64."""
    write: Callable[[ResultLayer, pyproj.CRS | None, Path], Sequence[str]]
    """Writes a result that was fitted to the format to a new file.

    The CRS is that of the output, None = the result's own. Returns warnings that are known at the end only.
    """
    is_offered_for_layers: bool = True
    """False = for a feature layer the client must name the format; neither the default nor `Accept` chooses it."""
    needs_geometry: bool = False
    """True = a table cannot have the format."""
    is_crs84_only: bool = False
    """True = coordinates are always longitude and latitude, whatever CRS `write` gets."""
    keeps_json_values: bool = False
    """True = an attribute can have values of any type, or be absent. False = `write` gets columns of one type each."""
    is_caseless: bool = False
    """True = two attributes cannot have names that differ in case alone."""
    max_columns: int | None = None
    """Most columns that a file can have, with those of fid, id and geometry; None = no limit."""
    reserved_names: Callable[[ResultLayer], Set[str]] = _no_names
    """Returns the names, in lower case, that no attribute of a result can have."""
    kept_dimensions: Callable[[frozenset[int]], int] = _all_dimensions
    """Returns which of HEIGHTS and MEASURES, as bits, the file keeps of a layer of these ISO types."""
    sidecar: str | None = None
    """Ending of a file that `write` may put beside the result, for what the format has no place for; None = it does
    not. A result that is sent has no such file."""
    why_left_out: str = "the format has none"
    """The reason in the warning of heights or measures that are left out."""
