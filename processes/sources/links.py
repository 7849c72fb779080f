"""Links of a request: which ones the configuration allows, and the files that they name.

A `file:` link must point below an allowed folder, with every symbolic link resolved; an `http:` or `https:` link must
name an allowed host.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote

from processes.errors import ForbiddenError, InputError
from processes.settings import Settings
from processes.sources.hosts import DownloadBudget, DownloadError, display_link, open_link, require_host, split_link
from processes.sources.media_types import plain_media_type

_COPY_BYTES = 2**20


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


def allowed_path(href: str, settings: Settings) -> Path | None:
    """Return the path of a `file:` link that the configuration allows; None = an allowed link to a host.

    No file is opened and no host is connected to, so the file may not exist.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: the link cannot be read.
    """
    parts = split_link(href)
    match parts.scheme:
        case "file":
            return _allowed_path(parts, settings)
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
    href: str, settings: Settings, folder: Path, accept: str = "*/*", budget: DownloadBudget | None = None
) -> LinkedFile:
    """Return the file that a link names; a file of a host is downloaded.

    Args:
        href: the link.
        settings: name the allowed folders and hosts.
        folder: for downloaded files.
        accept: media types for the header `Accept`.
        budget: of the input that the link belongs to; by default one of its own.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such file, or the host does not answer.
        LimitError: the file is too large to be downloaded.
    """
    parts = split_link(href)
    match parts.scheme:
        case "file":
            path = _allowed_path(parts, settings)
            if not exists(path.is_file):
                raise InputError(f"there is no file {display_link(href)}")
            return LinkedFile(path, file_name(href), unquote(parts.fragment))
        case "http" | "https":
            return fetch(href, settings, folder, accept, budget or DownloadBudget.of(settings))
        case _:
            raise _scheme_not_allowed(href, parts)


def fetch(href: str, settings: Settings, folder: Path, accept: str, budget: DownloadBudget) -> LinkedFile:
    """Download what an `http:` or `https:` link names; arguments and errors as `resolve` has them."""
    parts = split_link(href)
    name = file_name(href)
    path = folder / f"{len(os.listdir(folder))}-{Path(name).suffix[:16]}"
    with open_link(href, settings, accept, budget) as (response, url):
        try:
            with path.open("xb") as file:
                # read1 returns what has arrived: a slow host must not outlast the deadline while a block fills
                while block := response.read1(_COPY_BYTES):
                    budget.spend(len(block), href)
                    file.write(block)
        except DownloadError as err:
            raise InputError(f"{display_link(href)}: the host broke off its answer") from err
        headers = {key.lower(): response.headers[key] for key in response.headers}  # of several, all
    return LinkedFile(path, name, unquote(parts.fragment), url, headers)


def list_folder(href: str, settings: Settings, endings: tuple[str, ...]) -> list[LinkedFile]:
    """Return the files directly in a linked folder, ordered by code point of their names.

    Args:
        href: the link, with a slash at its end.
        settings: name the allowed folders.
        endings: of the files that are returned, in lower case, with the dot.

    Raises:
        ForbiddenError: the configuration does not allow the link.
        InputError: there is no such folder, or no such file in it.
    """
    parts = split_link(href)
    if parts.scheme != "file":
        raise (
            _scheme_not_allowed(href, parts)
            if parts.scheme not in ("http", "https")
            else InputError(f"{display_link(href)}: only file: links can name a folder")
        )
    path = _allowed_path(parts, settings)
    if not exists(path.is_dir):
        raise InputError(f"there is no folder {display_link(href)}")
    try:
        entries = [entry for entry in path.iterdir() if entry.name.lower().endswith(endings) and entry.is_file()]
    except OSError as err:
        raise InputError(f"the folder {display_link(href)} cannot be read") from err
    names = sorted(entry.name for entry in entries)
    files = [LinkedFile(real, name, "") for name in names if (real := _within(path / name, settings)) is not None]
    if not files:
        raise InputError(f"folder {display_link(href)} holds no images ({', '.join(endings)})")
    return files


def _scheme_not_allowed(href: str, parts: SplitResult) -> ForbiddenError:
    return ForbiddenError(
        f"{display_link(href)}: links of scheme {parts.scheme!r} are not allowed; file, http and https are"
    )


def _allowed_path(parts: SplitResult, settings: Settings) -> Path:
    href = f"file://{parts.path}"
    if parts.netloc not in ("", "localhost"):
        raise ForbiddenError(f"{display_link(href)}: a file: link names no host; it has three slashes")
    path = _within(Path(unquote(parts.path)), settings)
    if path is None:
        raise ForbiddenError(f"{display_link(href)} is not below a folder that this server allows")
    return path


def _within(path: Path, settings: Settings) -> Path | None:
    """Return the real path of a file below an allowed folder; None = it lies elsewhere."""
    try:
        real = path.resolve()
        is_allowed = any(real.is_relative_to(root.resolve()) for root in settings.imagery)
    except (OSError, RuntimeError):
        return None
    return real if is_allowed and path.is_absolute() else None
