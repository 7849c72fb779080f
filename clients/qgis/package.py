"""Pack the plugin as QGIS installs it: `package.py TARGET.zip`. The same files always give the same package."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
PLUGIN = HERE / "ogcapi_processes"
SUFFIXES = (".py", ".svg", ".txt")
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Time of all files in the package."""


def pack(target: Path) -> None:
    """Write the package to a file."""
    files = [path for path in sorted(PLUGIN.iterdir()) if path.suffix in SUFFIXES]
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in [*files, HERE.parents[1] / "LICENSE"]:
            entry = zipfile.ZipInfo(f"{PLUGIN.name}/{path.name}", FIRST_DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            package.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
