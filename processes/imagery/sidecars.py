"""What lies beside an image. GDAL opens it by its name alone: of a FIFO it would wait for a writer for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec

from processes.errors import ImageError
from processes.imagery.endings import ENDINGS

MASK_ENDING = ".msk"
"""Behind the whole name of an image."""
_MAX_ENTRIES = 200_000
"""Entries of a folder that are looked at."""
_MAX_LISTED = 1000
"""Names of a folder that GDAL lists by default. Where there are more it looks for each file by its name instead."""
_SETTLED_NS = 3 * 10**9
"""What was changed so long ago has a time that no later change has, also where the clock of files ticks slowly."""
_KNOWN_NS = 10 * 10**9
"""A folder is listed again after so long, even though its times tell of no change: some file systems are late."""


class Listing(msgspec.Struct, frozen=True):
    """What a folder tells of the images in it."""

    options: Mapping[str, str] = {}
    """GDAL's options that spare it the listing of the folder, and by which it finds the same beside an image."""
    masks: tuple[str, ...] = ()
    """Names of masks that GDAL finds in its own listing, in which letters of any case count."""

    def masks_of(self, name: str) -> set[str]:
        """Return the names that GDAL may find a mask of an image by, whether there is one or not."""
        usual = f"{name}{MASK_ENDING}"
        return {usual, f"{name}{MASK_ENDING.upper()}", *(mask for mask in self.masks if mask.lower() == usual.lower())}


class ImageFolders:
    """The folders of the images of one request, each looked at once."""

    def __init__(self) -> None:
        self._irregular: dict[Path, list[str]] = {}

    def require_plain_files(self, path: Path, image_name: str) -> None:
        """Check that all beside an image that may belong to it are files: its world file, mask, overviews, metadata.

        Letters of any case count, as for GDAL.

        Args:
            path: of the image.
            image_name: what the client calls it.

        Raises:
            ImageError: one is a FIFO, a device or a socket.
        """
        if path.parent not in self._irregular:
            self._irregular[path.parent] = _irregular_names(path.parent)
        stem = path.stem.lower()
        for name in self._irregular[path.parent]:
            if name.lower().startswith((f"{stem}.", f"{stem}_")):
                ending = name[len(stem) :]
                raise ImageError(
                    f"image {image_name!r}: what lies beside it with the ending {ending!r} is no plain file"
                )


def refuse_overview_file(tags: Mapping[str, str], image_name: str) -> None:
    """Raise ImageError where an image's metadata of overviews names a file: any one that GDAL would open and read.

    Args:
        tags: GDAL's metadata of overviews.
        image_name: what the client calls the image.
    """
    if "OVERVIEW_FILE" in tags:
        raise ImageError(f"image {image_name!r} names a file of overviews; only those in itself or .ovr are read")


def listing_of(folder: Path) -> Listing:
    """Return what is to be known of a folder before GDAL opens an image in it, as it is now.

    GDAL lists the folder at each opening. That finds nothing where all names are those of images, and is in vain where
    there are too many names.
    """
    try:
        status = folder.stat()
    except OSError:
        return Listing()  # the image itself cannot be opened then
    times = status.st_mtime_ns, status.st_ctime_ns
    if time.time_ns() - max(times) < _SETTLED_NS:
        return Listing(masks=_listed(folder).masks)
    return _known(folder, (status.st_dev, status.st_ino, *times), time.monotonic_ns() // _KNOWN_NS)


@lru_cache(maxsize=256)
def _known(folder: Path, _state: tuple[int, ...], _period: int) -> Listing:
    """Return the listing of a folder in a state; it is kept for a period."""
    return _listed(folder)


def _listed(folder: Path) -> Listing:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MAX_LISTED + 1)]
    except OSError:
        return Listing()
    if len(names) > _MAX_LISTED:
        return Listing({"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"})
    if all(name.lower().endswith(ENDINGS) for name in names):
        return Listing({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"})
    return Listing(masks=tuple(name for name in names if name.lower().endswith(MASK_ENDING)))


def _irregular_names(folder: Path) -> list[str]:
    """Return the names of what is neither a file nor a folder; links count as what they lead to."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, _MAX_ENTRIES) if _is_irregular(entry)]
    except OSError:
        return []  # the image itself cannot be opened then


def _is_irregular(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.is_file() and not entry.is_dir() and (not entry.is_symlink() or Path(entry.path).exists())
    except OSError:
        return False
