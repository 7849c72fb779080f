"""Files that PyTorch itself wrote, by `make_pth.py`: their ONNX gives what PyTorch gives.

`PTH_FOLDER` names another folder of such files, as large ones are not in the repository.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from processes.model.pytorch.conversion import convert

CLOSE = 1e-5
"""What probabilities may differ by, …"""
ROUNDING = 4
"""… or where PyTorch's own float32 is less exact: how many times as far from float64 as that is."""

FOLDER = Path(os.environ.get("PTH_FOLDER") or Path(__file__).parent / "data")
FILES = sorted(FOLDER.glob("*.pth"))


def probabilities(logits: NDArray[Any], kind: str) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True) if kind == "softmax" else 1 / (1 + np.exp(-logits)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_of_pytorch_gives_what_pytorch_gives(tmp_path: Path, file: Path) -> None:
    stored = np.load(file.with_suffix(".npz"))
    convert(file, file.stem.split("-")[0], tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"input": part})[0] for part in np.array_split(stored["chips"], len(stored["chips"]))]
    logits = np.concatenate([np.asarray(part) for part in parts])
    assert np.ptp(logits, axis=0).min() > 0
    winners = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]).tolist()
    print(f"{file.stem}: {len(logits)} chips, labels {winners}")  # noqa: T201 - asked for by -s
    for kind in ("softmax", "sigmoid"):
        ours, theirs, exact = (
            probabilities(np.asarray(item, np.float64), kind) for item in (logits, stored["logits"], stored["exact"])
        )
        difference, error, their_error = (
            float(np.abs(a - b).max()) for a, b in ((ours, theirs), (ours, exact), (theirs, exact))
        )
        print(f"  {kind}: {difference:.1e}; to float64 {error:.1e}, PyTorch {their_error:.1e}")  # noqa: T201
        # the logits of networks with random weights hardly differ before they are stretched, and rounding is with them
        assert difference <= CLOSE or error <= ROUNDING * their_error
    assert (logits.argmax(axis=1) == stored["logits"].argmax(axis=1)).all()
