#!/usr/bin/env bash
# openvino 2026.4.1 (its wheel on PyPI), numpy 2.5.5, Python 3.12 or newer, Linux on x86-64.
#
# OpenVINO's documentation lets several threads use a compiled model, each with an infer request of its own. But where
# the first calls of a process come from several threads at once, the process can stop for ever, with all its threads.
# InferRequest.infer asks for Type.to_dtype(), which makes a table in a static variable of C++ at its first call. That
# imports from numpy and so gives the interpreter's lock up and takes it again. Another thread gets the interpreter's lock
# meanwhile, calls the same function, and waits for the static variable while it holds that lock (__cxa_guard_acquire).
# Each of the two waits for the other one. A native dump of the two threads shows it. A single call before any thread is
# started makes the table, and then nothing stops.
#
# About half of the processes stop, so six are started, as they are and with that call.
#
# Output seen:
#   as it is: 3 of 6 processes stopped
#   with a call before: 0 of 6 processes stopped
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "openvino==2026.4.1" "numpy==2.5.5"
cat > first_calls.py <<'PY'
import os
import sys
import threading

import openvino

if sys.argv[1:] == ["before"]:
    openvino.Type.f32.to_dtype()
sys.setswitchinterval(1e-6)
start, done = threading.Barrier(16), []


def call():
    start.wait()
    done.append(openvino.Type.f32.to_dtype())


threads = [threading.Thread(target=call, daemon=True) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os._exit(0 if len(done) == 16 else 1)
PY
stopped() {
  local count=0
  for _ in $(seq 6); do
    timeout 10 venv/bin/python first_calls.py "$@" || [ $? != 124 ] || count=$((count + 1))
  done
  echo "$count"
}
plain=$(stopped)
before=$(stopped before)
echo "as it is: $plain of 6 processes stopped"
echo "with a call before: $before of 6 processes stopped"
[ "$plain" -gt 0 ] && [ "$before" = 0 ]
