"""The OGC description of the process `classify-objects`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from processes import __version__
from processes.classify.planning.fields import FIELD_NAME
from processes.crs import CRS84
from processes.features.writing.formats import FORMATS
from processes.features.writing.label_fields import DEFAULT_FIELD
from processes.ogc.request import Description

PROCESS_ID = "classify-objects"
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
        "id": PROCESS_ID,
        "version": __version__,
        "title": "Classify objects using deep learning",
        "description": (
            "Gives each object of a feature layer the class that a trained model sees in the image at its place: "
            "houses damaged or not, trees healthy or not. Without a layer each image is one object."
        ),
        "keywords": ["classification", "deep learning", "imagery", "ONNX"],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
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
                    "or a link to a GeoJSON, GeoPackage (#layer=name picks a layer), FlatGeobuf, Shapefile (zipped, or "
                    "with its files beside it), file geodatabase, GeoParquet or CSV file (#crs=EPSG:n names the CRS "
                    "of a CSV), or to the items of an OGC API - Features collection, a layer of Esri's feature "
                    "services or of a WFS 2.0 (all pages are followed). "
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
            "processingMode": {
                "title": "Processing mode",
                "description": (
                    "mosaic: the images are one, and an object has one chip; separate: an object has a chip in each "
                    "image that it touches. Without features it has no effect"
                ),
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "string", "enum": ["mosaic", "separate"], "default": "mosaic"},
            },
            "resultName": {
                "title": "Result name",
                "description": "Name of the result's layer; by default made from the image's name",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "example": "storm-damage"},
            },
            "extent": {
                "title": "Extent",
                "description": (
                    "Only objects that touch it are classified; without features images that touch it, cut to it. "
                    "In CRS84, or in the CRS named: EPSG:n and such are in x, y order, a URI in its authority's. "
                    "West beyond east crosses the antimeridian"
                ),
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {
                    "type": "object",
                    "format": "ogc-bbox",
                    "required": ["bbox"],
                    "properties": {
                        "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
                        "crs": {"type": "string", "default": CRS84},
                    },
                    "additionalProperties": False,
                },
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
            "parallelProcessingFactor": {
                "title": "Parallel processing factor",
                "description": "How much of the server may work on this job: a share in percent, or a number of slots",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {
                    "oneOf": [
                        {"type": "string", "pattern": "^[0-9]{1,4}%?$", "example": "80%"},
                        {"type": "integer", "minimum": 0},
                    ],
                    "default": "100%",
                },
            },
            "processorType": {
                "title": "Processor type",
                "description": "Where the model runs; by default on the GPU where the server has one",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "string", "enum": ["CPU", "GPU"]},
            },
            "recycleInterval": {
                "title": "Recycle interval",
                "description": "Sections of the job after which a process is replaced; 0 is never",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "integer", "minimum": 0, "default": 0},
            },
            "retries": {
                "title": "Retries",
                "description": "How often a section that fails is tried again before the job fails",
                "minOccurs": 0,
                "maxOccurs": 1,
                "schema": {"type": "integer", "minimum": 0, "maximum": 10, "default": 0},
            },
            "outputCrs": {
                "title": "Output CRS",
                "description": (
                    "CRS of the result: EPSG:n, ESRI:n or a code of another authority, its URN or its URI; "
                    "by default CRS84 in GeoJSON, else that of the features or the image"
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
                "schema": {"oneOf": [{**item.schema, "contentMediaType": item.media_type} for item in FORMATS]},
            }
        },
        "example": {
            "inputs": {
                "image": {"href": "upload:sample/scene.tif", "type": "image/tiff; application=geotiff"},
                "features": {"href": "upload:sample/houses.geojson", "type": "application/geo+json"},
                "model": models[0] if models else "roof-damage",
            }
        },
        "links": [],
    }
