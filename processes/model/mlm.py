"""Models as STAC items of the extension MLM 1.6. The only home of `pystac` and `stac_model`, which take their time to
import: whoever makes an item imports this module at the last moment.

What nobody has stated is left out. STAC itself asks for two things that a package does not tell: an architecture, which
is `unknown` then, and a time, which is then MLM's interval from 1900 to 9999.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import PurePosixPath
from typing import Any

import pystac
import shapely
from pystac.utils import str_to_datetime
from shapely.errors import ShapelyError
from shapely.geometry import shape
from stac_model.base import ProcessingExpression
from stac_model.input import InputStructure, ModelInput
from stac_model.output import MLMClassification, ModelOutput, ModelResult
from stac_model.schema import MLModelExtension, MLModelProperties

from processes.model.card import ModelCard, read_card
from processes.model.catalog import Model
from processes.model.definition import chip_size

_OPEN_INTERVAL = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_TIMES = ("datetime", "start_datetime", "end_datetime")
_FRAMEWORKS = ("PyTorch", "TensorFlow", "Keras", "ONNX")
"""Values of `Framework` that MLM has under the same name."""
_MLM_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]")
_NOT_OF_NAMES = re.compile(r"[^0-9A-Za-z_-]+")
_ACTIVATIONS = {"softmax": "Softmax", "sigmoid": "Sigmoid"}
_OPERATOR = "https://onnx.ai/onnx/operators/onnx__{}.html"
_MLM = "mlm:"
_EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"


def stac_item(model: Model) -> dict[str, Any]:
    """Return a model as a STAC item: what its package says, and beside that what its own card says.

    A card that makes no sound item is left out.
    """
    try:
        return _item(model, read_card(model.folder))
    except (ValueError, TypeError, KeyError, AttributeError, pystac.STACError, ShapelyError):
        # what pydantic raises is a ValueError
        return _item(model, ModelCard())


def _item(model: Model, card: ModelCard) -> dict[str, Any]:
    definition = model.definition
    of_card = {name: value for name, value in card.properties.items() if name not in _TIMES}
    of_extension = {name.removeprefix(_MLM): value for name, value in of_card.items() if name.startswith(_MLM)}
    item = pystac.Item(
        id=model.id,
        geometry=None if card.geometry is None else json.loads(shapely.to_geojson(shape(dict(card.geometry)))),
        bbox=card.bbox,
        properties={name: value for name, value in of_card.items() if not name.startswith(_MLM)},
        **_times(card),
    )
    item.properties["sha256"] = model.sha256
    stated = of_extension | {
        name: value
        for name, value in {
            "architecture": definition.backbone,
            "framework": definition.framework if definition.framework in _FRAMEWORKS else None,
            "batch_size_suggestion": definition.batch_size,
        }.items()
        if value is not None
    }
    own = {
        "name": _name(model.id),
        "architecture": "unknown",
        "tasks": {"classification"},
        "input": [_input(model)],
        "output": [_output(model)],
        "pretrained": None,
    }
    MLModelExtension.ext(item, add_if_missing=True).apply(MLModelProperties(**(own | stated)))
    network, function = PurePosixPath(definition.network_file), model.own_function
    href = network.as_posix() if function is None else function.file
    asset = pystac.Asset(href, media_type="application/octet-stream", roles=["mlm:model"])
    artifact = "torch.save" if network.suffix.lower() == ".pth" else "onnx"
    asset.extra_fields["mlm:artifact_type"] = artifact if function is None else "arcgis.raster-function"
    if names := _band_names(model):  # MLM wants them explained, and STAC forbids `bands` in properties
        item.stac_extensions.append(_EO)
        asset.extra_fields["eo:bands"] = [{"name": name} for name in dict.fromkeys(names)]
    item.add_asset("model", asset)
    document: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    document["properties"] = _stated(document["properties"], {*card.properties, *_TIMES})
    return document


def _times(card: ModelCard) -> dict[str, Any]:
    """Return the times of an item: those of the card, else MLM's interval for what has none."""
    times = {name: str_to_datetime(card.properties[name]) for name in _TIMES if name in card.properties}
    if "datetime" in times or len(times) == len(_TIMES) - 1:
        return {"datetime": None} | times
    start, end = _OPEN_INTERVAL
    return {"datetime": None, "start_datetime": start, "end_datetime": end}


