"""The files of jobs in a folder, and which storage a deployment has."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from processes.jobs.disk import leaves_reserve, publish, remove_all, sync_folder
from processes.jobs.storage import EXECUTION, FORMS, NEAR, NO_SEAL, ORDER, Storage, storing
from processes.ogc.process import JobFiles
from processes.settings import Settings
from processes.sources.seal import Seal, seal_of


def storage_of(settings: Settings) -> Storage:
    """Return the storage that the configuration names."""
    return storage_at(settings.results, settings.state, seal_of(settings))


def storage_at(results: str, state: Path, seal: Seal = NO_SEAL) -> Storage:
    """Return the storage of a deployment.

    Args:
        results: as the settings have it.
        state: the state folder, for copies.
        seal: for executions; forms of results need none.
    """
    if not results.startswith("s3://"):
        return FolderStorage(Path(results.removeprefix("file://")), seal)
    from processes.jobs.object_files import ObjectStorage  # whose library takes half of a runner's memory

    return ObjectStorage(results, state / "copies", seal)


class FolderStorage(msgspec.Struct, frozen=True):
    """Files in a folder of this machine, or of a file system that several machines share."""

    folder: Path
    seal: Seal = NO_SEAL

    def put_execution(self, job_id: str, content: bytes, *, is_durable: bool = True) -> None:
        with storing():
            home = self.folder / job_id
            is_new = not self.folder.is_dir()
            home.mkdir(parents=True)
            scratch = home / f".{EXECUTION}"
            scratch.write_bytes(content)
            publish(scratch, home / EXECUTION, is_durable=is_durable)
            for folder in (home, self.folder, *[self.folder.parent] * is_new) if is_durable else ():
                sync_folder(folder)

    def execution(self, job_id: str) -> bytes:
        try:
            return self.seal.open((self.folder / job_id / EXECUTION).read_bytes())
        except FileNotFoundError:
            return (self.folder / job_id / ORDER).read_bytes()

    def files(self, job_id: str, plan: str, scratch: Path) -> JobFiles:
        return FolderFiles(self.folder / job_id / plan, scratch)

    def open_result(self, job_id: str, name: str) -> BinaryIO:
        return (self.folder / job_id / name).open("rb")

    def keep_only(self, job_id: str, name: str) -> None:
        kept, forms = self.folder / job_id / name, self.folder / job_id / FORMS
        with contextlib.suppress(FileNotFoundError):  # somebody was quicker and removed them all
            for entry in (*(self.folder / job_id).iterdir(), *kept.parent.iterdir()):
                if entry not in (kept, kept.parent, forms):
                    remove_all(entry)

    def remove(self, job_id: str) -> None:
        remove_all(self.folder / job_id)

    def jobs(self) -> Iterator[tuple[str, float]]:
        if self.folder.is_dir():
            for entry in self.folder.iterdir():
                yield entry.name, time.time() - entry.stat().st_mtime


class FolderFiles(msgspec.Struct, frozen=True):
    """A plan's files in a folder."""

    home: Path
    scratch: Path

    def keep(self, name: str, path: Path) -> None:
        with storing():
            if not self.home.is_dir():
                self.home.mkdir()  # without parents: where the job's own folder is gone, the job is
            if not leaves_reserve(self.home):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            try:
                publish(path, self.home / name)
            except OSError as err:
                if err.errno != errno.EXDEV:
                    raise
                near = self.home / f".{name}-{uuid.uuid4().hex}"  # the scratch folder is on another file system
                try:
                    shutil.copyfile(path, near)
                    publish(near, self.home / name)
                finally:
                    near.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        return (self.home / name).exists()

    def discard(self, name: str) -> None:
        (self.home / name).unlink(missing_ok=True)

    def near(self) -> Path:
        return self.home.parent / NEAR

    def sync(self) -> None:
        with storing():
            for folder in (self.home, self.home.parent):
                sync_folder(folder)

    def fetch(self, name: str) -> Path:
        path = self.home / name
        path.stat()
        return path

    def open(self, name: str) -> Any:
        import pyarrow as pa  # the runner opens none of these files

        return pa.OSFile(str(self.home / name))
