#!/usr/bin/env bash
# openvino 2026.4.1 (its wheel on PyPI), numpy 2.5.5, Python 3.12 or newer, Linux on x86-64.
#
# INFERENCE_PRECISION_HINT says in which precision the CPU plug-in computes. Asked for bf16 on a CPU without bf16 it takes
# the wish without an error or a warning, and computes in float32: only the compiled model's own property says so. (On a
# CPU with bf16 the default is the other way round: a network of float32 is computed in bf16 unless f32 is asked for.)
# Whoever wants to know in which precision a network runs has to set the hint and read it back.
#
# Output seen (a CPU with avx2, without avx512_bf16 and amx_bf16):
#   this CPU can: BIN, EXPORT_IMPORT, FP32, INT8
#   asked for bf16, the model says f32
#   asked for f32, the model says f32
#   difference of the two: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "openvino==2026.4.1" "numpy==2.5.5"
cat > hint.py <<'PY'
import numpy as np
import openvino
from openvino import opset13

core = openvino.Core()
can = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
print("this CPU can:", ", ".join(can))
rng = np.random.default_rng(0)
cells = opset13.parameter([4, 256], np.float32)
product = opset13.matmul(cells, rng.normal(size=(256, 64)).astype(np.float32), False, False)
model, chips, found, told = openvino.Model([product], [cells]), rng.random((4, 256), np.float32), [], []
for hint in ("bf16", "f32"):
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    told.append(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    print(f"asked for {hint}, the model says {told[-1]}")
    found.append(compiled(chips)[0])
difference = float(np.abs(found[0] - found[1]).max())
print(f"difference of the two: {difference:g}")
if "BF16" in can:
    print("this CPU has bf16: the finding is of others")
else:
    assert told == ["f32", "f32"], told
    assert difference == 0, difference
PY
venv/bin/python hint.py
