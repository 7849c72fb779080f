"""Static quantisation, by ONNX Runtime's own tool: a network of float32 gets pairs of operators that round to 8 bits.

It is static: ranges are those of given chips, so that the labels of a chip never depend on its neighbours. Weights get
7 bits: without VNNI, CPUs add pairs of products in 16 bits, which 8 bits can exceed, so that labels would depend on the
CPU. They stay in the network as they were, with a pair of their own, so that it can be computed in float32 too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.graph.quantising import mark_layers, save_for_quantisation
from processes.model.runtime.onnx_runtime import save_folded

METHOD = "static, activations of 8 bits by their least and greatest values, weights of 7 bits per channel"


def quantise(
    network: Path, target: Path, scratch: Path, input_name: str, batches: Iterable[NDArray[Any]], kept: int = 0
) -> None:
    """Write a network whose layers but the last are computed with whole numbers of 8 bits.

    Args:
        network: the ONNX file, of float32.
        target: a new ONNX file, with all weights.
        scratch: folder for what is written meanwhile.
        input_name: of the network.
        batches: what the network takes, `(n, …)` each, for the ranges.
        kept: how many of the first layers stay in float32 too.

    Raises:
        PackageError: the network cannot be quantised.
    """
    whole, folded = scratch / "whole.onnx", scratch / "folded.onnx"
    save_for_quantisation(network, whole)
    save_folded(whole, folded)
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        with _no_advice():
            quantize_static(
                str(folded),
                str(target),
                _Reader(input_name, batches),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=mark_layers(folded, kept),
                extra_options={"AddQDQPairToWeight": True, "QuantizeBias": False},
            )
    except Exception as err:  # whatever the tool stumbles over in a foreign network
        raise PackageError("the network cannot be quantised") from err


class _Reader:
    """Gives batches one by one, as the tool asks for them."""

    def __init__(self, input_name: str, batches: Iterable[NDArray[Any]]) -> None:
        self._batches = iter(batches)
        self._input_name = input_name

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._input_name: np.asarray(batch, np.float32)}


@contextmanager
def _no_advice() -> Iterator[None]:
    """Keep the tool, which writes to the root logger, from talking to users."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
