"""GeoJSON text sequences (RFC 8142): each feature is a text of its own, always in CRS84."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyproj

from processes.features.writing.format import Format
from processes.features.writing.geojson import crs84_transform, feature_texts, only_heights
from processes.features.writing.result import ResultLayer
from processes.features.writing.texts import in_one, joined

_RECORD_SEPARATOR = "\x1e"


def write_geojson_sequence(result: ResultLayer, _crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write a feature per line; a sequence has no place for the summary. Arguments as `Format.write` has them."""
    transform = crs84_transform(result)
    with path.open("xb") as file:
        for features in feature_texts(result, transform):
            file.write(in_one(joined(_RECORD_SEPARATOR, features, "\n"), ""))
    return transform.warnings


GEOJSON_SEQ = Format(
    media_type="application/geo+json-seq",
    name="GeoJSON",
    ending=".geojsonl",
    schema={"type": "string", "title": "GeoJSON text sequence"},
    write=write_geojson_sequence,
    needs_geometry=True,
    is_crs84_only=True,
    keeps_json_values=True,
    kept_dimensions=only_heights,
)
