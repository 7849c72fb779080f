"""Files that clients have sent for `image` and `features`: kept with the files of jobs, until their time is over.

    <results>/uploads/<id>/file.tif       what was sent
    <results>/uploads/<id>/upload.json    what is known of it; it comes last, so that no file is seen in part

A link `upload:<id>/<name>` means such a file, on every machine that works on jobs. `upload:sample/<name>` means a file
that comes with this program.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

import msgspec

from processes.errors import ForbiddenError, InputError
from processes.settings import Settings

SCHEME = "upload"
SAMPLE = "sample"
"""Stands for an id in links to the files that come with this program."""
_SAMPLES = Path(__file__).with_name("sample")
_FOLDER = "uploads"
_RECORD = "upload.json"
_ID = re.compile(r"[0-9a-f]{32}")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,15}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_NAME_BYTES = 200
_BLOCK_BYTES = 2**20
_DAY_S = 86_400
_STRAY_S = _DAY_S
"""A folder without a record is one that is being written, or was left so long ago."""


class Upload(msgspec.Struct, frozen=True):
    """A file that a client has sent."""

    id: str
    name: str
    """As the client calls it, without folders."""
    size_bytes: int
    sha256: str
    expires: float
    """When it goes, in seconds since 1970."""
    file: str
    """Name of the file in which it lies."""
    maker: str | None = None
    """Name of who sent it; None = nobody had to say who they are, and it is the operator's."""

    @property
    def href(self) -> str:
        """Return the link by which `image` and `features` take it."""
        return f"{SCHEME}:{self.id}/{quote(self.name, safe='')}"


class _UploadPlace(Protocol):
    """Where uploads are."""

    def put(self, upload_id: str, name: str, content: BinaryIO) -> None:
        """Keep a file. Where it lies is what `content` is at the end, if the place is that of `content` already."""

    def get(self, upload_id: str, name: str) -> BinaryIO:
        """Open a file; raise FileNotFoundError where there is none."""

    def path(self, upload_id: str, name: str) -> Path | None:
        """Return where a file lies; None = not in a folder."""

    def remove(self, upload_id: str) -> None:
        """Remove the files of an upload."""

    def ids(self) -> Iterator[tuple[str, float]]:
        """Yield the uploads, each with its age in seconds."""


class _FolderPlace(msgspec.Struct, frozen=True):
    home: Path

    def put(self, upload_id: str, name: str, content: BinaryIO) -> None:
        folder = self.home / upload_id
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f".{name}"
        try:
            if not _linked(content, scratch):
                with scratch.open("xb") as file:
                    shutil.copyfileobj(content, file, _BLOCK_BYTES)
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(scratch, folder / name)
        finally:
            scratch.unlink(missing_ok=True)

    def get(self, upload_id: str, name: str) -> BinaryIO:
        return (self.home / upload_id / name).open("rb")

    def path(self, upload_id: str, name: str) -> Path | None:
        return self.home / upload_id / name

    def remove(self, upload_id: str) -> None:
        (self.home / upload_id / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.home / upload_id, ignore_errors=True)

    def ids(self) -> Iterator[tuple[str, float]]:
        for entry in self.home.iterdir() if self.home.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, time.time() - entry.stat().st_mtime


@cache
def _place(results: str) -> _UploadPlace:
    if results.startswith("s3://"):
        from processes.sources.bucket_uploads import BucketPlace  # slow to import, and folders do not need it

        return BucketPlace.of(results, _FOLDER, _RECORD)
    return _FolderPlace(Path(results.removeprefix("file://")) / _FOLDER)


def _linked(content: BinaryIO, path: Path) -> bool:
    """Give a file without a name one, if the system lets it; then nothing is copied."""
    try:
        folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:  # with the descriptor of a folder Python follows the symbolic link that the file's is there
        os.link(str(content.fileno()), path, src_dir_fd=folder)
    except (OSError, io.UnsupportedOperation):
        return False
    finally:
        os.close(folder)
    return True


def require_uploads(settings: Settings) -> None:
    """Raise ForbiddenError where the service takes no files."""
    if not settings.limits.max_upload_mb:
        raise ForbiddenError("this service takes no files: its limit max_upload_mb is 0")


def new_upload_id() -> str:
    """Return the id of an upload to come, which nobody can guess."""
    return uuid.uuid4().hex


