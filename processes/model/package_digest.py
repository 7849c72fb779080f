"""The digest of a whole package: what an operator trusts when he lets the code of a package run.

It has the form of `processes.model.digests`, and covers each file of the package, unpacked. In the package's folder
this prints it:

    find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from processes.errors import PackageError
from processes.model.digests import file_digests, joined_digest
from processes.sources.zips import MAX_MEMBERS

_SHOWN_CHARACTERS = 80


def package_digest(folder: Path) -> str:
    """Return the digest of a package, in hex.

    Args:
        folder: where its contents lie.

    Raises:
        PackageError: it holds something that no digest can tell of, as a link that leads out of the package.
        OSError: a file cannot be read.
    """
    return joined_digest(file_digests(folder, (folder / path for path in package_files(folder))))


def package_files(folder: Path) -> list[str]:
    """Return the paths of all files of a package within its folder, with forward slashes, in code point order.

    Raises:
        PackageError: as `package_digest` has it.
        OSError: a folder cannot be read.
    """
    paths = list[str]()
    for path in _paths(os.fspath(folder), ""):
        if len(paths) == MAX_MEMBERS:
            raise PackageError(f"the package has more than {MAX_MEMBERS} files")
        paths.append(path)
    return sorted(paths)


def _paths(folder: str, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(entry.path, f"{path}/")
            else:
                _require_plain(entry, path)
                yield path


def _require_plain(entry: os.DirEntry[str], path: str) -> None:
    """Raise PackageError for what is no file of the package itself, and for a name that makes lines ambiguous."""
    shown = path[-_SHOWN_CHARACTERS:].encode(errors="replace").decode()
    if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
        raise PackageError(f"the package holds {shown!r}, which is no plain file: nobody can vouch for it")
    if "\n" in path or path != path.encode(errors="replace").decode():
        raise PackageError(f"the package holds a file whose name is no line of text: {shown!r}")
