"""Large blocks of memory go back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service import ROOT

KEPT = """
import numpy as np, psutil
from processes.confinement.free_memory import return_large_blocks

if {returns}:
    return_large_blocks()
process, block_cells = psutil.Process(), 6 * 2**20
np.ones(block_cells, np.uint8)  # glibc keeps blocks of this size for later, once one was freed
before = process.memory_info().rss
blocks = [(np.ones(block_cells, np.uint8), np.ones(50_000, np.uint8)) for _ in range(20)]
blocks = [small for _, small in blocks]
print((process.memory_info().rss - before) / 2**20)
"""


def kept(*, returns: bool) -> float:
    """Return the MiB that a process keeps of 120 that it has freed, between others that it has not."""
    command = [sys.executable, "-c", KEPT.format(returns=returns)]
    return float(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other allocators")
def test_large_blocks_go_back_to_the_system() -> None:
    assert kept(returns=True) < 10 < 60 < kept(returns=False)