def _name(model_id: str) -> str:
    """Return an id as MLM takes it for a name: it begins with a letter, and has three characters or more."""
    if _MLM_NAME.fullmatch(model_id):
        return model_id
    return f"model-{_NOT_OF_NAMES.sub('-', model_id)}".rstrip("-_")


def _band_names(model: Model) -> list[str]:
    """Return the names of the bands that the network takes; empty = they have none."""
    bands = model.definition.bands or ()
    names = [band for band in bands if isinstance(band, str)]
    return names if len(names) == len(bands) else []


def _input(model: Model) -> ModelInput:
    definition, network, names = model.definition, model.input, _band_names(model)
    height, width = chip_size(definition, model.size)
    bands = model.bands or (len(definition.bands) if definition.bands else -1)
    axes = {"batch": network.batch or -1, "bands" if names else "channel": bands, "height": height, "width": width}
    if network.channels_last:
        axes = {name: axes[name] for name in ("batch", "height", "width", "bands" if names else "channel")}
    is_cut = definition.fixed_size and (height, width) == (definition.chip_height, definition.chip_width)
    return ModelInput(
        name="chips",
        bands=names,
        variables=None,
        input=InputStructure(shape=list(axes.values()), dim_order=list(axes), data_type=network.dtype),
        value_scaling=_scaling(model),
        resize_type="crop" if is_cut else "interpolation-linear",
    )


def _scaling(model: Model) -> list[Any] | None:
    """Return what is done to each band; None = nothing, or something that depends on the image."""
    normalization = model.definition.normalization_for(model.bands)
    if normalization is None or model.definition.data_range is not None:
        return None
    pairs = zip(normalization.scale, normalization.offset, strict=True)
    scores = [{"type": "z-score", "mean": -offset / scale, "stddev": 1 / scale} for scale, offset in pairs if scale]
    finite = all(isfinite(item["mean"]) and isfinite(item["stddev"]) for item in scores)  # type: ignore[arg-type]
    return scores if finite and len(scores) == len(normalization.scale) else None


def _output(model: Model) -> ModelOutput:
    classes = model.definition.classes
    operator = _ACTIVATIONS.get(model.activation)
    after = None
    if operator is not None:
        after = ProcessingExpression(format="uri", expression=_OPERATOR.format(operator))
    return ModelOutput(
        name=model.output_name or "scores",
        bands=None,
        variables=None,
        tasks={"classification"},
        result=ModelResult(shape=[-1, len(classes)], dim_order=["batch", "class"], data_type="float32"),
        classes=[
            MLMClassification(
                value=item.value,
                name=name,
                description=item.name,
                color_hint=None if item.color is None else "{:02X}{:02X}{:02X}".format(*item.color),
            )
            for item, name in zip(classes, _class_names([item.name for item in classes]), strict=True)
        ],
        post_processing_function=after,
    )


def _class_names(names: Sequence[str]) -> list[str]:
    """Return names of classes as STAC takes them, of letters, digits, `-` and `_`; each of them once."""
    plain = [_NOT_OF_NAMES.sub("_", name) for name in names]
    return [name if plain.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(plain, 1)]


def _stated(properties: Mapping[str, Any], kept: set[str]) -> dict[str, Any]:
    """Return properties without those that the library fills in though nobody has stated them."""
    document = json.loads(json.dumps(properties))
    defaults = {"mlm:accelerator": None, "mlm:accelerator_constrained": False}
    found = {name: value for name, value in document.items() if name in kept or defaults.get(name, ...) != value}
    for part in (*found["mlm:input"], *found["mlm:output"]):
        for name in [name for name, value in part.items() if value is None]:
            del part[name]
    return found
