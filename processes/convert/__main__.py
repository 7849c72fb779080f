"""The process of the converter: `python -m processes.convert FOLDER`, started by `classify-objects convert`.

It reads `request.json` in the folder, and writes `answer.json`. It ends when its standard input does, which its owner
holds open.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np

from processes.convert.kinds import Kind
from processes.convert.messages import ConversionAnswer, ConversionRequest, ForeignFile
from processes.convert.network import ForeignNetwork
from processes.errors import PackageError

_CHIPS = 32
"""Chips of one call of a network."""


def answer(request: ConversionRequest) -> ConversionAnswer:
    """Do what a request asks for."""
    try:
        network = open_network(request.file)
        if request.target is not None:
            network.export(Path(request.target))
        for path in request.chips:
            chips = np.load(path, mmap_mode="r")
            parts = [network.outputs(np.array(chips[n : n + _CHIPS])) for n in range(0, len(chips), _CHIPS)]
            np.save(f"{path}.outputs.npy", np.concatenate(parts))
    except PackageError as err:
        return ConversionAnswer(err.detail)
    except MemoryError:
        return ConversionAnswer("the memory is not enough to convert the network")
    facts = network.facts
    bands, height, width = facts.shape
    return ConversionAnswer(
        None, facts.framework, facts.network, bands, height, width, facts.normalization, facts.notes
    )


def open_network(file: ForeignFile) -> ForeignNetwork:
    """Open a network in its own framework, which is imported now.

    Raises:
        PackageError: it cannot be opened, or is none that can be converted.
    """
    kind: Kind = file.kind  # type: ignore[assignment] # the command line writes no other
    match kind:
        case "keras":
            from processes.convert.keras_network import open_keras

            return open_keras(file)
        case "torchscript":
            from processes.convert.torch_script import open_script

            return open_script(file)
        case "weights" | "safetensors":
            from processes.convert.torch_weights import open_weights

            return open_weights(file)


def _end_with_owner() -> None:
    """End this process when its standard input ends: when its owner has ended, for whatever reason."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_owner, daemon=True).start()
    folder = Path(sys.argv[1])
    answer(ConversionRequest.read(folder)).write(folder)
    sys.stdout.flush()
    os._exit(0)  # some libraries wait for threads of theirs
