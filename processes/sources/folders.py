"""What lies in the folders that the configuration allows, for who picks a file there. The listing never leaves them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes.errors import InputError
from processes.settings import Settings
from processes.sources.host_links import display_link
from processes.sources.links import allowed_path, exists

_MAX_ENTRIES = 1000


def list_entries(href: str | None, settings: Settings) -> dict[str, Any]:
    """Return the folders and files directly in a folder, by name, at most 1000; hidden ones are left out.

    Args:
        href: `file:` link to the folder; None = the allowed folders themselves.
        settings: name the allowed folders.

    Raises:
        ForbiddenError: the folder lies elsewhere.
        InputError: there is no such folder.
    """
    if href is None:
        roots = [root for root in settings.imagery if exists(root.is_dir)]
        return {"folders": [_entry(root, f"{root.absolute().as_uri()}/") for root in roots], "files": []}
    folder = allowed_path(href, settings)
    if folder is None or not exists(folder.is_dir):
        raise InputError(f"there is no folder {display_link(href)}")
    folders: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    try:
        for entry in _visible(folder):
            link = (folder / entry.name).as_uri()
            if entry.is_dir(follow_symlinks=False):
                folders.append(_entry(folder / entry.name, f"{link}/"))
            elif entry.is_file(follow_symlinks=False):
                files.append(_entry(folder / entry.name, link) | {"size": entry.stat(follow_symlinks=False).st_size})
            if len(folders) + len(files) == _MAX_ENTRIES:
                break
    except OSError as err:
        raise InputError(f"the folder {display_link(href)} cannot be read") from err
    return {"folders": sorted(folders, key=_name), "files": sorted(files, key=_name)}


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry


def _entry(path: Path, href: str) -> dict[str, Any]:
    return {"name": path.name, "href": href}


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"])
