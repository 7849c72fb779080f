"""Layers that GDAL reads, with the driver that the file's content demands."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, get_ident
from threading import enumerate as enumerate_threads
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import pyogrio._geometry
import pyproj

from processes.crs import crs_from_text, names_places
from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.attributes import plain_attributes
from processes.features.reading.curves import without_curves
from processes.features.wkb import common_geometry_type, has_curves, read_iso_types, refuse_unread, type_name

# layers of several types of geometries with heights, with measures, with both; pyogrio 0.13 knows no such type and
# refuses them
pyogrio._geometry.GEOMETRY_TYPES.update(dict.fromkeys((1 << 31, 2000, 3000), "Unknown"))

Driver = Literal["GPKG", "FlatGeobuf", "ESRI Shapefile", "OpenFileGDB"]
AttributeReader = Callable[[pa.Table, Set[str]], tuple[pa.Table, Sequence[str]]]
"""Takes the attributes as GDAL gives them, and the names of those of whose values it read a part only.

Returns them as every format can hold them, with warnings.
"""

_BROKEN = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FieldError,
    pa.ArrowException,
    UnicodeDecodeError,
    pyproj.exceptions.CRSError,
    IndexError,  # pyogrio's own, where GDAL finds no layer
    UnboundLocalError,  # pyogrio's own, where GDAL cannot express a CRS
)
_WITHOUT_STREAM: Mapping[Driver, str] = {
    "GPKG": "OGR_GPKG_STREAM_BASE_IMPL",
    "FlatGeobuf": "OGR_FLATGEOBUF_STREAM_BASE_IMPL",
}
"""GDAL's settings by which a driver makes Arrow tables from features, without a stream of its own."""
_COMPARED = re.compile(
    r"Field format '.*' not supported"
    r"|geometry column '.*' of type '.*' ignored"
    r"|table '.*' has multiple geometry fields"
    r"|geometry column type for layer '.*' in '.*' .* is not consistent"
    r"|(Invalid|Non-conformant) content for record"
    r"|Measured \(M\) geometry types are not supported"
)
"""What GDAL and pyogrio warn of and the readers compare themselves: columns, dates, and types of geometries."""
_INCOMPLETE = re.compile(r"Value '.*' of field [^.]*\.(.*) parsed incompletely to", re.DOTALL)


def as_gdal_has_them(attributes: pa.Table, _incomplete: Set[str]) -> tuple[pa.Table, Sequence[str]]:
    """Return attributes as GDAL gives them, as `AttributeReader` describes."""
    return plain_attributes(attributes)


def read_with_gdal(
    path: Path,
    driver: Driver,
    subject: str,
    count: int,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    has_fid: bool = False,
    is_immutable: bool = False,
    has_hidden_measures: bool = False,
    read_attributes: AttributeReader = as_gdal_has_them,
) -> Layer:
    """Read a layer, named as in the file.

    Args:
        path: the file.
        driver: the one that must open it.
        subject: how messages name the layer.
        count: how many features the file has.
        layer: None = the only one.
        encoding: of the texts; None = as the file says.
        has_fid: True = the fid, which ascends, is the features' id.
        is_immutable: True = SQLite needs no lock and puts nothing beside the file: nobody writes to it.
        has_hidden_measures: True = a Shapefile may have measures though its first shape has none; to look takes time.
        read_attributes: of what GDAL gives.

    Raises:
        LayerError: it cannot be read to its end, or has no geometry or no CRS.
    """
    arguments: dict[str, Any] = {"layer": layer, "encoding": encoding}
    if is_immutable:
        arguments["IMMUTABLE"] = "YES"
    if has_hidden_measures:
        arguments["ADJUST_GEOM_TYPE"] = "ALL_SHAPES"
    try:
        with _heard_warnings(path, subject) as heard:
            info = pyogrio.read_info(path, **arguments)
            if info["driver"] != driver:
                raise LayerError(f"{subject} cannot be read; the file is broken")
            arguments |= {"return_fids": has_fid, "datetime_as_string": True}
            meta, table, fid = _read_arrow(path, driver, arguments, count)
        crs = _crs(meta["crs"])
    except pyogrio.errors.GeometryError as err:
        code = re.search(r"\d+", str(err))
        named = f" of type {type_name(int(code[0]))}" if code else " that cannot be read"
        raise LayerError(f"{subject} has geometries{named}; only points, lines and polygons are read") from err
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the file is broken") from err
    if not _is_whole(table, fid, count):  # a stream ends at a broken page without a word
        raise LayerError(f"{subject} cannot be read to its end; the file is broken")
    index = _geometry_index(table.schema)
    if index is None:
        raise LayerError(f"{subject} has no geometry")
    if crs is None:
        raise LayerError(f"{subject} has no CRS")
    geometry = _storage(table.column(index))
    iso_types, of_curves = read_iso_types(geometry), []
    if has_curves(iso_types):
        geometry, warning = without_curves(geometry)
        iso_types, of_curves = read_iso_types(geometry), [warning]
    refuse_unread(geometry)
    table = table.remove_column(index)
    attributes, of_attributes = read_attributes(table if fid is None else table.drop_columns([fid]), heard.incomplete)
    return Layer(
        name=str(info["layer_name"]),
        crs=crs,
        geometry=geometry,
        geometry_type=common_geometry_type(iso_types) if iso_types else meta["geometry_type"] or "Unknown",
        attributes=attributes,
        ids=None if fid is None else table.column(fid),
        warnings=(*of_curves, *of_attributes, *heard.texts),
    )


