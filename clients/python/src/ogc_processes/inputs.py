"""Inputs of a request as JSON, made of what a program has at hand."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ogc_processes.errors import MissingExtra

_MEDIA_TYPES = {
    ".fgb": "application/vnd.flatgeobuf",
    ".geojson": "application/geo+json",
    ".gpkg": "application/geopackage+sqlite3",
    ".parquet": "application/vnd.apache.parquet",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
_JSON_ENDINGS = (".geojson", ".json")


def to_json(value: Any, upload: Callable[[Path], str | None]) -> Any:
    """Return a value of an input as JSON.

    A path becomes a link to an upload, or the file's content where the server takes none: JSON as it is, other files in
    base64. A GeoDataFrame becomes a GeoJSON FeatureCollection in longitude and latitude.

    Args:
        value: of an input; a mapping or a sequence may hold such values too.
        upload: sends a file and returns a link to it; None = the server takes no uploads.
    """
    if isinstance(value, os.PathLike):
        return _file(Path(value), upload)
    if hasattr(value, "__geo_interface__"):
        return _features(value)
    if isinstance(value, Mapping):
        return {name: to_json(item, upload) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_json(item, upload) for item in value]
    if isinstance(value, bytes):
        return {"value": base64.b64encode(value).decode(), "encoding": "base64"}
    return value


def media_type(path: Path) -> str:
    """Return the media type of a file by the ending of its name."""
    return _MEDIA_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _file(path: Path, upload: Callable[[Path], str | None]) -> Any:
    href = upload(path)
    if href is not None:
        return {"href": href, "type": media_type(path)}
    content = path.read_bytes()
    if path.suffix.lower() in _JSON_ENDINGS:
        return json.loads(content)
    return {"value": base64.b64encode(content).decode(), "encoding": "base64", "mediaType": media_type(path)}


def _features(value: Any) -> Any:
    """Return a GeoDataFrame, or another thing with a geometry, as GeoJSON."""
    if not hasattr(value, "to_json"):
        return dict(value.__geo_interface__)
    try:
        import geopandas
    except ImportError as err:
        raise MissingExtra("a GeoDataFrame needs geopandas: pip install 'ogc-processes[geo]'") from err
    frame = value.to_frame("geometry") if isinstance(value, geopandas.GeoSeries) else value
    return json.loads(frame.to_json(to_wgs84=frame.crs is not None, drop_id=False))
