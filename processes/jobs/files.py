"""The files of jobs, in a folder or in an object store: a job's execution, its plan, its sections, its result.

    <job>/execution           the request
    <job>/<plan>/…            files of a process for later steps of its work
    <job>/<plan>/result-…     the result
    <job>/forms/…             other forms of it, and what they are made from
    <job>/near/…              what a machine keeps for its next steps

A file appears under its name when it is whole, never before, and is not changed after. Its content is on the disk then.
Its name is only where a job could not be mended without it: for executions, plans and results, not for single sections.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import msgspec
import pyarrow as pa
from pyarrow import fs

from processes.errors import NO_SPACE, FailureError
from processes.jobs.disk import leaves_reserve, publish, remove_all, sync_folder
from processes.ogc.process import JobFiles
from processes.settings import Settings
from processes.sources.seal import Seal, seal_of

_logger = logging.getLogger(__name__)

FORMS = "forms"
"""Folder of the forms of a job's result, and of what they are made from."""
_NEAR = "near"
_EXECUTION = "execution"
_ORDER = "order"
"""The same in jobs that were accepted by version 0.3.0."""
_UNUSED_S = 3600
"""Seconds after which unused copies of a job's files are removed."""
_COPY_BYTES = 8 * 2**20
_NO_SEAL = Seal(None)


class Storage(Protocol):
    """Where the files of all jobs are."""

    @property
    def seal(self) -> Seal:
        """For what holds links with credentials."""

    def put_execution(self, job_id: str, content: bytes, *, is_durable: bool = True) -> None:
        """Keep an execution; it is the first file of a job.

        Args:
            job_id: the job.
            content: the execution.
            is_durable: True = it survives a loss of power. Who waits for a result is gone then, and needs it no more.

        Raises:
            FailureError: it cannot be stored.
        """

    def execution(self, job_id: str) -> bytes:
        """Return the execution that `put_execution` kept.

        Raises:
            FileNotFoundError: the job's files are gone.
        """

    def files(self, job_id: str, plan: str, scratch: Path) -> JobFiles:
        """Return the files of a plan of a job.

        Args:
            job_id: the job.
            plan: folder of the plan.
            scratch: an empty folder of this machine, for the step.
        """

    def open_result(self, job_id: str, name: str) -> BinaryIO:
        """Open a result for reading at any place.

        Raises:
            FileNotFoundError: it is gone.
        """

    def keep_only(self, job_id: str, name: str) -> None:
        """Remove all of a job's files but its result and its forms."""

    def remove(self, job_id: str) -> None:
        """Remove all files of a job."""

    def jobs(self) -> Iterator[tuple[str, float]]:
        """Yield the jobs that have files, each with its age in seconds."""


def storage_of(settings: Settings) -> Storage:
    """Return the storage that the configuration names."""
    return storage_at(settings.results, settings.state, seal_of(settings))


def storage_at(results: str, state: Path, seal: Seal = _NO_SEAL) -> Storage:
    """Return the storage of a deployment.

    Args:
        results: as the settings have it.
        state: the state folder, for copies.
        seal: for executions; forms of results need none.
    """
    is_object_store, folder = results.startswith("s3://"), Path(results.removeprefix("file://"))
    return ObjectStorage(results, state / "copies", seal) if is_object_store else FolderStorage(folder, seal)


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    """Translate failures to write into errors that a client may read."""
    try:
        yield
    except OSError as err:
        reason = NO_SPACE if err.errno in (errno.ENOSPC, errno.EDQUOT) else "its results cannot be stored"
        raise FailureError(f"the server failed: {reason}") from err


class FolderStorage(msgspec.Struct, frozen=True):
    """Files in a folder of this machine, or of a file system that several machines share."""

    folder: Path
    seal: Seal = _NO_SEAL

    def put_execution(self, job_id: str, content: bytes, *, is_durable: bool = True) -> None:
        with _storing():
            home = self.folder / job_id
            is_new = not self.folder.is_dir()
            home.mkdir(parents=True)
            scratch = home / f".{_EXECUTION}"
            scratch.write_bytes(content)
            publish(scratch, home / _EXECUTION, is_durable=is_durable)
            for folder in (home, self.folder, *[self.folder.parent] * is_new) if is_durable else ():
                sync_folder(folder)

    def execution(self, job_id: str) -> bytes:
        try:
            return self.seal.open((self.folder / job_id / _EXECUTION).read_bytes())
        except FileNotFoundError:
            return (self.folder / job_id / _ORDER).read_bytes()

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
        with _storing():
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
        return self.home.parent / _NEAR

    def sync(self) -> None:
        with _storing():
            for folder in (self.home, self.home.parent):
                sync_folder(folder)

    def fetch(self, name: str) -> Path:
        path = self.home / name
        path.stat()
        return path

    def open(self, name: str) -> Any:
        return pa.OSFile(str(self.home / name))