def _read_arrow(
    path: Path, driver: Driver, arguments: Mapping[str, Any], count: int
) -> tuple[Mapping[str, Any], pa.Table, str | None]:
    """Return what GDAL knows of a layer, its table, and the name of the column of fids, None = there is none.

    A driver's own stream takes a third of the time, and goes wrong with some files (GDAL 3.12).
    """
    meta, table = pyogrio.read_arrow(path, **arguments)
    fid = meta["fid_column"] if arguments["return_fids"] else None
    setting = _WITHOUT_STREAM.get(driver)
    if setting is not None and (not _is_whole(table, fid, count) or _misses_geometries(table)):
        pyogrio.set_gdal_config_options({setting: "YES"})
        try:
            meta, table = pyogrio.read_arrow(path, **arguments)
        finally:
            pyogrio.set_gdal_config_options({setting: None})
    table.validate(full=True)
    return meta, table, fid


def _misses_geometries(table: pa.Table) -> bool:
    """Return whether a table has a geometry without bytes, or less than none.

    The stream of a FlatGeobuf gives a missing geometry no bytes, and begins anew at the first one's place behind it.
    """
    index = _geometry_index(table.schema)
    if index is None:
        return False
    shortest = pc.min(pc.binary_length(_storage(table.column(index)))).as_py()
    return shortest is not None and shortest <= 0


def _is_whole(table: pa.Table, fid: str | None, count: int) -> bool:
    """Return whether a table has all features, each of them once.

    The stream of a GeoPackage believes a count that not every program keeps up to date.
    """
    if table.num_rows != count:
        return False
    fids = np.empty(0, np.int64) if fid is None else table.column(fid).to_numpy()
    return bool((fids[:-1] < fids[1:]).all())  # their differences may be too large for 64 bits


_listening = Lock()
"""Python collects the warnings of a process, not of a thread: one layer is read after another."""


class _Heard(msgspec.Struct):
    """What GDAL warned of that the readers do not compare anyway."""

    texts: list[str] = msgspec.field(default_factory=list)
    incomplete: set[str] = msgspec.field(default_factory=set)
    """Names of attributes of whose values it read a part only."""


@contextmanager
def _heard_warnings(path: Path, subject: str) -> Iterator[_Heard]:
    """Yield what GDAL warns of in the block; it is complete at the block's end.

    What other threads are warned of meanwhile is not of this layer, and goes on its way. GDAL's own threads are none
    of Python's.
    """
    heard = _Heard()
    caught: list[tuple[bool, tuple[Warning | str, type[Warning], str, int]]] = []

    def collect(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **_options: object
    ) -> None:
        others = {thread.ident for thread in enumerate_threads()} - {reader}
        caught.append((get_ident() not in others, (message, category, filename, lineno)))

    reader = get_ident()
    with _listening, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = collect
        yield heard
    for is_own, (message, category, file_name, line) in caught:
        text = str(message)
        if is_own and _COMPARED.search(text) and not _INCOMPLETE.match(text):
            continue
        if not is_own or not issubclass(category, RuntimeWarning):
            warnings.warn_explicit(message, category, file_name, line)
        elif (incomplete := _INCOMPLETE.match(text)) is not None:
            heard.incomplete.add(incomplete[1])
        else:
            told = text.replace(str(path), "the file").replace(f"{path.parent}/", "").replace(path.name, "the file")
            heard.texts.append(f"{subject}: GDAL says: {told[:300]}")
    heard.texts = list(dict.fromkeys(heard.texts))


def layers_with_geometry(path: Path, driver: Driver, subject: str) -> list[str]:
    """Return the names of the layers that have geometries.

    Args:
        path: the file.
        driver: the one that must open it.
        subject: how messages name the file.

    Raises:
        LayerError: it cannot be opened.
    """
    try:
        with _heard_warnings(path, subject):
            names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            opened = pyogrio.read_info(path, layer=names[0])["driver"] if names else driver
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the file is broken") from err
    if opened != driver:
        raise LayerError(f"{subject} cannot be read; the file is broken")
    return names


def count_features(path: Path, layer: str, subject: str) -> int:
    """Return how many features a layer says that it has; arguments and errors as above."""
    try:
        with _heard_warnings(path, subject):
            return int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])
    except _BROKEN as err:
        raise LayerError(f"{subject} cannot be read; the file is broken") from err


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
