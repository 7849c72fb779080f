"""The process `describe-model`: classes, chip, bands and arguments of an installed model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from processes import __version__
from processes.errors import RequestError, collect_faults
from processes.model.arguments import declared_arguments
from processes.model.card import read_card
from processes.model.catalog import Catalog, Model
from processes.model.raster_functions import RasterFunction
from processes.model.runtime.runtimes import choose_processor, precision_warning
from processes.model.variant import read_figures
from processes.ogc.execution import Execution
from processes.ogc.literals import read_literals
from processes.ogc.media_types import choose_media_type
from processes.ogc.process import Output, Process, RequireFreeName, RequireGpu, Requirements
from processes.ogc.request import Description
from processes.sources.media_types import GEOJSON, JSON

OUTPUT = "modelInfo"
MLM = f"{GEOJSON}; profile=mlm"
"""Media type of a STAC item of the extension MLM. Requests need not name the profile: here is no other GeoJSON."""


class DescribeModel(Process):
    """The process `describe-model`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def describe(self) -> Description:
        return _description(self._catalog.usable_ids())

    def frame(self) -> Description:
        return _description([])

    def validate(
        self,
        execution: Execution,
        require_free_name: RequireFreeName = lambda _: None,
        require_gpu: RequireGpu | None = None,
    ) -> Requirements:
        self._model(execution)
        return Requirements()

    def execute(self, execution: Execution, folder: Path) -> Output:
        model = self._model(execution)
        output = (execution.request.outputs or {}).get(OUTPUT)
        media_type = None if output is None else output.media_type
        if (media_type or choose_media_type([JSON, GEOJSON], execution.accept)) == JSON:
            return Output(OUTPUT, JSON, msgspec.json.encode(model_info(model)))
        from processes.model.mlm import stac_item  # its libraries take longer to import than the answer to make

        return Output(OUTPUT, MLM, msgspec.json.encode(stac_item(model)))

    def _model(self, execution: Execution) -> Model:
        faults = list(execution.request.faults)
        description = {"inputs": {"model": {"schema": {"type": "string"}}}}
        literals = read_literals(execution.request, description, ["model"], faults)
        for model_id in literals.get("model", ()):
            with collect_faults(faults, model_id.pointer):
                model = self._catalog.model(model_id.value)
                if not faults:
                    return model
        raise RequestError(faults)


def _description(models: Sequence[str]) -> Description:
    """Return the description of the process.

    Args:
        models: ids of the usable models, which its schema lists; empty = it lists none.
    """
    schema: dict[str, Any] = {"type": "string"}
    if models:
        schema["enum"] = list(models)
    return {
        "id": "describe-model",
        "version": __version__,
        "title": "Describe a model",
        "description": "Tells the classes, the chip, the bands and the arguments of an installed model.",
        "keywords": ["model", "deep learning"],
        "jobControlOptions": ["sync-execute"],
        "outputTransmission": ["value"],
        "inputs": {
            "model": {
                "title": "Model",
                "description": "Id of an installed model",
                "minOccurs": 1,
                "maxOccurs": 1,
                "schema": schema,
            }
        },
        "outputs": {
            OUTPUT: {
                "title": "Model",
                "description": "Id, sha256 of what labels depend on, classes, chip size, bands, how cells are prepared "
                "(value * scale + offset) and scores activated, arguments, provider in use",
                "schema": {
                    "oneOf": [
                        {"type": "object", "contentMediaType": JSON},
                        {"type": "object", "title": "STAC item of the extension MLM", "contentMediaType": MLM},
                    ]
                },
            }
        },
        "example": {"inputs": {"model": models[0] if models else "roof-damage"}},
        "links": [],
    }


def model_info(model: Model) -> dict[str, Any]:
    """Return the output `modelInfo` of a model; keys without a value are left out."""
    definition = model.definition
    normalization = definition.normalization_for(model.bands)
    warning = precision_warning(definition.precision, choose_processor())
    optional = {
        "dataRange": definition.data_range,
        "normalization": normalization and {"scale": normalization.scale, "offset": normalization.offset},
        "minCellSize": definition.min_cell_size and definition.min_cell_size.size,
        "maxCellSize": definition.max_cell_size and definition.max_cell_size.size,
        "batchSize": definition.batch_size,
        "precision": definition.precision,
        "warnings": [*model.warnings, *([] if warning is None else [warning])] or None,
        "card": dict(read_card(model.folder).properties) or None,
        "optimisation": read_figures(model.folder),
        "rasterFunction": None if model.function is None else function_info(model.function),
    }
    return {
        "id": model.id,
        "sha256": model.sha256,
        "classes": [
            {"Value": item.value, "Name": item.name} | ({"Color": list(item.color)} if item.color is not None else {})
            for item in definition.classes
        ],
        "multiLabel": definition.multi_label,
        "activation": model.activation,
        "chip": {
            "width": definition.chip_width,
            "height": definition.chip_height,
            "fixedSize": definition.fixed_size,
            "blackenAroundFeature": definition.blacken,
        },
        "bands": list(definition.bands) if definition.bands is not None else model.bands,
        **{name: value for name, value in optional.items() if value is not None},
        "arguments": [
            msgspec.structs.asdict(argument)
            for argument in declared_arguments(definition, model.size, model.own_function)
        ],
        "provider": choose_processor(),
    }


def function_info(function: RasterFunction) -> dict[str, Any]:
    """Return what an operator or a client wants to know of a raster function; keys without a value are left out."""
    info = {
        "file": function.file,
        "sha256": function.sha256,
        "trusted": function.is_trusted,
        "fields": [{"name": item.name, "type": item.kind} for item in function.fields] or None,
        "toRunIt": None if function.is_trusted else function.to_run_it(),
    }
    return {name: value for name, value in info.items() if value is not None}
