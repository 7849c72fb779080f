"""One Shapefile out of a zip archive: only its own files, under names of ours, and no more than was sent allows."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from processes.errors import LayerError

ENDINGS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
MAX_RATIO = 200
FREE_BYTES = 64 * 2**20
"""Up to this size the ratio does not matter: texts padded with blanks compress well."""
MAX_BYTES = 8 * 2**30
"""Neither a .shp nor a .dbf can have more than 4 GiB."""
MAX_MEMBERS = 10_000
_COPY_BYTES = 2**20
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that this Python does not have
    RuntimeError,
    ValueError,
)


def extract_shapefile(path: Path, called: str, layer: str | None, folder: Path) -> str:
    """Write the files of one Shapefile as `layer.shp`, … and return the name that it has in the archive.

    Args:
        path: the archive.
        called: what the client calls it, for messages.
        layer: name of the Shapefile without ending, with or without its folder; None = the only one.
        folder: an empty one.

    Raises:
        LayerError: the archive is broken, or holds no such Shapefile, or unpacks to far more than was sent.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stem, members = _chosen(archive, called, layer)
            allowed = _allowed_bytes(members, called)
            for ending, member in members.items():
                allowed -= _extract(archive, member, folder / f"layer{ending}", allowed, called)
            return stem.rsplit("/", 1)[-1]
    except OSError as err:
        if err.errno is not None:
            raise
        raise LayerError(f"{called}: not a sound zip archive") from err  # bz2 says so
    except _BROKEN_ZIP as err:
        raise LayerError(f"{called}: not a sound zip archive") from err


def _chosen(archive: zipfile.ZipFile, called: str, layer: str | None) -> tuple[str, Mapping[str, zipfile.ZipInfo]]:
    """Return the name of the Shapefile to read, and its files by ending."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise LayerError(f"{called}: the zip has {len(infos)} files, more than {MAX_MEMBERS}")
    found: dict[str, dict[str, zipfile.ZipInfo]] = {}
    names: dict[str, str] = {}
    for member in infos:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        # macOS adds files of its own to archives
        if member.is_dir() or name.name.startswith("._") or "__MACOSX" in name.parts:
            continue
        if name.suffix.lower() in ENDINGS:
            stem = str(name.with_suffix(""))
            parts = found.setdefault(stem.lower(), {})
            if name.suffix.lower() in parts:
                raise LayerError(f"{called}: the zip holds two files {str(name)[:100]!r}")
            parts[name.suffix.lower()] = member
            if name.suffix.lower() == ".shp":
                names[stem.lower()] = stem
    listed = ", ".join(repr(name[:100]) for name in list(names.values())[:20])
    if not names:
        raise LayerError(f"{called}: the zip holds no Shapefile (.shp)")
    if layer is None and len(names) > 1:
        raise LayerError(f"{called}: the zip holds {len(names)} Shapefiles, pick one with #layer=name: {listed}")
    keys = [key for key, name in names.items() if layer is None or layer in (name, name.rsplit("/", 1)[-1])]
    if len(keys) != 1:
        what = "no Shapefile" if not keys else f"{len(keys)} Shapefiles"
        raise LayerError(f"{called}: the zip holds {what} {layer!r}; there are: {listed}")
    for member in found[keys[0]].values():
        _check(member, called)
    return names[keys[0]], found[keys[0]]


def _check(member: zipfile.ZipInfo, called: str) -> None:
    shown = repr(member.filename[:100])
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise LayerError(f"{called}: the zip holds a file that points out of it: {shown}")
    if member.flag_bits & 0x1:
        raise LayerError(f"{called}: the zip is encrypted")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise LayerError(f"{called}: the zip holds a link: {shown}")


def _allowed_bytes(members: Mapping[str, zipfile.ZipInfo], called: str) -> int:
    unpacked = sum(member.file_size for member in members.values())
    packed = sum(member.compress_size for member in members.values())
    if unpacked > MAX_BYTES:
        raise LayerError(f"{called}: the zip unpacks to {unpacked} bytes, more than {MAX_BYTES}")
    if unpacked > max(MAX_RATIO * packed, FREE_BYTES):
        raise LayerError(f"{called}: the zip is compressed {unpacked // max(packed, 1)} times, more than {MAX_RATIO}")
    return unpacked


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit_bytes: int, called: str) -> int:
    """Write one file and return its size, counted as it comes out and not as the archive claims."""
    size = 0
    with archive.open(member) as source, target.open("xb") as file:
        while block := source.read(_COPY_BYTES):
            size += len(block)
            if size > limit_bytes:
                raise LayerError(f"{called}: the zip unpacks to more than it claims")
            file.write(block)
    return size