def keep_upload(
    settings: Settings, name: str, content: BinaryIO, maker: str | None = None, upload_id: str | None = None
) -> Upload:
    """Keep a file that a client has sent; nobody sees it before it is whole.

    Args:
        settings: say where files are kept, and for how long.
        name: as the client calls it.
        content: what was sent, all of it.
        maker: name of who sends it; None = nobody has to say who they are.
        upload_id: its id; None = a new one.

    Raises:
        OSError: there is no room for it.
    """
    place, upload_id, name = _place(settings.results), upload_id or new_upload_id(), tidy_name(name)
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    while block := content.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    content.seek(0)
    ending = Path(name).suffix
    upload = Upload(
        upload_id,
        name,
        size,
        digest.hexdigest(),
        time.time() + settings.limits.retention_days * _DAY_S,
        f"file{ending if _ENDING.fullmatch(ending) else ''}",
        maker,
    )
    try:
        place.put(upload_id, upload.file, content)
        place.put(upload_id, _RECORD, io.BytesIO(msgspec.json.encode(upload)))
    except BaseException:
        place.remove(upload_id)
        raise
    return upload


def tidy_name(name: str) -> str:
    """Return the name of a sent file without folders and without what cannot be shown, at most 200 bytes long."""
    name = _UNPRINTABLE.sub("_", re.split(r"[/\\]", name)[-1]).strip()
    if name.strip(".") == "":
        return "upload"
    stem, ending = os.path.splitext(name)
    if len(ending) > 16:
        stem, ending = name, ""
    room = _MAX_NAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore") + ending


def find_upload(settings: Settings, upload_id: str) -> Upload | None:
    """Return what is known of an upload; None = there is none of that id, or its time is over."""
    if not _ID.fullmatch(upload_id):
        return None
    try:
        with _place(settings.results).get(upload_id, _RECORD) as file:
            upload = msgspec.json.decode(file.read(), type=Upload)
    except FileNotFoundError:
        return None
    return upload if upload.expires > time.time() else None


def remove_upload(settings: Settings, upload_id: str) -> bool:
    """Remove an upload; return whether there was one."""
    if find_upload(settings, upload_id) is None:
        return False
    _place(settings.results).remove(upload_id)
    return True


def remove_expired(settings: Settings) -> int:
    """Remove uploads whose time is over, and what was left of those that were broken off; return how many."""
    place, count = _place(settings.results), 0
    for upload_id, age_s in place.ids():
        if _ID.fullmatch(upload_id) and age_s > _STRAY_S and find_upload(settings, upload_id) is None:
            place.remove(upload_id)
            count += 1
    return count


def upload_path(path: str, settings: Settings) -> Path | None:
    """Return the file that a link means; None = it is kept in an object store.

    Args:
        path: what follows the scheme in the link.
        settings: say where files are kept.

    Raises:
        InputError: there is no such upload, or it is not of whom the settings name.
    """
    upload_id, _, name = path.partition("/")
    if upload_id == SAMPLE:
        samples = {sample.name: sample for sample in _SAMPLES.iterdir()}
        if name not in samples:
            raise InputError(f"there is no sample {name!r}; there are {', '.join(sorted(samples))}")
        return samples[name]
    upload = _require(path, settings)
    return _place(settings.results).path(upload.id, upload.file)


def is_upload(path: Path, settings: Settings) -> bool:
    """Return whether a file is one that an `upload:` link means now."""
    if path.parent == _SAMPLES:
        return True
    upload = find_upload(settings, path.parent.name)
    return upload is not None and _place(settings.results).path(upload.id, upload.file) == path


def was_upload(path: Path, settings: Settings) -> bool:
    """Return whether a file lies where files that clients have sent are kept, though it may be there no more."""
    return _place(settings.results).path(path.parent.name, path.name) == path


def copy_upload(path: str, settings: Settings, target: Path, spend: Callable[[int], None]) -> None:
    """Copy the file that a link means from an object store.

    Args:
        path: what follows the scheme in the link.
        settings: say where files are kept.
        target: the new file.
        spend: is called with the size of each block before it is written.

    Raises:
        InputError: there is no such upload.
    """
    upload = _require(path, settings)
    with _place(settings.results).get(upload.id, upload.file) as source, target.open("xb") as file:
        while block := source.read(_BLOCK_BYTES):
            spend(len(block))
            file.write(block)


def _require(path: str, settings: Settings) -> Upload:
    upload_id = path.partition("/")[0]
    upload = find_upload(settings, upload_id)
    if upload is None or settings.uploads_of not in (None, upload.maker):
        raise InputError(f"there is no upload {upload_id[:64]!r}: it was removed, or its time is over")
    return upload
