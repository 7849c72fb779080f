"""Types of msgspec are ready before threads decode them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading, types
import msgspec
from processes.jobs.struct_types import prepare_struct_types

COUNT = 100
module = sys.modules["kinds"] = types.ModuleType("kinds")
text = "from __future__ import annotations\\nimport msgspec\\n"
for number in range(COUNT):
    text += f"class Part{number}(msgspec.Struct):\\n    x: int\\n    y: list[str]\\n"
    text += f"class Whole{number}(msgspec.Struct):\\n    one: Part{number}\\n    more: dict[str, Part{number}]\\n"
exec(text, module.__dict__)
prepare_struct_types()
sys.setswitchinterval(1e-6)
part = b'{"x": 1, "y": ["a"]}'
for number in range(COUNT):
    begin = threading.Barrier(8)
    def decode():
        begin.wait()
        msgspec.json.decode(b'{"one": %b, "more": {"a": %b}}' % (part, part), type=getattr(module, f"Whole{number}"))
    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_many_threads_may_decode_a_type_first() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
