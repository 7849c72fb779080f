"""The media types that QGIS can take in or show, and their file endings."""

from __future__ import annotations

from typing import Final

VECTOR: Final = {
    "application/geopackage+sqlite3": ".gpkg",
    "application/vnd.flatgeobuf": ".fgb",
    "application/flatgeobuf": ".fgb",
    "application/geo+json": ".geojson",
    "application/vnd.geo+json": ".geojson",
    "application/geo+json-seq": ".geojsonl",
    "application/gml+xml": ".gml",
    "application/vnd.google-earth.kml+xml": ".kml",
    "application/vnd.apache.parquet": ".parquet",
}
"""Layers of features, the ones before that keep more of a layer."""

RASTER: Final = {
    "image/tiff": ".tif",
    "image/geotiff": ".tif",
    "application/geotiff": ".tif",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "application/netcdf": ".nc",
    "application/x-netcdf": ".nc",
}
"""Images with a place, or without one."""

OTHER: Final = {
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/xml": ".xml",
}

GEOJSON: Final = ("application/geo+json", "application/vnd.geo+json")
NOT_EVERYWHERE: Final = ("application/vnd.apache.parquet",)
"""What many builds of GDAL cannot read."""


def bare(media_type: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return media_type.split(";")[0].strip().lower()


def ending(media_type: str) -> str:
    """Return the file ending of a media type, with its dot; `.bin` where none is known."""
    name = bare(media_type)
    return VECTOR.get(name) or RASTER.get(name) or OTHER.get(name) or (".json" if name.endswith("+json") else ".bin")


def media_type_of(suffix: str) -> str | None:
    """Return the media type of a file ending, or None where it is not known."""
    known = {**OTHER, **RASTER, **VECTOR}
    return next((name for name, own in known.items() if own == suffix.lower()), None)


def best(offered: tuple[str, ...], suffix: str) -> str | None:
    """Return the media type to ask for, so that a file with an ending comes of it; None = the server's default.

    Args:
        offered: the media types that the server has for an output, its default first.
        suffix: ending of the file to write; where the server has no such files, the result is converted.
    """
    same = [name for name in offered if ending(name) == suffix.lower()]
    readable = [name for name in VECTOR if name not in NOT_EVERYWHERE]
    by_worth = sorted((name for name in offered if bare(name) in readable), key=lambda name: readable.index(bare(name)))
    return next(iter([*same, *by_worth, *offered]), None)
