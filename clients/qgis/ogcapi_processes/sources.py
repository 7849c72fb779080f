"""Layers and files of this machine: the link that a server may be able to read, and the file that can be sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from osgeo import gdal
from qgis.core import (
    QgsDataSourceUri,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from .formats import RASTER, VECTOR, media_type_of
from .problems import ServerError
from .values import wgs84

_SENT_ALONE: Final = (".geojson", ".json", ".fgb", ".parquet", ".zip")
"""Endings of layers that are one file, and stay so while QGIS has them open."""
_REMOTE: Final = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}
"""What GDAL puts before an address, and what the address begins with."""


@dataclass(frozen=True)
class InputSource:
    """One layer or file that a person has chosen."""

    name: str
    """As a person knows it."""
    link: str | None
    """Link that a server may be able to read; None = only this machine has it, or QGIS alone understands it."""
    make_file: Callable[[Path], Path]
    """Returns the file to send; what has to be written first is written to the folder given."""
    make_geojson: Callable[[Path], Path] | None
    """Returns a GeoJSON file in CRS84, written to the folder given; None = no layer of features."""


def source_of_file(path: str) -> InputSource:
    """Return what there is to send of a file."""
    file = Path(path)
    return InputSource(file.name, _file_link(file), lambda _: file, None)


def source_of_raster(layer: QgsRasterLayer) -> InputSource:
    """Return what there is to send of a raster layer."""
    place = layer.source().split("|")[0]
    file, name = Path(place), layer.name()
    crs = layer.crs().toWkt() if layer.crs().isValid() else ""
    is_gdal, is_alone = layer.dataProvider().name() == "gdal", _is_alone(place)

    def make_file(folder: Path) -> Path:
        if not is_gdal:
            raise ServerError(f"{name} is no file that can be sent; save it as one first")
        return file if is_alone else _as_geotiff(place, folder / f"{_file_name(name)}.tif", crs)

    return InputSource(name, _link_of_place(place) if is_gdal else None, make_file, None)


def source_of_vector(
    layer: QgsVectorLayer, features: QgsProcessingFeatureSource, whole: bool, context: QgsProcessingContext
) -> InputSource:
    """Return what there is to send of a layer of features.

    Args:
        layer: the layer.
        features: the features that are meant.
        whole: whether all features of the layer are meant.
        context: whose ways between CRS are taken.
    """
    name = layer.name()
    as_stored = whole and not layer.subsetString() and not layer.isModified()
    file = _stored_file(layer) if as_stored else None

    def make_file(folder: Path) -> Path:
        if file is not None and file.suffix.lower() in _SENT_ALONE:
            return file
        return _write(features, folder / f"{_file_name(name)}.gpkg", "GPKG", context)

    def make_geojson(folder: Path) -> Path:
        return _write(features, folder / f"{_file_name(name)}.geojson", "GeoJSON", context)

    return InputSource(name, _vector_link(layer, file) if as_stored else None, make_file, make_geojson)


def _vector_link(layer: QgsVectorLayer, file: Path | None) -> str | None:
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    if layer.providerType() == "OAPIF":
        uri = QgsDataSourceUri(layer.source())
        return f"{uri.param('url').rstrip('/')}/collections/{quote(uri.param('typename'))}/items"
    if layer.providerType() != "ogr":
        return None
    link = _file_link(file) if file is not None else _link_of_place(str(parts.get("path") or ""))
    named = parts.get("layerName") if str(link).lower().endswith(".gpkg") else None
    return f"{link}#layer={quote(named)}" if link and named else link


def _stored_file(layer: QgsVectorLayer) -> Path | None:
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    file = Path(str(parts.get("path") or ""))
    return file if layer.providerType() == "ogr" and file.is_file() else None


def _link_of_place(place: str) -> str | None:
    """Return the link to what GDAL opens by a name; None = it has none."""
    for prefix, scheme in _REMOTE.items():
        if place.startswith(prefix):
            return scheme + place[len(prefix) :]
    if place.startswith(("http://", "https://")):
        return place
    return _file_link(Path(place)) if Path(place).exists() else None


def _file_link(file: Path) -> str:
    return file.resolve().as_uri()


def _is_alone(place: str) -> bool:
    """Say whether a raster is a file that needs no other beside it; statistics, as QGIS writes them, are not needed."""
    if (
        Path(place).suffix.lower() not in (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
        or not Path(place).is_file()
    ):
        return False
    known = gdal.Open(place)
    gdal.SetThreadLocalConfigOption("GDAL_PAM_ENABLED", "NO")
    alone = gdal.Open(place)
    gdal.SetThreadLocalConfigOption("GDAL_PAM_ENABLED", None)
    if known is None or alone is None:
        return False
    needed = [other for other in known.GetFileList() or [] if not other.endswith((".ovr", ".aux.xml", ".msk"))]
    return len(needed) <= 1 and _place(known) == _place(alone)


def _place(dataset: gdal.Dataset) -> object:
    return dataset.GetGeoTransform(), dataset.GetProjection(), dataset.GetGCPCount()


def _as_geotiff(place: str, target: Path, crs: str) -> Path:
    """Write what GDAL reads at a place to a GeoTIFF, with the CRS that QGIS has for it where it states none."""
    dataset = gdal.Open(place)
    if dataset is None:
        raise ServerError(f"{place} cannot be read")
    options = {"creationOptions": ["COMPRESS=DEFLATE", "TILED=YES", "BIGTIFF=IF_SAFER"], "format": "GTiff"}
    if not dataset.GetProjection() and crs:
        options["outputSRS"] = crs
    if gdal.Translate(str(target), dataset, **options) is None:
        raise ServerError(f"{place} cannot be written as a GeoTIFF")
    return target


def _write(features: QgsProcessingFeatureSource, target: Path, driver: str, context: QgsProcessingContext) -> Path:
    """Write features to a file: GeoJSON in CRS84, others in their own CRS."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = driver
    options.layerName = target.stem
    crs, request = features.sourceCrs(), QgsFeatureRequest()
    if driver == "GeoJSON":
        options.layerOptions = ["RFC7946=YES"]
        crs = wgs84()
        request.setDestinationCrs(crs, context.transformContext())
    writer = QgsVectorFileWriter.create(
        str(target), features.fields(), features.wkbType(), crs, context.transformContext(), options
    )
    for feature in features.getFeatures(request):
        if not writer.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
            raise ServerError(f"{target.stem} cannot be written: {writer.errorMessage()}")
    if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
        raise ServerError(f"{target.stem} cannot be written: {writer.errorMessage()}")
    del writer  # which closes the file
    return target


def _file_name(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name) or "layer"


def media_type(path: Path) -> str:
    """Return the media type of a file, by its ending."""
    known = media_type_of(path.suffix.replace("tiff", "tif").replace("jpeg", "jpg"))
    return known if known in RASTER or known in VECTOR else "application/octet-stream"
