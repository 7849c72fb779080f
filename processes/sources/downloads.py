"""What a folder holds of hosts: each answer that was downloaded into it, or the error, for whoever asks again.

So a request's links can be downloaded first, by a process that does nothing else, and its work finds them in place: the
files, and what went wrong, which is told where the link is read.

    0-.tif, …           what the hosts answered
    <digest>.download   to which link, and how
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from processes.sources.remote_files import RemoteFile
from processes.sources.seal import Seal

OPENED = "opened"
"""Folder in a step's scratch folder for images and features that came with the request or were downloaded."""
_ENDING = ".download"


class Download(msgspec.Struct, frozen=True):
    """What came of a request to a host."""

    href: str
    accept: str
    """Media types of the header `Accept`."""
    path: str | None = None
    """Of the file, on this machine; None = there was an error. Kept with a job: the file's name."""
    url: str | None = None
    """The link that it was downloaded from, redirects followed."""
    headers: Mapping[str, str] = {}
    """Headers of the host's answer, names in lower case."""
    error: Mapping[str, Any] | None = None
    """As `processes.errors.to_record` makes it."""
    remote: RemoteFile | None = None
    """The file that is read by parts; `path` holds its first bytes then. None = the file is there whole."""
    is_answer: bool = False
    """True = the error is what the host answered, False = it did not answer."""


def remember(folder: Path, download: Download, seal: Seal) -> None:
    """Write down what came of a request to a host, encrypted where its links may hold credentials.

    Args:
        folder: for downloaded files.
        download: what came of it.
        seal: of the deployment.
    """
    path = _record(folder, download.href, download.accept)
    scratch = path.with_suffix(f".{uuid.uuid4().hex}")  # another thread may write down the same
    scratch.write_bytes(seal.close_if_needed(msgspec.msgpack.encode(download)))
    os.replace(scratch, path)


def recall(folder: Path, href: str, accept: str, seal: Seal) -> Download | None:
    """Return what came of a request to a host; None = there was none, or its file is used up.

    Args:
        folder: for downloaded files.
        href: the link.
        accept: media types of the header `Accept`.
        seal: that `remember` had.
    """
    try:
        content = _record(folder, href, accept).read_bytes()
    except FileNotFoundError:
        return None
    download = msgspec.msgpack.decode(seal.open(content), type=Download)
    return download if download.path is None or os.path.exists(download.path) else None


def keep_downloads(folder: Path, keep: Callable[[str, Path], None], seal: Seal) -> list[Download]:
    """Keep all that was downloaded into a folder, and return what came of each request.

    Args:
        folder: with the downloads.
        keep: keeps a file under a name.
        seal: that `remember` had.
    """
    kept = []
    for record in sorted(folder.glob(f"*{_ENDING}")):
        download = msgspec.msgpack.decode(seal.open(record.read_bytes()), type=Download)
        if download.path is not None:
            path = Path(download.path)
            if not path.exists():  # used up by who asked for it, who would ask again
                continue
            keep(path.name, path)
            download = msgspec.structs.replace(download, path=path.name)
        kept.append(download)
    return kept


def place_downloads(downloads: list[Download], folder: Path, fetch: Callable[[str], Path], seal: Seal) -> None:
    """Let a folder hold what was kept by `keep_downloads`.

    Args:
        downloads: what came of each request.
        folder: for downloaded files.
        fetch: returns the path of a kept file.
        seal: for `remember`.
    """
    for download in downloads:
        path = None if download.path is None else str(fetch(download.path).absolute())
        remember(folder, msgspec.structs.replace(download, path=path), seal)


def copy_quickly(path: Path, copy: Path) -> None:
    """Give a file that is not changed another name, without a copy of its content where that can be had."""
    try:
        os.link(path, copy)
    except OSError:  # it is on another file system, or on one without links
        shutil.copyfile(path, copy)


def _record(folder: Path, href: str, accept: str) -> Path:
    digest = hashlib.sha256(f"{accept}\n{href}".encode("utf-8", "surrogatepass")).hexdigest()
    return folder / f"{digest}{_ENDING}"