class ObjectStorage:
    """Files in an object store with S3's interface. A file that is read is copied to this machine, once for a job.

    Credentials are those of the environment, as for any client of S3. `endpoint_override`, `region` and `scheme` can be
    given in the URL.

    Args:
        url: `s3://bucket/prefix`.
        copies: folder of this machine for copies.
        seal: for executions.
    """

    def __init__(self, url: str, copies: Path, seal: Seal = _NO_SEAL) -> None:
        self.seal = seal
        self._url = url
        self._copies = copies
        self._opened: tuple[fs.FileSystem, str] | None = None

    def put_execution(self, job_id: str, content: bytes, *, is_durable: bool = True) -> None:
        store, root = self._store()
        with _storing(), store.open_output_stream(f"{root}/{job_id}/{_EXECUTION}") as stream:
            stream.write(content)

    def execution(self, job_id: str) -> bytes:
        store, root = self._store()
        try:
            file = store.open_input_file(f"{root}/{job_id}/{_EXECUTION}")
        except FileNotFoundError:
            file = store.open_input_file(f"{root}/{job_id}/{_ORDER}")
        with file:
            return self.seal.open(bytes(file.read()))

    def files(self, job_id: str, plan: str, scratch: Path) -> JobFiles:
        store, root = self._store()
        self._remove_unused(job_id)
        return ObjectFiles(store, f"{root}/{job_id}/{plan}", self._copies / job_id / plan, scratch)

    def open_result(self, job_id: str, name: str) -> BinaryIO:
        store, root = self._store()
        return cast(BinaryIO, store.open_input_file(f"{root}/{job_id}/{name}"))

    def keep_only(self, job_id: str, name: str) -> None:
        store, root = self._store()
        kept, forms = f"{root}/{job_id}/{name}", f"{root}/{job_id}/{FORMS}/"
        for info in store.get_file_info(fs.FileSelector(f"{root}/{job_id}", recursive=True, allow_not_found=True)):
            if info.type == fs.FileType.File and info.path != kept and not info.path.startswith(forms):
                store.delete_file(info.path)

    def remove(self, job_id: str) -> None:
        store, root = self._store()
        if store.get_file_info(f"{root}/{job_id}").type != fs.FileType.NotFound:
            store.delete_dir(f"{root}/{job_id}")
        remove_all(self._copies / job_id)

    def jobs(self) -> Iterator[tuple[str, float]]:
        store, root = self._store()
        for info in store.get_file_info(fs.FileSelector(root, allow_not_found=True)):
            inside = store.get_file_info(fs.FileSelector(info.path, recursive=True, allow_not_found=True))
            newest_ns = max((item.mtime_ns or 0 for item in inside), default=0)
            yield info.base_name, time.time() - newest_ns / 1e9

    def _store(self) -> tuple[fs.FileSystem, str]:
        """Return the store and the path in it, connected at the first call."""
        if self._opened is None:
            self._opened = fs.FileSystem.from_uri(self._url)
        return self._opened

    def _remove_unused(self, job_id: str) -> None:
        """Remove copies of other jobs' files that no step of theirs has used for long."""
        if not self._copies.is_dir():
            return
        for entry in self._copies.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another slot was quicker
                if entry.name != job_id and time.time() - entry.stat().st_mtime > _UNUSED_S:
                    remove_all(entry)


class ObjectFiles(msgspec.Struct, frozen=True):
    """A plan's files in an object store."""

    store: fs.FileSystem
    home: str
    copies: Path
    scratch: Path

    def keep(self, name: str, path: Path) -> None:
        target = f"{self.home}/{name}"
        with _storing():
            with path.open("rb") as file, self.store.open_output_stream(target) as stream:
                shutil.copyfileobj(file, stream, _COPY_BYTES)
            if self.store.get_file_info(target).size != path.stat().st_size:
                self.store.delete_file(target)
                raise OSError(errno.EIO, "an object was not stored whole")

    def has(self, name: str) -> bool:
        return bool(self.store.get_file_info(f"{self.home}/{name}").type == fs.FileType.File)

    def discard(self, name: str) -> None:
        (self.copies / name).unlink(missing_ok=True)
        if self.has(name):
            self.store.delete_file(f"{self.home}/{name}")

    def near(self) -> Path:
        self.copies.parent.mkdir(parents=True, exist_ok=True)
        os.utime(self.copies.parent)
        return self.copies.parent / _NEAR

    def sync(self) -> None:
        """Do nothing: an object that is stored has its name."""

    def fetch(self, name: str) -> Path:
        copy = self.copies / name
        if not copy.exists():
            self.copies.mkdir(parents=True, exist_ok=True)
            near = self.copies / f".{name}-{uuid.uuid4().hex}"
            try:
                with self.open(name) as file, near.open("wb") as target:
                    shutil.copyfileobj(file, target, _COPY_BYTES)
                os.replace(near, copy)
            finally:
                near.unlink(missing_ok=True)
        os.utime(self.copies.parent)
        return copy

    def open(self, name: str) -> Any:
        return self.store.open_input_file(f"{self.home}/{name}")
