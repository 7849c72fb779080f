"""The CPU of this machine, as far as the speed of networks depends on it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux lists what the CPU can do."""
_OF_NETWORKS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


@cache
def instructions(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """Return the sets of instructions of the CPU, as Linux names them; empty where it does not list them.

    Args:
        cpu_info: the list.
    """
    try:
        text = cpu_info.read_text()
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found is not None else frozenset()


def network_instructions(cpu_info: Path = CPU_INFO) -> list[str]:
    """Return those that networks are computed with; arguments as `instructions` has them."""
    return [name for name in _OF_NETWORKS if name in instructions(cpu_info)]
