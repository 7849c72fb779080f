"""Networks of PyTorch in evaluation mode."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from processes.convert.network import NetworkFacts
from processes.convert.words import in_words
from processes.errors import PackageError

_INPUT, _OUTPUT = "input", "output"
_OPSET = 18


class TorchNetwork:
    """A network of PyTorch that takes chips of one size.

    Args:
        module: the network.
        facts: what is known of it.
        is_script: True: it is TorchScript, which only the older exporter takes.
    """

    def __init__(self, module: Any, facts: NetworkFacts, is_script: bool = False) -> None:
        self.facts = facts
        self._module = module.eval()
        self._is_script = is_script

    def export(self, target: Path) -> None:
        """Write the network as ONNX: by the exporter of today, where that fails by the older one."""
        chips = torch.rand(2, *self.facts.shape)
        errors = []
        for write in (self._trace,) if self._is_script else (self._capture, self._trace):
            try:
                with warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")
                    write(chips, target)
            except Exception as err:  # noqa: BLE001 - exporters raise whatever their libraries do
                errors.append(err)
            else:
                return
        raise PackageError(f"PyTorch cannot export the network to ONNX: {in_words(errors[0])}") from errors[0]

    def outputs(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            found = self._module(torch.from_numpy(np.ascontiguousarray(chips)))
        if not isinstance(found, torch.Tensor):
            raise PackageError(f"the network gives a {type(found).__name__}, not one array of scores")
        return np.asarray(found.reshape(len(chips), -1).float().numpy(), np.float32)

    def _capture(self, chips: torch.Tensor, target: Path) -> None:
        torch.onnx.export(
            self._module,
            (chips,),
            str(target),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )

    def _trace(self, chips: torch.Tensor, target: Path) -> None:
        torch.onnx.export(
            self._module,
            (chips,),
            str(target),
            dynamo=False,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_axes={_INPUT: {0: "n"}, _OUTPUT: {0: "n"}},
            opset_version=_OPSET,
        )
