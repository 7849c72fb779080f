"""Networks of TorchScript.

Opening one runs its TorchScript, a small language of its own that computes with arrays; it runs no Python of the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from processes.convert.messages import ForeignFile
from processes.convert.network import NetworkFacts
from processes.convert.torch_network import TorchNetwork
from processes.convert.words import in_words, versions
from processes.errors import PackageError


def open_script(file: ForeignFile) -> TorchNetwork:
    """Open a file of TorchScript.

    Raises:
        PackageError: it is broken, or does not take the chips of the package.
    """
    path = Path(file.path)
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as err:
        raise PackageError(f"PyTorch cannot open {path.name!r}: {in_words(err)}") from err
    bands = file.bands or next((item.shape[1] for item in module.state_dict().values() if item.ndim == 4), 3)
    facts = NetworkFacts(versions("torch"), "TorchScript", (bands, file.height, file.width))
    network = TorchNetwork(module, facts, is_script=True)
    try:
        network.outputs(np.zeros((2, *facts.shape), np.float32))
    except RuntimeError as err:
        shape = f"(n, {bands}, {file.height}, {file.width})"
        raise PackageError(f"the network does not take chips of shape {shape}: {in_words(err)}") from err
    return network
