"""One Shapefile out of a zip archive: only its own files, under names of ours, and no more than was sent allows."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from processes.errors import InputError, LayerError
from processes.sources.zips import BROKEN_ZIP, extract, open_archive, require_few, require_sane_size, safe_name

ENDINGS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
FREE_BYTES = 64 * 2**20
"""Up to this size the ratio does not matter: texts padded with blanks compress well."""
MAX_BYTES = 8 * 2**30
"""Neither a .shp nor a .dbf can have more than 4 GiB."""


def extract_shapefile(path: Path, subject: str, layer: str | None, folder: Path) -> str:
    """Write the files of one Shapefile as `layer.shp`, … and return the name that it has in the archive.

    Args:
        path: the archive.
        subject: how messages name it.
        layer: name of the Shapefile without ending, with or without its folder; None = the only one.
        folder: an empty one.

    Raises:
        LayerError: the archive is broken, or holds no such Shapefile, or unpacks to far more than was sent.
    """
    zipped = f"{subject}: the zip"
    try:
        with open_archive(path, zipped) as archive:
            require_few(archive.infolist(), zipped)
            stem, members = _choose_shapefile(archive, subject, layer)
            left_bytes = require_sane_size(members.values(), zipped, FREE_BYTES)
            if left_bytes > MAX_BYTES:
                raise LayerError(f"{zipped} unpacks to {left_bytes} bytes, more than {MAX_BYTES}")
            for member in members.values():
                safe_name(member, zipped)
            for ending, member in members.items():
                left_bytes -= extract(archive, member, folder / f"layer{ending}", left_bytes, zipped)
            return stem.rsplit("/", 1)[-1]
    except BROKEN_ZIP as err:
        raise LayerError(f"{subject}: not a sound zip archive") from err
    except InputError as err:
        raise LayerError(err.detail) from err


def _choose_shapefile(
    archive: zipfile.ZipFile, subject: str, layer: str | None
) -> tuple[str, Mapping[str, zipfile.ZipInfo]]:
    """Return the name of the Shapefile to read, and its files by ending."""
    files: dict[str, dict[str, zipfile.ZipInfo]] = {}
    names: dict[str, str] = {}
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))
        # macOS adds files of its own to archives
        if member.is_dir() or name.name.startswith("._") or "__MACOSX" in name.parts:
            continue
        if name.suffix.lower() in ENDINGS:
            stem = str(name.with_suffix(""))
            parts = files.setdefault(stem.lower(), {})
            if name.suffix.lower() in parts:
                raise LayerError(f"{subject}: the zip holds two files {str(name)[:100]!r}")
            parts[name.suffix.lower()] = member
            if name.suffix.lower() == ".shp":
                names[stem.lower()] = stem
    listed = ", ".join(repr(name[:100]) for name in list(names.values())[:20])
    if not names:
        raise LayerError(f"{subject}: the zip holds no Shapefile (.shp)")
    if layer is None and len(names) > 1:
        raise LayerError(f"{subject}: the zip holds {len(names)} Shapefiles, pick one with #layer=name: {listed}")
    keys = [key for key, name in names.items() if layer is None or layer in (name, name.rsplit("/", 1)[-1])]
    if len(keys) != 1:
        matches = "no Shapefile" if not keys else f"{len(keys)} Shapefiles"
        raise LayerError(f"{subject}: the zip holds {matches} {layer!r}; there are: {listed}")
    return names[keys[0]], files[keys[0]]
