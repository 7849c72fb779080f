"""Links of a request: which ones the configuration allows, and the files that they name.

A `file:` link must point below an allowed folder, with every symbolic link resolved; an `http:` or `https:` link must
name an allowed host; an `upload:` link names a file that a client has sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote

from processes.errors import ForbiddenError, InputError, LimitError, ServiceError, from_record, to_record
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from processes.sources.downloads import Download, copy_quickly, recall, remember
from processes.sources.host_links import display_link, require_host, split_link
from processes.sources.media_types import plain_media_type
from processes.sources.uploads import SCHEME, copy_upload, upload_path

_COPY_BYTES = 2**20
_ENTRIES_PER_IMAGE = 20
"""Files that may lie in a linked folder for each image of the limit: images have others beside them."""


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A file that a link names, on this machine."""

    path: Path
    name: str
    """File name as the client's link has it."""
    fragment: str
    """The part behind `#` in the link, decoded; empty = there is none."""
    url: str | None = None
    """The link that it was downloaded from, redirects followed; None = it was on this machine already."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the host's answer, names in lower case; empty where nothing was downloaded."""

    @property
    def media_type(self) -> str:
        """Return the media type that the host states, without parameters; empty = none."""
        return plain_media_type(self.headers.get("content-type", ""))


@dataclass(slots=True)
class FolderBudget:
    """Images and entries of folders that remain for all links of one request together."""

    limit: int
    """The limit `max_images`."""
    remaining_files: int
    remaining_entries: int

    @classmethod
    def of(cls, settings: Settings) -> FolderBudget:
        """Return the budget of a request of which no folder is listed yet."""
        limit = settings.limits.max_images
        return cls(limit, limit, limit * _ENTRIES_PER_IMAGE)

    @property
    def is_spent(self) -> bool:
        """Whether there were too many images or entries."""
        return min(self.remaining_files, self.remaining_entries) < 0

    def spend_file(self, href: str) -> None:
        """Count an image of a linked folder; raise LimitError where there are too many."""
        self.remaining_files -= 1
        if self.remaining_files < 0:
            reason = f"the images of {display_link(href)} and those before them in the request"
            raise LimitError("max_images", self.limit, reason)

    def spend_entry(self, href: str) -> None:
        """Count whatever lies in a linked folder; raise LimitError where there is too much."""
        self.remaining_entries -= 1
        if self.remaining_entries < 0:
            entries = f"over {self.limit * _ENTRIES_PER_IMAGE} files, {_ENTRIES_PER_IMAGE} for each image"
            reason = f"the folder {display_link(href)} and those before it in the request hold {entries}"
            raise LimitError("max_images", self.limit, reason)


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
    accept: str = "*/*",
    budget: DownloadBudget | None = None,
    folders: tuple[str, ...] = (),
) -> LinkedFile:
    """Return the file that a link names; a file of a host is downloaded.

    Args:
        href: the link.
        settings: name the allowed folders and hosts.
        folder: for downloaded files.
        accept: media types for the header `Accept`.
        budget: of the request that the link belongs to; by default one of its own.
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
        case "http" | "https":
            return fetch(href, settings, folder, accept, budget or DownloadBudget.of(settings))
        case _:
            raise _scheme_not_allowed(href, parts)


def fetch(href: str, settings: Settings, folder: Path, accept: str, budget: DownloadBudget) -> LinkedFile:
    """Download what a link names that has to be fetched, unless the folder holds that, or the error, already.

    Arguments and errors are those of `resolve`.
    """
    earlier = recall(folder, href, accept)
    if earlier is not None:
        return _recalled(earlier, folder)
    try:
        file = _download(href, settings, folder, accept, budget)
    except ServiceError as err:
        remember(folder, Download(href, accept, error=to_record(err), is_answer=err.__cause__ is None))
        raise
    remember(folder, Download(href, accept, str(file.path), file.url, file.headers))
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
    return LinkedFile(path, name, fragment, earlier.url, earlier.headers)


def _free_path(folder: Path, name: str) -> Path:
    return folder / f"{len(os.listdir(folder))}-{Path(name).suffix[:16]}"


def _download(href: str, settings: Settings, folder: Path, accept: str, budget: DownloadBudget) -> LinkedFile:
    parts = split_link(href)
    name = file_name(href)
    path = _free_path(folder, name)
    if parts.scheme == SCHEME:
        copy_upload(parts.path, settings, path, lambda size_bytes: budget.spend(size_bytes, href))
        return LinkedFile(path, name, unquote(parts.fragment))
    from processes.sources.hosts import open_link  # slow to import, and most links name files

    with open_link(href, settings, accept, budget) as (response, url):
        with path.open("xb") as file:
            while block := response.read1(_COPY_BYTES):  # what has arrived: a part of a slow answer counts too
                budget.spend(len(block), href)
                file.write(block)
        headers = {key.lower(): response.headers[key] for key in response.headers}  # of several, all
    return LinkedFile(path, name, unquote(parts.fragment), url, headers)


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


def _scheme_not_allowed(href: str, parts: SplitResult) -> ForbiddenError:
    return ForbiddenError(
        f"{display_link(href)}: links of scheme {parts.scheme!r} are not allowed; file, http, https and upload are"
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
