"""Print as JSON which shared libraries ONNX Runtime's CUDA provider lacks. Runs in the image, and needs no GPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnxruntime

PACKAGES = Path(onnxruntime.__file__).parents[1]
NETWORK = "/app/models/roof-damage/roof-damage.onnx"
OPENED = re.compile(rb"\blib(?:cudnn|cublas|cudart|cufft|curand|nvrtc|nvJitLink)[\w-]*\.so\.[0-9][0-9.]*[0-9]\b")
"""Names of NVIDIA's libraries as they stand in others, which open them while they run."""
PROVIDER = "CUDAExecutionProvider"


def missing_links(libraries: list[Path]) -> dict[str, list[str]]:
    """Return what the dynamic linker does not find, with the files that need it."""
    folders = sorted({str(path.parent) for path in libraries})
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(folders)}
    missing: dict[str, list[str]] = {}
    for path in libraries:
        shown = subprocess.run(["ldd", path], capture_output=True, text=True, env=environment, check=False).stdout
        for name in re.findall(r"(\S+) => not found", shown):
            missing.setdefault(name, []).append(path.name)
    return missing


def missing_names(libraries: list[Path]) -> dict[str, list[str]]:
    """Return the names of libraries that are opened and there in no version, with the files that have these names."""
    there = {path.name.split(".so")[0] for path in libraries}
    missing: dict[str, list[str]] = {}
    for path in libraries:
        names = {found.decode().split(".so")[0] for found in OPENED.findall(path.read_bytes())}
        for name in names - there:  # a file may have the names of several versions, and opens the first that is there
            missing.setdefault(name, []).append(path.name)
    return missing


def words_of_the_provider() -> list[str]:
    """Return what ONNX Runtime says when a network is opened for a GPU as the service does it, and last who runs it."""
    start = "import onnxruntime as o; o.preload_dlls(); "
    text = (
        f"{start}print(*o.InferenceSession({NETWORK!r}, providers=[{PROVIDER!r}], enable_fallback=0).get_providers())"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    return (done.stderr + done.stdout).splitlines()


if __name__ == "__main__":
    found = [path for name in ("onnxruntime", "nvidia") for path in sorted((PACKAGES / name).rglob("*.so*"))]
    result = {
        "providers": onnxruntime.get_available_providers(),
        "libraries": len(found),
        "links": missing_links(found),
        "names": missing_names(found),
        "words": words_of_the_provider(),
    }
    print(json.dumps(result))
