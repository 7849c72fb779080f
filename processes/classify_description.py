"""What clients are told of the process `classify-objects`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from processes import __version__
from processes.description import Description
from processes.features.result import CSV, FLATGEOBUF, GEOJSON, GEOJSON_SEQ, GEOPACKAGE, PARQUET, TABLE
from processes.plan import DEFAULT_FIELD, FIELD_NAME

OUTPUT = "classifiedObjects"

INLINE_IMAGES = {"image/png": ".png", "image/jpeg": ".jpg", "image/tiff": ".tif"}
_LINK = {
    "type": "object",
    "title": "Link",
    "required": ["href"],
    "properties": {"href": {"type": "string", "format": "uri"}, "type": {"type": "string"}},
}


def describe(models: Sequence[str]) -> Description:
    """Return the process description.

    Args:
        models: ids of the models that can be used.
    """
    inline = {
        "type": "object",
        "title": "Image in the request",
        "required": ["value", "encoding", "mediaType"],
        "properties": {
            "value": {"type": "string", "format": "byte"},
            "encoding": {"type": "string", "enum": ["base64"]},
            "mediaType": {"type": "string", "enum": list(INLINE_IMAGES)},
        },
    }
    model: dict[str, Any] = {"type": "string"}
    if models:
        model["enum"] = list(models)
    return {
        "id": "classify-objects",
        "version": __version__,
        "title": "Classify objects using deep learning",
        "description": (
            "Gives each object of a feature layer the class that a trained model sees in the image at its place: "
            "houses damaged or not, trees healthy or not. Without a layer each image is one object."
        ),
        "keywords": ["classification", "deep learning", "imagery", "ONNX"],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value"],
        "inputs": {
            "image": {
                "title": "Images",
                "description": (
                    "One or more images: links to GeoTIFF, COG, JPEG, PNG or JPEG 2000 files, a link to a folder "
                    "(it ends in /) for every image in it, or PNG, JPEG and TIFF files in the request. "
                    "Several form a mosaic."
                ),
                "minOccurs": 1,
                "maxOccurs": "unbounded",
                "schema": {"oneOf": [_LINK, inline]},
            },
            "features": {
                "title": "Objects",
                "description": (
                    "The objects to classify, points, lines or polygons: a GeoJSON FeatureCollection in the request, "
                    "or a link to a GeoJSON or a GeoPackage (#layer=name picks a layer). "
                    "Without it each image is an object."
                ),
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {
                    "oneOf": [
                        {
                            "type": "object",
                            "title": "FeatureCollection",
                            "format": "geojson-feature-collection",
                            "required": ["type", "features"],
                        },
                        _LINK,
                    ]
                },
            },
            "model": {
                "title": "Model",
                "description": "Id of an installed model; describe-model tells more of each",
                "minOccurs": 1,
                "maxOccurs": 1,
                "schema": model,
            },
            "modelArguments": {
                "title": "Model arguments",
                "description": (
                    "Arguments of the model by name: batch_size, score_threshold, test_time_augmentation, class_scores"
                ),
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "object", "default": {}, "example": {"class_scores": True}},
            },
            "classLabelField": {
                "title": "Class label field",
                "description": "Name of the field that gets the class label",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "string", "pattern": FIELD_NAME.pattern, "default": DEFAULT_FIELD},
            },
            "cellSize": {
                "title": "Cell size",
                "description": (
                    "Resolution at which chips of fixed size are sampled, in units of the image's CRS; "
                    "by default the image's own"
                ),
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "example": 0.3},
            },
            "processorType": {
                "title": "Processor type",
                "description": "Where the model runs; by default on the GPU where the server has one",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "string", "enum": ["CPU", "GPU"]},
            },
            "outputCrs": {
                "title": "Output CRS",
                "description": (
                    "CRS of the result, a CRS URI or EPSG:n; by default CRS84 in GeoJSON, "
                    "else that of the features or the image"
                ),
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "string", "example": "EPSG:3857"},
            },
        },
        "outputs": {
            OUTPUT: {
                "title": "Classified objects",
                "description": "The objects with their attributes, class label, class value, confidence and status",
                "schema": {
                    "oneOf": [
                        {"type": "object", "format": "geojson-feature-collection", "contentMediaType": GEOJSON},
                        {"type": "string", "format": "binary", "contentMediaType": GEOPACKAGE},
                        {"type": "string", "format": "binary", "contentMediaType": FLATGEOBUF},
                        {"type": "string", "format": "binary", "title": "GeoParquet", "contentMediaType": PARQUET},
                        {"type": "string", "title": "GeoJSON text sequence", "contentMediaType": GEOJSON_SEQ},
                        {"type": "string", "title": "CSV, geometry as WKT", "contentMediaType": CSV},
                        {"type": "object", "title": "Table of image ID and label", "contentMediaType": TABLE},
                    ]
                },
            }
        },
        "example": {
            "inputs": {
                "image": {"href": "file:///imagery/after-the-storm.tif", "type": "image/tiff; application=geotiff"},
                "features": {"href": "file:///imagery/houses.gpkg", "type": "application/geopackage+sqlite3"},
                "model": models[0] if models else "roof-damage",
            }
        },
        "links": [],
    }
