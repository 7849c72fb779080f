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
    differences = {
        kind: float(np.abs(probabilities(logits, kind) - probabilities(stored["logits"], kind)).max())
        for kind in ("softmax", "sigmoid")
    }
    winners = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]).tolist()
    print(f"{file.stem}: {len(logits)} chips, labels {winners}, {differences}")  # noqa: T201 - asked for by -s
    # the weights of small files are alike, so that the differences of their chips are, and rounding counts for more
    assert max(differences.values()) <= (1e-4 if file.stem.endswith("-small") else 1e-5)
    assert (logits.argmax(axis=1) == stored["logits"].argmax(axis=1)).all()
