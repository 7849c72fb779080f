"""The memory of a process that answers requests in many threads."""

from __future__ import annotations

import subprocess
import sys

from service import ROOT

GROWTH = """
import threading, psutil, pyarrow as pa, pyarrow.compute as pc
from processes.web.http import worker

if {returns}:
    worker._return_memory()

def use():
    for count in (1_000, 100_000):
        pc.binary_join_element_wise(pa.array(range(count)).cast(pa.string()), "!", ";")
    used.wait()
    end.wait()

use_once = pa.array(range(100_000)).cast(pa.string())
used, end = threading.Barrier(33), threading.Event()
before = psutil.Process().memory_full_info().uss
threads = [threading.Thread(target=use) for _ in range(32)]
for thread in threads:
    thread.start()
used.wait()
print((psutil.Process().memory_full_info().uss - before) / 2**20)
end.set()
"""


def growth(*, returns: bool) -> float:
    """Return the MiB that a process has grown by after 32 threads have used Arrow."""
    command = [sys.executable, "-c", GROWTH.format(returns=returns)]
    return float(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout)


def test_threads_that_have_used_arrow_keep_little_memory() -> None:
    assert growth(returns=True) < growth(returns=False) / 2
