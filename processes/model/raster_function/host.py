"""The program that runs a raster function, in the operator's Python: 3.9 or newer, with numpy, and nothing of ours.

    python -I -B host.py

Requests come from the standard input, answers go to the standard output: the length of a JSON header (4 bytes, least
first), the header, and the arrays that it announces. What the function prints goes to the standard error.

| request | answer |
|---|---|
| `start`: `folder`, `definition`, `function`, `device` | `arguments`, as `getParameterInfo` has them |
| `configure`: `scalars` | `configuration`, and `fields` as `getFields` has them |
| `fields` | `fields` alone |
| `classify`: `shape`, `dtype`, then the cells, then the mask as bytes | `rows`: the attributes of each row |

An answer to what failed is `error`: `call`, `kind` and `text`.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import inspect
import json
import os
import sys
import traceback
import types
from typing import Any, BinaryIO

import numpy as np

_LENGTH_BYTES = 4
_OURS = ("raster", "rasters", "model", "device")
"""Parameters that are no arguments: the tool itself gives their values."""


class RasterFunctionHost:
    """A raster function, and the calls of it in Esri's order."""

    def __init__(self) -> None:
        self._function: Any = None
        self._call = "import"

    def answer(self, request: dict[str, Any], data: bytearray) -> dict[str, Any]:
        """Return the answer to a request, of which the arrays are apart."""
        try:
            if request["do"] == "start":
                return self._start(request)
            if request["do"] == "configure":
                return {"configuration": self._configuration(request), "fields": self._fields()}
            if request["do"] == "fields":
                return {"fields": self._fields()}
            return self._classify(request, data)
        except Exception as err:  # noqa: BLE001 - of code that is not ours
            traceback.print_exc()
            text = f"it needs the package {err.name}" if isinstance(err, ModuleNotFoundError) else str(err)
            return {"error": {"call": self._call, "kind": type(err).__name__, "text": text[:2000]}}

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        self._call = "import"
        sys.modules["arcpy"] = stub_of_arcpy(request["device"])
        sys.path.insert(0, request["folder"])
        self._function = load_function(os.path.join(request["folder"], request["function"]))
        self._call = "initialize"
        definition = os.path.join(request["folder"], request["definition"])
        _call_with(self._function.initialize, model=definition, model_as_file=True, device=request["device"])
        self._call = "getParameterInfo"
        parameters = self._function.getParameterInfo()
        return {"arguments": [item for item in parameters if str(item["name"]).lower() not in _OURS]}

    def _configuration(self, request: dict[str, Any]) -> dict[str, Any]:
        self._call = "getConfiguration"
        if not hasattr(self._function, "getConfiguration"):
            return {}
        return dict(self._function.getConfiguration(**request["scalars"]) or {})

    def _fields(self) -> Any:
        self._call = "getFields"
        fields = self._function.getFields()
        document = json.loads(fields) if isinstance(fields, (str, bytes)) else fields
        return document["fields"]

    def _classify(self, request: dict[str, Any], data: bytearray) -> dict[str, Any]:
        self._call = "vectorize"
        count, bands, height, width = request["shape"]
        dtype = np.dtype(request["dtype"])
        size = count * bands * height * width * dtype.itemsize
        cells = np.frombuffer(data, dtype, count * bands * height * width).reshape(count, bands, height, width)
        masks = np.frombuffer(data, np.uint8, count * height * width, size).reshape(count, 1, height, width)
        pixels = tuple(cells)
        valid = tuple(np.repeat(mask, bands, axis=0) for mask in masks)
        found = self._function.vectorize(
            rasters_pixels=pixels, rasters_mask=valid, raster_pixels=pixels, raster_mask=valid
        )
        vectors = found["output_vectors"]
        document = json.loads(vectors) if isinstance(vectors, (str, bytes)) else vectors
        return {"rows": [feature["attributes"] for feature in document["features"]]}


def stub_of_arcpy(device: int) -> types.ModuleType:
    """Return a module with what raster functions use of ArcGIS: where they run, and messages.

    Args:
        device: number of the GPU; -1 = the CPU.
    """
    arcpy = types.ModuleType("arcpy")
    processor, gpu = ("CPU", "") if device < 0 else ("GPU", str(device))
    arcpy.env = types.SimpleNamespace(  # type: ignore[attr-defined]
        processorType=processor, gpuId=gpu, workspace=None, scratchFolder=os.getcwd(), scratchWorkspace=os.getcwd()
    )
    for name in ("AddMessage", "AddWarning", "AddError"):
        setattr(arcpy, name, lambda *words: print(*words, file=sys.stderr))  # noqa: T201 - that is where it goes
    arcpy.GetParameterAsText = lambda _: ""  # type: ignore[attr-defined]
    arcpy.Exists = os.path.exists  # type: ignore[attr-defined]
    arcpy.ExecuteError = type("ExecuteError", (Exception,), {})  # type: ignore[attr-defined]
    return arcpy


def load_function(file: str) -> Any:
    """Return the raster function of a file: of its class that is named like it, else of the one with `vectorize`."""
    sys.path.insert(0, os.path.dirname(file))
    name = os.path.splitext(os.path.basename(file))[0]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{os.path.basename(file)} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    named = getattr(module, name, None)
    if inspect.isclass(named):
        return named()
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if hasattr(item, "vectorize")]
    own = [item for item in classes if item.__module__ == name] or classes
    if not own:
        raise ImportError(f"{os.path.basename(file)} has no class {name}, and none with a method vectorize")
    return own[0]()


def _call_with(method: Any, **values: Any) -> None:
    """Call a method with those of the values that it takes."""
    parameters = inspect.signature(method).parameters.values()
    if not any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters):
        names = [item.name for item in parameters]
        values = {name: value for name, value in values.items() if name in names}
    method(**values)


def _plain(value: Any) -> Any:
    """Return a value that JSON has no form for as one that it has."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return json.dumps(answer, default=_plain, skipkeys=True).encode("utf-8", "replace")
    except (ValueError, TypeError, RecursionError) as err:
        error = {"call": "answer", "kind": type(err).__name__, "text": str(err)[:2000]}
        return json.dumps({"error": error}).encode()


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the streams of requests and answers, and let nobody else have them: prints go to the standard error."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    return requests, answers


def _read(stream: BinaryIO, size: int) -> bytearray:
    data = bytearray(size)
    view, start = memoryview(data), 0
    while start < size:
        read = stream.readinto(view[start:])  # type: ignore[attr-defined]
        if not read:
            os._exit(0)  # the owner is gone
        start += read
    return data


def main() -> None:
    """Answer requests until there are none."""
    requests, answers = _own_streams()
    faulthandler.enable()
    host = RasterFunctionHost()
    while True:
        header = json.loads(_read(requests, int.from_bytes(_read(requests, _LENGTH_BYTES), "little")))
        data = _read(requests, header.get("bytes", 0))
        answer = _encoded(host.answer(header, data))
        answers.write(len(answer).to_bytes(_LENGTH_BYTES, "little") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
