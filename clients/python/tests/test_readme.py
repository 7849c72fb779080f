"""The README's examples run, in their order."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("scene.tif", "houses.geojson"):
        (tmp_path / name).symlink_to(Path(os.environ["SAMPLE"]) / name)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 4
    program = "\n".join(examples).replace("http://127.0.0.1:5000", os.environ["CLASSIFY_URL"])
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)  # noqa: S102 - it is ours
    names["service"].close()
    said = capsys.readouterr().out
    assert "damaged" in said
    assert "/inputs/model" in said
    assert (tmp_path / "labelled.gpkg").stat().st_size > 10_000
