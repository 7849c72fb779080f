"""The files of jobs in an object store."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from pyarrow import fs

from processes.jobs.disk import remove_all
from processes.jobs.storage import EXECUTION, FORMS, NEAR, NO_SEAL, ORDER, storing
from processes.ogc.process import JobFiles
from processes.sources.seal import Seal

_UNUSED_S = 3600
"""Seconds after which unused copies of a job's files are removed."""
_COPY_BYTES = 8 * 2**20


class ObjectStorage:
    """Files in an object store with S3's interface. A file that is read is copied to this machine, once for a job.

    Credentials are those of the environment, as for any client of S3. `endpoint_override`, `region` and `scheme` can be
    given in the URL.

    Args:
        url: `s3://bucket/prefix`.
        copies: folder of this machine for copies.
        seal: for executions.
    """

    def __init__(self, url: str, copies: Path, seal: Seal = NO_SEAL) -> None:
        self.seal = seal
        self._url = url
        self._copies = copies
        self._opened: tuple[fs.FileSystem, str] | None = None

    def put_execution(self, job_id: str, content: bytes, *, is_durable: bool = True) -> None:
        store, root = self._store()
        with storing(), store.open_output_stream(f"{root}/{job_id}/{EXECUTION}") as stream:
            stream.write(content)

    def execution(self, job_id: str) -> bytes:
        store, root = self._store()
        try:
            file = store.open_input_file(f"{root}/{job_id}/{EXECUTION}")
        except FileNotFoundError:
            file = store.open_input_file(f"{root}/{job_id}/{ORDER}")
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
        with storing():
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
        return self.copies.parent / NEAR

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
