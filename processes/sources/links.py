"""Links of a request: which ones the configuration allows, and the files that they name.

A `file:` link must point below an allowed folder, with every symbolic link resolved; an `http:` or `https:` link must
name an allowed host; an `upload:` link names a file that a client has sent.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote

import msgspec

from processes.allowed_hosts import BUCKET_SCHEMES
from processes.errors import ForbiddenError, InputError, ServiceError, from_record, to_record
from processes.settings import Settings
from processes.sources.bucket_links import allowed_object
from processes.sources.download_budget import DownloadBudget
from processes.sources.downloads import Download, copy_quickly, recall, remember
from processes.sources.folder_budget import FolderBudget
from processes.sources.host_links import display_link, require_host, split_link
from processes.sources.media_types import plain_media_type
from processes.sources.ranges import PIECE_BYTES, RemoteBytes, open_ranges
from processes.sources.remote_files import RemoteFile, first_part
from processes.sources.seal import seal_of
from processes.sources.uploads import SCHEME, copy_upload, upload_path

SuitsRanges = Callable[[BinaryIO, int], bool]
"""Says of a file of so many bytes whether it can be read by parts. What it reads of the file is fetched."""

ANY = "*/*"
"""The header `Accept` of a request that takes whatever there is."""
_COPY_BYTES = 2**20


class LinkedFile(msgspec.Struct, frozen=True):
    """A file that a link names, on this machine."""

    path: Path
    name: str
    """File name as the client's link has it."""
    fragment: str
    """The part behind `#` in the link, decoded; empty = there is none."""
    url: str | None = None
    """The link that it was downloaded from, redirects followed; None = it was on this machine already."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Headers of the host's answer, names in lower case; empty where nothing was downloaded."""
    remote: RemoteFile | None = None
    """The file, where it is read by parts: then `path` holds its first bytes alone. None = it is there whole."""

    @property
    def media_type(self) -> str:
        """Return the media type that the host states, without parameters; empty = none."""
        return plain_media_type(self.headers.get("content-type", ""))


def allowed_path(href: str, settings: Settings) -> Path | None:
    """Return the path of a `file:` or `upload:` link that the configuration allows; None = it has to be fetched.

    No file is opened and no host is connected to, so the file may not exist.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: the link cannot be read, or there is no such upload.
    """
    parts = split_link(href)
    match parts.scheme:
        case "file":
            return _allowed_path(parts, settings)
        case "upload":
            return upload_path(parts.path, settings)
        case "http" | "https":
            require_host(parts, settings)
            return None
        case "s3" | "gs" | "az":
            allowed_object(href, settings)
            return None
        case _:
            raise _scheme_not_allowed(href, parts)


def exists(test: Callable[[], bool]) -> bool:
    """Return the result of a test of a path, such as `path.is_file`; False where the file system rejects the name."""
    try:
        return test()
    except OSError:
        return False


def is_folder(href: str) -> bool:
    """Return whether a link names a folder: its path ends in a slash."""
    return href.split("#")[0].split("?")[0].endswith("/")


def file_name(href: str) -> str:
    """Return the name of the file that a link names."""
    return Path(unquote(split_link(href).path)).name or "download"


def resolve(
    href: str,
    settings: Settings,
    folder: Path,
    accept: str = ANY,
    budget: DownloadBudget | None = None,
    suits: SuitsRanges | None = None,
    folders: tuple[str, ...] = (),
) -> LinkedFile:
    """Return the file that a link names; a file of a host is downloaded, or its first bytes where the rest can wait.

    Args:
        href: the link.
        settings: name the allowed folders and hosts.
        folder: for downloaded files.
        accept: media types for the header `Accept`.
        budget: of the request that the link belongs to; by default one of its own.
        suits: says whether a file can be read by parts; None = no file can.
        folders: endings of folders that count as files, in lower case.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such file, or the host does not answer.
        LimitError: the file is too large to be downloaded.
    """
    parts = split_link(href)
    match parts.scheme:
        case "file":
            path = _allowed_path(parts, settings)
            is_one = path.suffix.lower() in folders and exists(path.is_dir)
            if not is_one and not exists(path.is_file):
                raise InputError(f"there is no file {display_link(href)}")
            return LinkedFile(path, file_name(href), unquote(parts.fragment))
        case "upload":
            sent = upload_path(parts.path, settings)
            if sent is not None:
                return LinkedFile(sent, file_name(href), unquote(parts.fragment))
            return fetch(href, settings, folder, accept, budget or DownloadBudget.of(settings))
        case "http" | "https" | "s3" | "gs" | "az":
            return fetch(href, settings, folder, accept, budget or DownloadBudget.of(settings), suits)
        case _:
            raise _scheme_not_allowed(href, parts)


