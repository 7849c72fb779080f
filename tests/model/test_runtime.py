"""A runtime is chosen in one place, and loaded only where a network is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import definition, save_mean_network
from processes.errors import InputError
from processes.model.definition import parse_definition
from processes.model.runtime import runtimes
from processes.model.runtime.runtime import Chips, Precision, Processor, RunNetwork
from processes.model.session import Session, SessionKey


class ConstantRuntime:
    """Answers every chip with the same scores, on GPUs alone."""

    takes_more_callers = True

    def load(self) -> None:
        pass

    def version(self) -> str:
        return "Constant 1.0"

    def missing(self, processor: Processor) -> str | None:
        return None if processor == "GPU" else "this server has no such thing"

    def missing_precision(self, precision: Precision, processor: Processor) -> str | None:
        return None if precision == "fp32" else "it has one precision"

    def gpus(self) -> Sequence[str]:
        return ("3", "5")

    def halve(self, network: Any) -> Any:
        return network

    def open(
        self,
        network: bytes,
        weights_folder: Path | None,
        processor: Processor,
        threads: int,
        precision: Precision = "fp32",
        callers: int = 1,
    ) -> RunNetwork:
        def run(chips: Chips, names: Sequence[str]) -> Sequence[object]:
            return [np.full((len(chips), 2), threads, np.float32) for _ in names]

        return run


def outputs_on(network: Path, processor: Processor) -> list[list[float]]:
    parsed = parse_definition(json.dumps(definition(Normalization="none")).encode())
    key = SessionKey(network, "0" * 64, parsed, "none", processor, 3)
    return [[float(value) for value in row] for row in Session(key).outputs(np.ones((2, 3, 8, 8), np.uint8))]


def test_runtime_that_can_use_the_processor_runs_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = save_mean_network(tmp_path / "net.onnx")
    monkeypatch.setattr(runtimes, "RUNTIMES", (ConstantRuntime(), *runtimes.RUNTIMES))
    assert (runtimes.missing_gpu(), runtimes.count_gpus(), runtimes.choose_processor()) == (None, 2, "GPU")
    assert runtimes.gpus() == ("3", "5")
    assert outputs_on(network, "GPU") == [[3, 3], [3, 3]]
    assert outputs_on(network, "CPU") == [[0, 1], [0, 1]]


def test_processor_that_no_runtime_can_use_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "RUNTIMES", (ConstantRuntime(),))
    runtimes.require_processor("GPU")
    runtimes.require_processor(None)
    with pytest.raises(InputError, match="processorType is CPU, but this server has no such thing"):
        runtimes.require_processor("CPU")


@pytest.mark.parametrize(("opens", "expected"), [("", "False"), ("runtimes.load_runtime(); ", "True")])
def test_library_is_loaded_where_a_network_is_opened_and_never_reports_home(opens: str, expected: str) -> None:
    script = (
        "import os, sys; import processes.registry; from processes.model.runtime import runtimes; "
        f"runtimes.missing_gpu(); {opens}"
        "print('onnxruntime' in sys.modules, os.environ.get('ORT_DISABLE_TELEMETRY') == '1')"
    )
    variables = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, expected]
