"""The process `echo`, for conformance tests: its output is its first input.

A deployment that needs no conformance tests leaves its entry out of the configuration.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from processes.crs import parse_crs
from processes.errors import RequestError, collect_faults
from processes.ogc.execution import Execution
from processes.ogc.literals import LiteralValue, read_literals
from processes.ogc.media_types import choose_media_type
from processes.ogc.process import Output, Process, RequireFreeName, RequireGpu, Requirements
from processes.ogc.request import Description

OUTPUT = "echo"
_MAX_PAUSE_S = 60

_TEXTS = {"type": "array", "items": {"type": "string"}}
_PLAIN = {"type": "string", "contentMediaType": "text/plain"}
_DESCRIPTION: Mapping[str, Any] = {
    "id": "echo",
    "version": "1.0.0",
    "title": "Echo",
    "description": "Answers with its first input. For conformance tests.",
    "keywords": ["echo"],
    "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
    "outputTransmission": ["value", "reference"],
    "inputs": {
        "echo": {
            "title": "Echo",
            "description": "The texts to give back",
            "minOccurs": 1,
            "maxOccurs": "unbounded",
            "schema": {"type": "string"},
        },
        "pause": {
            "title": "Pause",
            "description": "Seconds to wait before the answer",
            "minOccurs": 0,
            "maxOccurs": 1,
            "schema": {"type": "integer", "minimum": 0, "maximum": _MAX_PAUSE_S, "default": 0},
        },
        "numbers": {
            "title": "Numbers",
            "description": "A list of integers",
            "minOccurs": 0,
            "maxOccurs": 1,
            "schema": {"type": "array", "items": {"type": "integer"}},
        },
        "area": {
            "title": "Area",
            "description": "A bounding box",
            "minOccurs": 0,
            "maxOccurs": 1,
            "schema": {
                "allOf": [
                    {
                        "format": "ogc-bbox",
                        "type": "object",
                        "required": ["bbox"],
                        "properties": {
                            "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
                            "crs": {"type": "string", "default": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
                        },
                    }
                ]
            },
        },
        "text": {
            "title": "Text",
            "description": "Plain text",
            "minOccurs": 0,
            "maxOccurs": 1,
            "schema": {"type": "string", "contentMediaType": "text/plain"},
        },
        "choice": {
            "title": "Choice",
            "description": "An integer or a boolean",
            "minOccurs": 0,
            "maxOccurs": 1,
            "schema": {"oneOf": [{"type": "integer"}, {"type": "boolean"}]},
        },
    },
    "outputs": {
        OUTPUT: {
            "title": "Echo",
            "description": "The texts given, in their order",
            "schema": {"oneOf": [_TEXTS, _PLAIN]},
        }
    },
}


class Echo(Process):
    """The process `echo`.

    Args:
        max_pause_s: longest pause that a client may ask for, in seconds.
    """

    def __init__(self, max_pause_s: int = _MAX_PAUSE_S) -> None:
        self._max_pause_s = max_pause_s

    def describe(self) -> Description:
        description = deepcopy(dict(_DESCRIPTION))
        description["inputs"]["pause"]["schema"]["maximum"] = self._max_pause_s
        return description

    def validate(
        self,
        execution: Execution,
        require_free_name: RequireFreeName = lambda _: None,
        require_gpu: RequireGpu | None = None,
    ) -> Requirements:
        return Requirements(delay_s=_pause_s(self._values(execution)))

    def execute(self, execution: Execution, folder: Path) -> Output:
        values, outputs = self._values(execution), execution.request.outputs
        requested = outputs[OUTPUT].media_type if outputs and OUTPUT in outputs else None
        media_type = requested or choose_media_type(["application/json", "text/plain"], execution.accept)
        if not execution.is_delayed:
            time.sleep(_pause_s(values))
        texts = [text.value for text in values["echo"]]
        return Output(
            OUTPUT, media_type, "\n".join(texts).encode() if media_type == "text/plain" else msgspec.json.encode(texts)
        )

    def _values(self, execution: Execution) -> dict[str, list[LiteralValue]]:
        faults, description = list(execution.request.faults), self.describe()
        values = read_literals(execution.request, description, description["inputs"], faults)
        for area in values.get("area", ()):
            if "crs" in area.value:
                with collect_faults(faults, f"{area.pointer}/crs"):
                    parse_crs(area.value["crs"])
        if faults:
            raise RequestError(faults)
        return values


def _pause_s(values: Mapping[str, Sequence[LiteralValue]]) -> int:
    return next((pause.value for pause in values.get("pause", ())), 0)
