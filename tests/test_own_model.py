"""The page on models of one's own: its calls work. `make test-convert` runs its code for PyTorch and Keras too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from PIL import Image

from own_model import PAGE, call, calls, code, write_files
from processes.programs.cli_model import model
from service import ROOT, models_checked_here


def test_the_calls_of_the_page_work_on_a_shipped_network(tmp_path: Path) -> None:
    write_files(tmp_path, 8)
    network = ROOT / "models" / "roof-damage" / "roof-damage.onnx"
    for name in ("roofs.onnx", "roofs-keras.onnx"):
        shutil.copyfile(network, tmp_path / name)
    with models_checked_here():
        for arguments in calls():
            done = call(tmp_path, *arguments)
            assert done.exit_code == 0, (arguments, done.stderr)
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.size[0] > 1000
    shown = json.loads(call(tmp_path, "model", "show", "roofs.dlpk").stdout)
    assert [item["Name"] for item in shown["classes"]] == ["damaged", "intact"]
    assert (tmp_path / "labelled.gpkg").is_file()


def test_the_page_has_each_option_and_code_that_can_be_read() -> None:
    make = model.commands["make"]
    options = {name for option in make.params for name in option.opts if name.startswith("--")}
    assert {name for name in options if f"| `{name}`" not in PAGE} == {"--output", "--overwrite"}
    for number, text in enumerate(code()):
        compile(text, f"page-{number}.py", "exec")
