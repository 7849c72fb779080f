"""What a command names: files, folders, patterns and links, as an execute request has them."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from processes.errors import InputError

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def link_to(path: Path, **parts: str | None) -> dict[str, str]:
    """Return a link to a file or a folder of this machine; `parts`: `layer` in it, or `crs` of its coordinates.

    Raises:
        InputError: both are named; no file has both.
    """
    return {"href": path.absolute().as_uri() + ("/" if path.is_dir() else "") + _fragment(**parts)}


def links_to_images(given: str) -> list[dict[str, str]]:
    """Return the links to the images of a path, a pattern such as `tiles/*.tif`, or a link, which stays as it is.

    Raises:
        InputError: there are none.
    """
    if _LINK.match(given):
        return [{"href": given}]
    if Path(given).exists():
        return [link_to(Path(given))]
    if not glob.has_magic(given):
        raise InputError(f"there is no file or folder {given!r}")
    found = sorted(glob.glob(given, recursive=True))
    if not found:
        raise InputError(f"no file fits {given!r}")
    return [link_to(Path(path)) for path in found]


def link_to_features(given: str, **parts: str | None) -> dict[str, str]:
    """Return the link to the features of a path, or a link, which stays as it is; `parts` as `link_to` has them.

    Raises:
        InputError: there are none, or both parts are named.
    """
    if _LINK.match(given):
        return {"href": given + _fragment(**parts)}
    if not Path(given).exists():
        raise InputError(f"there is no file {given!r}")
    return link_to(Path(given), **parts)


def object_links(images: Iterable[str], features: str | None, **parts: str | None) -> dict[str, Any]:
    """Return the inputs `image` and `features` for what a user names, without those that are not named.

    Raises:
        InputError: as for each of them.
    """
    inputs: dict[str, Any] = {"image": [link for given in images for link in links_to_images(given)]}
    if features is not None:
        inputs["features"] = link_to_features(features, **parts)
    return {name: value for name, value in inputs.items() if value}


def _fragment(**parts: str | None) -> str:
    if all(parts.get(name) for name in ("layer", "crs")):
        raise InputError("a file with layers says its own CRS: name a layer, or the CRS of a CSV")
    return "".join(f"#{name}={quote(value)}" for name, value in parts.items() if value)
