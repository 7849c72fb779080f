"""The space that is left on the disks of the service, and a part of it that is kept for deletions."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from processes.errors import DiskFullError
from processes.settings import Settings

_MB = 2**20
_RESERVE_BYTES = 4 * _MB
"""More than enough for what SQLite writes to dismiss some hundred jobs."""
_LEAST_BYTES = 2**18
"""Less is not worth while."""
_RESERVE_SHARE = 16
"""On a small disk the reserve is no more than this part of it."""


class DiskReserve:
    """A file whose space is given up when there is none left, so that jobs can still be dismissed.

    Args:
        folder: of the job store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "reserve"

    def take(self) -> None:
        """Take the space, or half of what is left where that is less; one that is taken grows when there is room."""
        with contextlib.suppress(OSError):
            taken = self._path.stat().st_size if self._path.exists() else 0
            usage = shutil.disk_usage(self._folder)
            size = min(_reserve_bytes(usage.total), usage.free // 2)
            if size <= max(taken, _LEAST_BYTES):
                return
            scratch = self._folder / f".reserve-{uuid.uuid4().hex}"
            try:
                with scratch.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, size)
                os.replace(scratch, self._path)
            finally:
                scratch.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Give up the space; return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def leaves_reserve(folder: Path) -> bool:
    """Return whether a disk has more space left than a reserve, which jobs must not use when it was given up."""
    usage = shutil.disk_usage(folder)
    return usage.free > _reserve_bytes(usage.total)


def _reserve_bytes(total_bytes: int) -> int:
    return min(_RESERVE_BYTES, total_bytes // _RESERVE_SHARE)


def require_space(settings: Settings, more_bytes: int = 0) -> None:
    """Raise DiskFullError where a disk of the service has less space left than the limit `min_free_mb`.

    Args:
        settings: say where the service writes.
        more_bytes: what is going to be written, and must leave so much space.
    """
    for name, free_mb in _free_mb(settings).items():
        if free_mb - more_bytes // _MB < settings.limits.min_free_mb:
            behind = f" behind the {more_bytes} bytes of this request" if more_bytes else ""
            raise DiskFullError(
                f"there are {free_mb} MB left on the disk of {name}, fewer than the limit min_free_mb = "
                f"{settings.limits.min_free_mb} demands{behind}; delete jobs that are not needed any more, or try "
                "again later"
            )


def _free_mb(settings: Settings) -> Mapping[str, int]:
    return {name: shutil.disk_usage(folder).free // _MB for name, folder in _folders(settings)}


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the folders that the service writes to; one that is not made yet is where its parent is."""
    folders = {"the service": settings.state}
    if not settings.results.startswith("s3://"):
        folders["the results"] = Path(settings.results.removeprefix("file://"))
    for name, folder in folders.items():
        yield name, next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def publish(path: Path, target: Path, *, is_durable: bool = True) -> None:
    """Give a file its name, once it is safe on the disk, unless it need not be durable."""
    with path.open("rb") as file:
        if is_durable:
            os.fsync(file.fileno())
    os.replace(path, target)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_all(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