def fetch(
    href: str,
    settings: Settings,
    folder: Path,
    accept: str,
    budget: DownloadBudget,
    suits: SuitsRanges | None = None,
) -> LinkedFile:
    """Download what a link names that has to be fetched, unless the folder holds that, or the error, already.

    Arguments and errors are those of `resolve`.
    """
    seal = seal_of(settings)
    earlier = recall(folder, href, accept, seal)
    if earlier is not None:
        return _recalled(earlier, folder)
    try:
        file = _download(href, settings, folder, accept, budget, suits)
    except ServiceError as err:
        remember(folder, Download(href, accept, error=to_record(err), is_answer=err.__cause__ is None), seal)
        raise
    remember(folder, Download(href, accept, str(file.path), file.url, file.headers, remote=file.remote), seal)
    return file


def _recalled(earlier: Download, folder: Path) -> LinkedFile:
    """Return what was downloaded before, under a name of its own, or raise the error that there was."""
    if earlier.error is not None:
        if earlier.is_answer:
            raise from_record(earlier.error)
        raise from_record(earlier.error) from ConnectionError("the host did not answer")
    name = file_name(earlier.href)
    path = _free_path(folder, name)
    copy_quickly(Path(earlier.path or ""), path)
    fragment = unquote(split_link(earlier.href).fragment)
    return LinkedFile(path, name, fragment, earlier.url, earlier.headers, earlier.remote)


def _free_path(folder: Path, name: str) -> Path:
    return folder / f"{uuid.uuid4().hex[:16]}-{Path(name).suffix[:16]}"


def _download(
    href: str, settings: Settings, folder: Path, accept: str, budget: DownloadBudget, suits: SuitsRanges | None
) -> LinkedFile:
    parts = split_link(href)
    name = file_name(href)
    path = _free_path(folder, name)
    if parts.scheme == SCHEME:
        copy_upload(parts.path, settings, path, lambda size_bytes: budget.spend(size_bytes, href))
        return LinkedFile(path, name, unquote(parts.fragment))
    if parts.scheme in BUCKET_SCHEMES:
        remote = _download_object(href, settings, path, budget, suits)
        return LinkedFile(path, name, unquote(parts.fragment), remote=remote)
    from processes.sources.hosts import open_link  # slow to import, and most links name files

    with open_link(href, settings, accept, budget, None if suits is None else PIECE_BYTES) as (response, url):
        with path.open("xb") as file:
            while block := response.read1(_COPY_BYTES):  # what has arrived: a part of a slow answer counts too
                budget.spend(len(block), href)
                file.write(block)
        headers = {key.lower(): response.headers[key] for key in response.headers}  # of several, all
        is_part = response.status != HTTPStatus.OK
    remote = None
    if suits is not None and is_part:
        remote = first_part(href.partition("#")[0], headers, path)
        if remote is None or not _suits(suits, remote, path, settings, budget):
            path.unlink()
            return _download(href, settings, folder, accept, budget, None)
        if path.stat().st_size == remote.size_bytes:  # all of it
            remote = None
    return LinkedFile(path, name, unquote(parts.fragment), url, headers, remote)


