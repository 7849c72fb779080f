"""Tables of documents that the benchmarks write themselves, between two comments with their name.

Most are in `docs/performance.md`.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

_DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
"""Sets of instructions that the speed of networks depends on."""


def write(name: str, text: str, header: Sequence[str], rows: Sequence[Sequence[str]], path: Path = _DOCUMENT) -> None:
    """Replace a table and the text before it.

    Args:
        name: that the comments have.
        text: what was measured, and where.
        header: of each column.
        rows: the cells of each row.
        path: of the document.
    """
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    document = path.read_text()
    parts = re.fullmatch(f"(.*{begin}\n).*({end}.*)", document, re.DOTALL)
    if parts is None:
        raise SystemExit(f"{path} has no comments {begin} and {end}")
    path.write_text(f"{parts[1]}\n{text}\n\n{table}\n\n{parts[2]}")


def machine() -> str:
    """Return the cores, their instructions and the date."""
    info = Path("/proc/cpuinfo").read_text()
    models = re.findall(r"^model name\s*: (.*)$", info, re.MULTILINE)
    flags = set(" ".join(re.findall(r"^flags\s*: (.*)$", info, re.MULTILINE)).split())
    known = ", ".join(flag for flag in _FEATURES if flag in flags)
    today = datetime.now(tz=UTC)
    return f"{os.cpu_count()} cores of {models[0] if models else 'an unknown kind'} ({known}), {today:%d %B %Y}"


def median_and_range(figures: Sequence[float]) -> str:
    """Return the median, and the least and the greatest figure."""
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"
