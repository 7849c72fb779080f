"""The page on models of one's own, from training on: what the service says of each chip is what the framework says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from own_model import call, calls, code, write_files
from processes.programs.conversion.environment import find_environment

pytestmark = [pytest.mark.convert, pytest.mark.timeout(900)]

_OF_TORCH = """
import numpy as np
with torch.no_grad():
    scores = torch.cat([model(chip[None]) for chip, _ in data]).softmax(1)
np.save("torch.npy", np.stack([scores.argmax(1).numpy(), [place for _, place in data]]))
"""
_OF_KERAS = """
np.save("keras.npy", np.stack([model.predict(chips, verbose=0).argmax(1), classes]))
"""


def test_labels_of_the_page_s_models_are_those_of_their_frameworks(tmp_path: Path) -> None:
    write_files(tmp_path, 16)
    given = os.environ.get("CONVERT_ENVIRONMENT")
    python = find_environment(None if given is None else Path(given))
    for text, after, name in zip(code(), (_OF_TORCH, _OF_KERAS), ("torch", "keras"), strict=True):
        (tmp_path / f"{name}_page.py").write_text(text + after)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
        done = subprocess.run(
            [python, f"{name}_page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert "classes in the order of the outputs: damaged,intact" in done.stdout
    for arguments in calls():
        told = call(tmp_path, *arguments)
        assert told.exit_code == 0, (arguments, told.stderr)
    for name, package in (("torch", "roofs.dlpk"), ("keras", "roofs-keras.dlpk")):
        labels, truth = np.load(tmp_path / f"{name}.npy")
        expected = [[int(((truth == row) & (labels == column)).sum()) for column in range(2)] for row in range(2)]
        found = json.loads(call(tmp_path, "model", "check", package, "--chips", "chips", "--json").stdout)
        assert (found["confusion"], found["warnings"]) == (expected, [])
