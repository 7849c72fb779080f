"""Layers that GDAL reads. Which driver reads a file is decided before, by what the file holds, and checked."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyogrio
import pyproj

from processes.crs import crs_from_text, names_places
from processes.errors import LayerError, LimitError
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_table, times_of_texts
from processes.features.wkb import common_geometry_type, read_iso_types, refuse_unread

Driver = Literal["GPKG", "FlatGeobuf", "ESRI Shapefile"]

_BROKEN = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    pa.ArrowException,
    UnicodeDecodeError,
    pyproj.exceptions.CRSError,
    IndexError,  # pyogrio's own, where GDAL finds no layer
    UnboundLocalError,  # pyogrio's own, where GDAL cannot write a CRS down
)
# what matters of GDAL's warnings is checked; those of a context manager are reported for the module that has those
warnings.filterwarnings("ignore", module=r"(pyogrio\..*|contextlib)$")

_OPTIONS = {"OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES"}
"""GDAL's own Arrow stream of a FlatGeobuf loses its way behind a missing geometry (GDAL 3.12)."""


def read_with_gdal(
    path: Path,
    driver: Driver,
    called: str,
    max_objects: int,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    keep_fid: bool = False,
) -> Layer:
    """Read a layer, named as it is in the file.

    Args:
        path: a file of which the driver is certain.
        driver: that must be the one to open it.
        called: what the client calls the layer, for messages.
        max_objects: limit of the number of features.
        layer: None = the only one.
        encoding: of the texts; None = as the file says.
        keep_fid: True = the fid is the features' id.

    Raises:
        LayerError: it cannot be read, has no geometry or no CRS.
        LimitError: more features than allowed.
    """
    try:
        info = pyogrio.read_info(path, layer=layer, encoding=encoding)
        if info["driver"] != driver:
            raise LayerError(f"{called} cannot be read; the file is broken")
        if info["features"] > max_objects:
            raise LimitError("max_objects", max_objects, f"{called} has {info['features']} features")
        pyogrio.set_gdal_config_options(_OPTIONS)
        meta, table = pyogrio.read_arrow(
            path, layer=layer, encoding=encoding, return_fids=keep_fid, datetime_as_string=True
        )
        table.validate(full=True)
        crs = _crs(meta["crs"])
    except _BROKEN as err:
        raise LayerError(f"{called} cannot be read; the file is broken") from err
    fid = meta["fid_column"] if keep_fid else None
    return _layer(table, str(info["layer_name"]), called, crs, meta["geometry_type"] or "Unknown", fid)


def _layer(
    table: pa.Table, name: str, called: str, crs: pyproj.CRS | None, declared_type: str, fid: str | None
) -> Layer:
    """Return the layer that GDAL's table is; `fid` names the column that is the features' id, None = no column is."""
    place = _geometry_place(table.schema)
    if place is None:
        raise LayerError(f"{called} has no geometry")
    if crs is None:
        raise LayerError(f"{called} has no CRS")
    geometry = _storage(table.column(place))
    table = table.remove_column(place)
    ids = None
    if fid is not None:
        ids = table.column(fid)
        table = table.drop_columns([fid])
    for place, kind in enumerate(table.schema):
        if (kind.metadata or {}).get(b"GDAL:OGR:type") == b"DateTime":
            table = table.set_column(place, kind.name, times_of_texts(table.column(place)))
    refuse_unread(geometry)
    kinds = read_iso_types(geometry)
    return Layer(
        name=name,
        crs=crs,
        geometry=geometry,
        geometry_type=common_geometry_type(kinds) if kinds else declared_type,
        attributes=plain_table(table),
        ids=ids,
    )


@contextmanager
def called_by_us(path: Path, ending: str, scratch: Path | None) -> Iterator[Path]:
    """Yield a name for a file from which GDAL cannot take it for anything else: no `.zip`, no `!`, no prefix."""
    with tempfile.TemporaryDirectory(prefix="classify-", dir=scratch) as folder:
        link = Path(folder) / f"layer{ending}"
        link.symlink_to(path.resolve())
        yield link


def _crs(text: str | None) -> pyproj.CRS | None:
    if text is None or not names_places(text):
        return None
    crs = crs_from_text(text)
    return None if crs.name.startswith("Undefined") else crs


def _geometry_place(schema: pa.Schema) -> int | None:
    for place, item in enumerate(schema):
        kind = (item.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        if kind in ("ogc.wkb", "geoarrow.wkb") or getattr(item.type, "extension_name", "") == "geoarrow.wkb":
            return place
    return None


def _storage(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind: Any = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type)
    return values
