"""Types of msgspec are ready before threads decode them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import contextlib, sys, threading
import msgspec
import processes.web.app
from processes.jobs import struct_types

struct_types.prepare_struct_types()
sys.setswitchinterval(1e-6)
kinds = list(struct_types._kinds(msgspec.Struct))
for kind in kinds:
    begin = threading.Barrier(8)
    def decode():
        begin.wait()
        with contextlib.suppress(msgspec.DecodeError, TypeError):
            msgspec.json.decode(b"{}", type=kind)
    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(len([kind for kind in kinds if kind.__module__.startswith("processes.")]))
"""


def test_many_threads_may_decode_a_type_first() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
