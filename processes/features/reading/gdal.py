"""Layers that GDAL reads, with the driver that the file's content demands."""

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
from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_table, times_of_texts
from processes.features.reading.limits import require_few_features
from processes.features.wkb import common_geometry_type, read_iso_types, refuse_unread
from processes.settings import Limits

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
    UnboundLocalError,  # pyogrio's own, where GDAL cannot express a CRS
)
# what matters of GDAL's warnings is checked; Python reports those within a context manager for contextlib
warnings.filterwarnings("ignore", module=r"(pyogrio\..*|contextlib)$")

_OPTIONS = {"OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES"}
"""GDAL's own Arrow stream of a FlatGeobuf loses its way behind a missing geometry (GDAL 3.12)."""


def read_with_gdal(
    path: Path,
    driver: Driver,
    subject: str,
    limits: Limits,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    keep_fid: bool = False,
) -> Layer:
    """Read a layer, named as in the file.

    Args:
        path: the file.
        driver: the one that must open it.
        subject: how messages name the layer.
        limits: of a layer.
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
            raise LayerError(f"{subject} cannot be read; the file is broken")
        require_few_features(info["features"], limits, subject)
        pyogrio.set_gdal_config_options(_OPTIONS)
        meta, table = pyogrio.read_arrow(
            path, layer=layer, encoding=encoding, return_fids=keep_fid, datetime_as_string=True
        )
        table.validate(full=True)
        crs = _crs(meta["crs"])
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the file is broken") from err
    fid = meta["fid_column"] if keep_fid else None
    return _layer(table, str(info["layer_name"]), subject, crs, meta["geometry_type"] or "Unknown", fid)


def _layer(
    table: pa.Table, name: str, subject: str, crs: pyproj.CRS | None, declared_type: str, fid: str | None
) -> Layer:
    """Return GDAL's table as a layer; `fid` names the column of the features' ids, None = they have none."""
    index = _geometry_index(table.schema)
    if index is None:
        raise LayerError(f"{subject} has no geometry")
    if crs is None:
        raise LayerError(f"{subject} has no CRS")
    geometry = _storage(table.column(index))
    table = table.remove_column(index)
    ids = None
    if fid is not None:
        ids = table.column(fid)
        table = table.drop_columns([fid])
    for index, item in enumerate(table.schema):
        if (item.metadata or {}).get(b"GDAL:OGR:type") == b"DateTime":
            table = table.set_column(index, item.name, times_of_texts(table.column(index)))
    refuse_unread(geometry)
    iso_types = read_iso_types(geometry)
    return Layer(
        name=name,
        crs=crs,
        geometry=geometry,
        geometry_type=common_geometry_type(iso_types) if iso_types else declared_type,
        attributes=plain_table(table),
        ids=ids,
    )


@contextmanager
def plain_link(path: Path, ending: str, scratch: Path | None) -> Iterator[Path]:
    """Yield a link to a file whose name means nothing to GDAL but the ending: no `.zip`, no `!`, no prefix.

    Args:
        path: the file.
        ending: of the link's name, with the dot.
        scratch: folder for the link; None = the system's.
    """
    with tempfile.TemporaryDirectory(prefix="classify-", dir=scratch) as folder:
        link = Path(folder) / f"layer{ending}"
        link.symlink_to(path.resolve())
        yield link


def _crs(text: str | None) -> pyproj.CRS | None:
    if text is None or not names_places(text):
        return None
    crs = crs_from_text(text)
    return None if crs.name.startswith("Undefined") else crs


def _geometry_index(schema: pa.Schema) -> int | None:
    for index, item in enumerate(schema):
        extension = (item.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        if extension in ("ogc.wkb", "geoarrow.wkb") or getattr(item.type, "extension_name", "") == "geoarrow.wkb":
            return index
    return None


def _storage(values: pa.ChunkedArray) -> pa.ChunkedArray:
    dtype: Any = values.type
    if isinstance(dtype, pa.BaseExtensionType):
        return pa.chunked_array([chunk.storage for chunk in values.chunks], dtype.storage_type)
    return values