def _download_object(
    href: str, settings: Settings, path: Path, budget: DownloadBudget, suits: SuitsRanges | None
) -> RemoteFile | None:
    """Download an object, or its first bytes where the rest can wait; None = it is there whole."""
    from processes.sources.buckets import download_object, first_of_object  # slow to import

    if suits is not None:
        remote = first_of_object(href, settings, path, PIECE_BYTES, budget)
        if path.stat().st_size == remote.size_bytes:
            return None
        if _suits(suits, remote, path, settings, budget):
            return remote
        path.unlink()
    download_object(href, settings, path, budget)
    return None


def _suits(suits: SuitsRanges, remote: RemoteFile, first: Path, settings: Settings, budget: DownloadBudget) -> bool:
    """Return whether a file can be read by parts, or is there already; `first` holds its first bytes."""
    if first.stat().st_size == remote.size_bytes:
        return True
    with budget.spending_time(remote.href) as deadline:
        reader = open_ranges(remote, settings, deadline.remaining_s())
        try:
            with RemoteBytes(remote, reader, first=first.read_bytes()) as file:
                return suits(file.as_file(), remote.size_bytes)
        finally:
            budget.spend(file.fetched_bytes, remote.href)
            reader.close()


def list_folder(href: str, settings: Settings, endings: tuple[str, ...], budget: FolderBudget) -> list[LinkedFile]:
    """Return the files directly in a linked folder, ordered by code point of their names.

    Args:
        href: the link, with a slash at its end.
        settings: name the allowed folders.
        endings: of the files that are returned, in lower case, with the dot.
        budget: of the request that the link belongs to.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such folder, or no such file in it.
        LimitError: the budget is spent. No more of the folder is looked at then.
    """
    parts = split_link(href)
    if parts.scheme != "file":
        raise (
            _scheme_not_allowed(href, parts)
            if parts.scheme not in ("http", "https", SCHEME)
            else InputError(f"{display_link(href)}: only file: links can name a folder")
        )
    folder = _allowed_path(parts, settings)
    if not exists(folder.is_dir):
        raise InputError(f"there is no folder {display_link(href)}")
    roots = _real_roots(settings)
    files: list[LinkedFile] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                budget.spend_entry(href)
                if not entry.name.lower().endswith(endings) or not exists(entry.is_file):
                    continue
                path = _real_path(folder / entry.name, roots) if entry.is_symlink() else folder / entry.name
                if path is not None:
                    budget.spend_file(href)
                    files.append(LinkedFile(path, entry.name, ""))
    except OSError as err:
        raise InputError(f"the folder {display_link(href)} cannot be read") from err
    if not files:
        raise InputError(f"folder {display_link(href)} holds no images ({', '.join(endings)})")
    return sorted(files, key=lambda file: file.name)


def list_bucket_folder(href: str, settings: Settings, endings: tuple[str, ...], budget: FolderBudget) -> list[str]:
    """Return links to the objects directly in a folder of a bucket; arguments and errors are those of `list_folder`."""
    from processes.sources.buckets import list_objects  # slow to import

    return list_objects(href, settings, endings, budget)


def _scheme_not_allowed(href: str, parts: SplitResult) -> ForbiddenError:
    return ForbiddenError(
        f"{display_link(href)}: links of scheme {parts.scheme!r} are not allowed; file, http, https, s3, gs, az "
        "and upload are"
    )


def _allowed_path(parts: SplitResult, settings: Settings) -> Path:
    href = f"file://{parts.path}"
    if parts.netloc not in ("", "localhost"):
        raise ForbiddenError(f"{display_link(href)}: a file: link names no host; it has three slashes")
    named = Path(unquote(parts.path))
    path = _real_path(named, _real_roots(settings)) if named.is_absolute() else None
    if path is None:
        raise ForbiddenError(f"{display_link(href)} is not below a folder that this server allows")
    return path


def _real_roots(settings: Settings) -> list[Path]:
    """Return the real paths of the allowed folders; one that cannot be resolved is left out."""
    roots = []
    for root in settings.imagery:
        with suppress(OSError, RuntimeError):
            roots.append(root.resolve())
    return roots


def _real_path(path: Path, roots: Sequence[Path]) -> Path | None:
    """Return the real path of a file below one of some folders; None = it lies elsewhere."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        return None
    return real if any(real.is_relative_to(root) for root in roots) else None
