"""Digests of packages: what labels depend on, as one number, the same for a `.dlpk` and for the folder of its files.

It is the SHA-256 of a line `<sha256 of the file>  <path in the package>` for each file that counts, in code point order
of the paths: what `sha256sum FILE… | sha256sum` prints in the package's folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

FileDigests = Mapping[str, str]
"""SHA-256 of files in hex, by their paths in the package, with forward slashes."""


def file_digests(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the digests of files of a package.

    Args:
        folder: where the package's contents lie.
        files: in that folder.

    Raises:
        OSError: one cannot be read.
    """
    return {Path(os.path.relpath(file, folder)).as_posix(): _sha256(file) for file in files}


def joined_digest(digests: FileDigests) -> str:
    """Return the one digest of several files, in hex."""
    lines = (f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
