"""Esri's services as their documentation has them, as far as they are asked here. What a real one refuses, they refuse,
and with its status: 200.

https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT

from told_host import Answer

_QUERY = {
    "where", "outFields", "returnGeometry", "f", "outSR", "resultOffset", "resultRecordCount", "orderByFields", "token",
    "path", "geometryPrecision",
}  # fmt: skip


def answer(value: Any, media_type: str = "application/json; charset=utf-8") -> Answer:
    """Return an answer, with status 200 whatever it says."""
    return 200, media_type, json.dumps(value).encode()


def refusal(code: int, message: str, *details: str) -> Answer:
    """Return an error as these services give it."""
    return answer({"error": {"code": code, "message": message, "details": details}})


@dataclass
class FeatureServer:
    """A layer of a feature service, below `…/FeatureServer/0`."""

    features: list[dict[str, Any]]
    """As GeoJSON; their ids are OBJECTIDs."""
    max_record_count: int = 10
    supports_pagination: bool = True
    formats: str = "JSON, geoJSON, PBF"
    token: str | None = None
    in_properties: bool = True
    """Where `exceededTransferLimit` is: in the member `properties`, or beside it."""
    asked: list[Mapping[str, str]] = field(default_factory=list)

    def __call__(self, query: dict[str, str]) -> Answer:
        self.asked.append(query)
        if query.get("token") != self.token:
            return refusal(499, "Token Required")
        if query["path"] == "":
            return self._description(query)
        return self._query(query) if query["path"] == "/query" else refusal(400, "Invalid URL")

    def _description(self, query: Mapping[str, str]) -> Answer:
        if query.get("f") not in ("json", "pjson"):
            return 200, "text/html", b"<html>Layer: Trees (ID: 0)</html>"
        return answer(
            {
                "id": 0,
                "name": "Trees",
                "type": "Feature Layer",
                "objectIdField": "OBJECTID",
                "maxRecordCount": self.max_record_count,
                "supportedQueryFormats": self.formats,
                "advancedQueryCapabilities": {"supportsPagination": self.supports_pagination},
                "fields": [
                    {"name": "OBJECTID", "type": "esriFieldTypeOID"},
                    {"name": "name", "type": "esriFieldTypeString"},
                ],
            }
        )

    def _query(self, query: Mapping[str, str]) -> Answer:
        unknown = set(query) - _QUERY
        if unknown or query.get("f") != "geojson" or "geojson" not in self.formats.lower():
            return refusal(400, "Cannot perform query. Invalid query parameters.", *map(repr, sorted(unknown)))
        if "where" not in query:
            return refusal(400, "Unable to complete operation.", "Unable to perform query operation.")
        if query.get("outSR", "4326") != "4326":
            return refusal(400, "Cannot perform query. Invalid query parameters.", "'outSR' parameter is invalid")
        if "resultOffset" in query and not self.supports_pagination:
            return refusal(400, "Pagination is not supported.")
        if "orderByFields" in query and query["orderByFields"] not in ("OBJECTID", "OBJECTID ASC"):
            return refusal(400, "Cannot perform query. Invalid query parameters.", "'orderByFields' is invalid")
        chosen = [
            item for item in self.features if query["where"] == "1=1" or item["properties"]["name"] in query["where"]
        ]
        start = int(query.get("resultOffset", 0))
        count = min(int(query.get("resultRecordCount", self.max_record_count)), self.max_record_count)
        page = chosen[start : start + count]
        fields = query.get("outFields", "OBJECTID")
        shown = [item if fields == "*" else item | {"properties": {"OBJECTID": item["id"]}} for item in page]
        collection: dict[str, Any] = {"type": "FeatureCollection", "features": shown}
        if start + len(page) < len(chosen):
            said = {"exceededTransferLimit": True}
            collection |= {"properties": said} if self.in_properties else said
        return answer(collection, "application/geo+json")


@dataclass
class ImageServer:
    """An image service of GeoTIFFs, below `…/ImageServer`; the first one of those that hold a cell is on top.

    https://developers.arcgis.com/rest/services-reference/enterprise/export-image/
    """

    rasters: list[Path]
    max_size: int = 300
    pixel_type: str = "U8"
    capabilities: str = "Image,Metadata,Catalog"
    asked: list[Mapping[str, str]] = field(default_factory=list)

    def __call__(self, query: dict[str, str]) -> Answer:
        self.asked.append(query)
        answers = {"": self._description, "/exportImage": self._export, "/query": self._query}
        found = answers.get(query["path"])
        return found(query) if found else refusal(400, "Invalid URL")

    def _description(self, query: Mapping[str, str]) -> Answer:
        boxes = [box_of(path) for path in self.rasters]
        with rasterio.open(self.rasters[0]) as dataset:
            cell, bands = dataset.res, dataset.count
        lefts, bottoms, rights, tops = zip(*boxes, strict=True)
        reference = {"wkid": 32633, "latestWkid": 32633}
        extent = {"xmin": min(lefts), "ymin": min(bottoms), "xmax": max(rights), "ymax": max(tops)}
        about = {
            "currentVersion": 11.1,
            "name": "Town",
            "extent": extent | {"spatialReference": reference},
            "pixelSizeX": cell[0],
            "pixelSizeY": cell[1],
            "bandCount": bands,
            "pixelType": self.pixel_type,
            "maxImageWidth": self.max_size,
            "maxImageHeight": self.max_size,
            "capabilities": self.capabilities,
        }
        return answer(about) if query.get("f") == "json" else (200, "text/html", b"<html>Town (ImageServer)</html>")

    def _export(self, query: Mapping[str, str]) -> Answer:
        width, height = map(int, query["size"].split(","))
        if max(width, height) > self.max_size:
            return refusal(400, "The requested image exceeds the size limit.")
        if {query.get("bboxSR"), query.get("imageSR")} != {"32633"} or query.get("format") != "tiff":
            return refusal(400, "Invalid or missing input parameters.")
        rasters = self.rasters
        if "mosaicRule" in query:
            rule = json.loads(query["mosaicRule"])
            if rule["mosaicMethod"] != "esriMosaicLockRaster":
                return refusal(400, "Invalid mosaic rule.")
            rasters = [self.rasters[number - 1] for number in rule["lockRasterIds"]]
        left, bottom, right, top = map(float, query["bbox"].split(","))
        transform = from_bounds(left, bottom, right, top, width, height)
        with rasterio.open(rasters[0]) as first:
            profile = {"driver": "GTiff", "count": first.count, "dtype": first.dtypes[0], "nodata": 0}
        cells = np.zeros((profile["count"], height, width), profile["dtype"])
        for path in reversed(rasters):
            with (
                rasterio.open(path) as dataset,
                WarpedVRT(
                    dataset, crs="EPSG:32633", transform=transform, width=width, height=height, add_alpha=True
                ) as warped,
            ):
                inside = warped.read(warped.count) != 0
                cells[:, inside] = warped.read(dataset.indexes)[:, inside]
        with MemoryFile() as file:
            with file.open(**profile, width=width, height=height, crs="EPSG:32633", transform=transform) as dataset:
                dataset.write(cells)
            return 200, "image/tiff", file.read()

    def _query(self, query: Mapping[str, str]) -> Answer:
        if query.get("where") != "Category=1" or query.get("f") != "json" or query.get("outSR") != "32633":
            return refusal(400, "Unable to complete operation.")
        start, count = int(query.get("resultOffset", 0)), min(int(query.get("resultRecordCount", 1000)), 1)
        features = []
        for number, path in enumerate(self.rasters, 1):
            left, bottom, right, top = box_of(path)
            with rasterio.open(path) as dataset:
                own = {"OBJECTID": number, "Name": path.stem, "LowPS": dataset.res[0]}
            ring = [[left, bottom], [left, top], [right, top], [right, bottom], [left, bottom]]
            features.append({"attributes": own, "geometry": {"rings": [ring]}})
        page = features[start : start + count]
        more = {"exceededTransferLimit": True} if start + count < len(features) else {}
        return answer({"objectIdFieldName": "OBJECTID", "features": page} | more)


def box_of(path: Path) -> tuple[float, float, float, float]:
    """Return the box of an image: left, bottom, right, top."""
    with rasterio.open(path) as dataset:
        return tuple(dataset.bounds)
