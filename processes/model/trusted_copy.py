"""A copy of a package whose raster function is trusted: what runs is what was trusted, whatever changes later."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from processes.errors import PackageError
from processes.model.package import move_into_place, scratch_in, short_hash
from processes.model.package_digest import package_digest, package_files


def trusted_copy(folder: Path, sha256: str, unpack_folder: Path, max_bytes: int) -> Path:
    """Return a folder with the contents of a package folder, which are copied the first time.

    Args:
        folder: the package folder.
        sha256: its digest.
        unpack_folder: for the copy.
        max_bytes: limit of its size.

    Raises:
        PackageError: the package is too large, or was changed meanwhile.
        OSError: it cannot be copied.
    """
    prefix = f"{folder.name}-{short_hash(os.fsencode(folder.resolve()))}-"
    target = unpack_folder / f"{prefix}{sha256[:32]}"
    if target.is_dir():
        return target
    files = package_files(folder)
    size = sum((folder / file).lstat().st_size for file in files)
    if size > max_bytes:
        limit = f"the limit max_model_mb = {max_bytes >> 20}"
        raise PackageError(f"the package holds {size} bytes, more than {limit} allows")
    unpack_folder.mkdir(parents=True, exist_ok=True)
    with scratch_in(unpack_folder) as scratch:
        for file in files:
            (scratch / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, scratch / file)
        if package_digest(scratch) != sha256:
            raise PackageError("its files were changed while they were copied")
        move_into_place(scratch, target, prefix)
    return target
