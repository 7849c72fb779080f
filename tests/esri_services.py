"""Esri's services as their documentation has them, as far as they are asked here. What a real one refuses, they refuse,
and with its status: 200.

https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
