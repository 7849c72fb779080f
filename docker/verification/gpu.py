"""Whether an image has all that a GPU needs but the driver, which is the machine's."""

from __future__ import annotations

import json
from pathlib import Path

from verification.container import Container
from verification.report import Report

_DRIVER = {"libcuda.so.1", "libnvidia-ml.so.1"}
_VARIABLES = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}


def check_gpu(container: Container, report: Report) -> None:
    """Check variables, provider and libraries of an image for GPUs, on a machine that may have none."""
    environment = dict(item.split("=", 1) for item in container.config["Env"])
    found = {name: environment.get(name) for name in _VARIABLES}
    report.check(found == _VARIABLES, "variables of the NVIDIA container toolkit", found)
    text = (Path(__file__).with_name("unresolved.py")).read_text()
    done = container.run("python3", "-c", text)
    if done.returncode != 0:
        report.check(False, "libraries", done.stderr[-2000:])
        return
    told = json.loads(done.stdout)
    report.check("CUDAExecutionProvider" in told["providers"], "ONNX Runtime has the CUDA provider", told["providers"])
    linked = f"the {told['libraries']} libraries have all that they are linked to, but the driver's"
    report.check(told["links"].keys() <= _DRIVER, linked, told["links"])
    report.check(not told["names"], "what they open while they run is there", told["names"] or None)
    lacking = [line for line in told["words"] if "cannot open shared object" in line]
    lacks_driver = [line for line in lacking if any(name in line for name in _DRIVER)]
    is_opened = told["words"][-1].startswith("CUDAExecutionProvider")
    words = lacking[0].partition("with error: ")[2] if lacking else told["words"][-1]
    report.check(
        is_opened or 0 < len(lacking) == len(lacks_driver), "a network opened for a GPU lacks nothing else", words
    )
    report.leave_out("a real GPU: the driver, the container toolkit, labels and speed")
