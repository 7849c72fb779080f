"""Options that take a file of this machine, or a link as the service takes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class FileOrLink(click.ParamType[Path | str]):
    """A file or folder of this machine, which must be there, as a Path; or a link, as a text.

    Args:
        folders: True = a folder is taken too.
    """

    name = "path or link"

    def __init__(self, *, folders: bool) -> None:
        self._path = click.Path(exists=True, dir_okay=folders, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        if isinstance(value, str) and _LINK.match(value):
            return value
        return self._path.convert(value, param, ctx)
