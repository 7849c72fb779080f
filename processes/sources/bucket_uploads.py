"""Uploads in an object store with S3's interface."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import msgspec
from pyarrow import fs

_BLOCK_BYTES = 2**20


class BucketPlace(msgspec.Struct, frozen=True):
    """Uploads in a bucket. Their record goes first where they are removed."""

    store: fs.FileSystem
    root: str
    record: str

    @classmethod
    def of(cls, results: str, folder: str, record: str) -> Self:
        """Return the place in a bucket.

        Args:
            results: `s3://bucket/prefix`.
            folder: in it.
            record: name of the file that tells of an upload.
        """
        store, root = fs.FileSystem.from_uri(results)
        return cls(store, f"{root}/{folder}", record)

    def put(self, upload_id: str, name: str, content: BinaryIO) -> None:
        with self.store.open_output_stream(f"{self.root}/{upload_id}/{name}") as stream:
            shutil.copyfileobj(content, stream, _BLOCK_BYTES)

    def get(self, upload_id: str, name: str) -> BinaryIO:
        return self.store.open_input_file(f"{self.root}/{upload_id}/{name}")  # type: ignore[no-any-return]

    def path(self, upload_id: str, name: str) -> Path | None:
        return None

    def remove(self, upload_id: str) -> None:
        selector = fs.FileSelector(f"{self.root}/{upload_id}", allow_not_found=True)
        names = [info.base_name for info in self.store.get_file_info(selector)]
        for name in sorted(names, key=lambda name: name != self.record):
            self.store.delete_file(f"{self.root}/{upload_id}/{name}")

    def ids(self) -> Iterator[tuple[str, float]]:
        for info in self.store.get_file_info(fs.FileSelector(self.root, allow_not_found=True)):
            inside = self.store.get_file_info(fs.FileSelector(info.path, allow_not_found=True))
            yield info.base_name, time.time() - max((item.mtime_ns or 0 for item in inside), default=0) / 1e9
