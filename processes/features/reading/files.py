"""Feature layers from files, by the content of a file; its name does not count.

A reader is imported when it is needed: some bring libraries that take long to import.
"""

from __future__ import annotations

from pathlib import Path

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.collection import BOM, looks_like_json
from processes.features.reading.csv import is_csv, read_csv
from processes.features.reading.geojson import read_geojson
from processes.settings import Limits

_SQLITE = b"SQLite format 3\x00"
_FLATGEOBUF = b"fgb\x03fgb"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET = b"PAR1"
_SHAPEFILE = b"\0\0\x27\x0a"


def read_layer(
    path: Path, name: str, layer: str | None, limits: Limits, scratch: Path | None = None, crs: str | None = None
) -> Layer:
    """Read a layer from a file.

    Args:
        path: a GeoJSON or a sequence of its features, a GeoPackage, a FlatGeobuf, a Shapefile beside its other files or
            in a zip, a GeoParquet, a CSV, or the folder of a file geodatabase.
        name: name of the file in messages; also of the layer where the file has none.
        layer: name of the layer in a GeoPackage or geodatabase, or of a Shapefile in a zip; None = the only one.
        limits: of a layer.
        scratch: folder for temporary files; None = the system's.
        crs: name of the CRS of a CSV's coordinates; None = longitude and latitude.

    Raises:
        LayerError: the file cannot be read, or has no such layer, or is of a form without layers or with a CRS.
        LimitError: more features than allowed.
    """
    try:
        if path.is_dir():
            if crs is not None:
                raise _own_crs(name, crs)
            from processes.features.reading.geodatabase import read_geodatabase

            return read_geodatabase(path, name, layer, limits, scratch)
        with path.open("rb") as file:
            head = file.read(4096)
            if not head:
                raise LayerError(f"features {name!r}: the file is empty")
            refuse_options(head, name, layer, crs)
            if head.startswith(_SQLITE):
                from processes.features.reading.geopackage import read_geopackage

                return read_geopackage(path, name, layer, limits, scratch)
            if head.startswith(_FLATGEOBUF):
                from processes.features.reading.flatgeobuf import read_flatgeobuf

                return read_flatgeobuf(path, name, limits, scratch)
            if head.startswith(_ZIP):
                from processes.features.reading.shapefile import read_zipped_shapefile

                return read_zipped_shapefile(path, name, layer, limits, scratch)
            if head.startswith(_SHAPEFILE):
                from processes.features.reading.shapefile import read_shapefile

                return read_shapefile(path, name, limits, scratch)
            if head.startswith(_PARQUET):
                from processes.features.reading.geoparquet import read_geoparquet

                return read_geoparquet(path, name, limits)
            if not looks_like_json(head):
                if is_csv(head) or name.lower().endswith(".csv"):
                    return read_csv(path, name, crs, limits)
                raise LayerError(
                    f"features {name!r}: not a GeoJSON or a GeoPackage, FlatGeobuf, Shapefile, GeoParquet, or CSV "
                    "with geometries"
                )
            file.seek(0)
            return read_geojson(file.read().removeprefix(BOM), Path(name).stem, limits, can_be_sequence=True)
    except OSError as err:
        raise LayerError(f"features {name!r} cannot be read") from err


def refuse_options(head: bytes, name: str, layer: str | None, crs: str | None) -> None:
    """Raise LayerError where a layer or a CRS is named that a file of this form does not take.

    Args:
        head: the first bytes of the file.
        name: of the file in messages.
        layer: as `read_layer` takes it.
        crs: the same.
    """
    has_layers = head.startswith((_SQLITE, *_ZIP))
    if layer is not None and not has_layers:
        raise LayerError(
            f"features {name!r}: #layer={layer[:80]} names a layer of a GeoPackage or geodatabase, or a Shapefile of a "
            "zip; this file has none"
        )
    says_crs = has_layers or head.startswith((_FLATGEOBUF, _PARQUET, _SHAPEFILE)) or looks_like_json(head)
    if crs is not None and says_crs:
        raise _own_crs(name, crs)


def _own_crs(name: str, crs: str) -> LayerError:
    return LayerError(f"features {name!r}: #crs={crs[:80]} names the CRS of a CSV; this file says its own CRS")
