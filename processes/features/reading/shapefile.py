"""Shapefiles, also zipped: ESRI's technical description of July 1998, the .dbf, and the encoding of its texts."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.dbf import correct_attributes, is_deleted, open_records
from processes.features.reading.gdal import as_gdal_has_them, read_with_gdal
from processes.features.reading.limits import require_few_features, require_few_features_so_far
from processes.features.reading.shapefile_zip import extract_shapefile
from processes.settings import Limits
from processes.sources.stamps import SHAPEFILE_ENDINGS as BESIDE
from processes.sources.stamps import is_plain_file

_HEADER_BYTES = 100
_FILE_CODE = 9994
_DBF_HEADER_BYTES = 32
_MAX_CPG_BYTES = 256
_NO_MEASURE = -1e38
"""What is less stands for no measure."""
_DEFAULT_ENCODING = "ISO-8859-1"


def read_zipped_shapefile(path: Path, name: str, layer: str | None, limits: Limits, scratch: Path | None) -> Layer:
    """Read a Shapefile out of a zip; arguments and errors as `read_layer` has them. There are no ids."""
    subject = f"features {name!r}"
    with tempfile.TemporaryDirectory(prefix="classify-", dir=scratch) as unpacked:
        stem = extract_shapefile(path, subject, layer, Path(unpacked))
        return _read_files(Path(unpacked), stem, f"{subject}: Shapefile {stem!r}", limits)


def read_shapefile(path: Path, name: str, limits: Limits, scratch: Path | None) -> Layer:
    """Read a .shp with the files beside it; arguments and errors as `read_layer` has them. There are no ids."""
    subject = f"features {name!r}"
    with tempfile.TemporaryDirectory(prefix="classify-", dir=scratch) as linked:
        folder = Path(linked)
        (folder / "layer.shp").symlink_to(path.absolute())
        for ending in BESIDE:
            part = path.with_suffix(ending)
            own = folder / f"layer{ending.lower()}"
            if not own.exists() and is_plain_file(part):
                if ending.lower() == ".cpg":  # is rewritten
                    shutil.copyfile(part, own)
                else:
                    own.symlink_to(part.absolute())
        return _read_files(folder, Path(name).stem, subject, limits)


def _read_files(folder: Path, stem: str, subject: str, limits: Limits) -> Layer:
    """Read the Shapefile whose files are `layer.shp`, … in a folder; a file without index gets one."""
    try:
        count = _count_features(folder, subject, limits)
    except (struct.error, ValueError, OverflowError) as err:
        raise LayerError(f"{subject} cannot be read; the file is broken") from err
    if not (folder / "layer.prj").exists():
        raise LayerError(f"{subject} has no CRS: there is no .prj")
    return msgspec.structs.replace(_read(folder, subject, count), name=stem)


def _read(folder: Path, subject: str, count: int) -> Layer:
    """Read the layer; texts without a stated encoding are UTF-8 where they can be."""
    encoding = _read_encoding(folder)

    def read(encoding: str | None) -> Layer:
        return read_with_gdal(
            folder / "layer.shp",
            "ESRI Shapefile",
            subject,
            count,
            encoding=encoding,
            has_hidden_measures=_may_hide_measures(folder / "layer.shp"),
            read_attributes=partial(correct_attributes, dbf)
            if (dbf := folder / "layer.dbf").exists()
            else as_gdal_has_them,
        )

    try:
        return read(None)
    except LayerError as err:
        if not isinstance(err.__cause__, pa.ArrowInvalid | UnicodeDecodeError) or _has_language(folder / "layer.dbf"):
            raise
        if encoding:
            raise LayerError(
                f"{subject} cannot be read: its texts are not in the encoding {encoding!r} of the .cpg, or "
                "that is none that is known"
            ) from err
        return read(_DEFAULT_ENCODING)


def _read_encoding(folder: Path) -> str | None:
    """Return the encoding that the .cpg names, and rewrite it as GDAL reads it: `ANSI 1252` is 1252; None = none."""
    path = folder / "layer.cpg"
    if not path.exists():
        return None
    with path.open("rb") as file:
        text = file.read(_MAX_CPG_BYTES).decode("ascii", "replace").strip().splitlines()
    encoding = text[0].strip() if text else ""
    number = re.fullmatch(r"(?:ANSI|OEM)[ _-]*(\d{3,5})", encoding, re.IGNORECASE)
    path.write_text(number[1] if number else encoding, encoding="utf-8")
    return encoding or None


def _has_language(path: Path) -> bool:
    """Return whether a .dbf has a language driver id, which is the encoding where there is no .cpg."""
    with path.open("rb") as file:
        return file.read(30)[29:] not in (b"", b"\x00")


def _count_features(folder: Path, subject: str, limits: Limits) -> int:
    """Count the features that are not deleted, and write the index where it is missing.

    Raises:
        LayerError: the files are not whole, or do not belong together.
        LimitError: more features than allowed.
        struct.error: a file ends within a number.
    """
    shp = folder / "layer.shp"
    size = _claimed_bytes(shp)
    if size > shp.stat().st_size:
        raise LayerError(f"{subject} cannot be read to its end; the file is broken")
    if not (folder / "layer.shx").exists():
        _write_index(shp, folder / "layer.shx", size, limits, subject)
    count = _count_index_records(folder / "layer.shx", size, subject)
    require_few_features(count, limits, subject)
    dbf = folder / "layer.dbf"
    if not dbf.exists():
        return count
    with dbf.open("rb") as file:
        records, header_bytes, record_bytes = struct.unpack_from("<IHH", file.read(_DBF_HEADER_BYTES), 4)
    if (
        records != count
        or header_bytes <= _DBF_HEADER_BYTES
        or dbf.stat().st_size < header_bytes + records * record_bytes
        or not record_bytes
    ):
        raise LayerError(f"{subject} cannot be read: its .dbf is broken, or does not belong to the .shp")
    if not count:
        return 0
    return count - int(np.count_nonzero(is_deleted(open_records(dbf))))


def _may_hide_measures(path: Path) -> bool:
    """Return whether a .shp may have measures that its first shape does not show, by which GDAL decides.

    The header has the range of the measures, 0 to 0 where there are none. Not every writer keeps it.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES + 12)
    type_, measures = struct.unpack_from("<i", header, 32)[0], struct.unpack_from("<2d", header, 84)
    is_null_first = header[_HEADER_BYTES + 8 :] == b"\0\0\0\0"
    return type_ > 10 and (is_null_first or any(value and value > _NO_MEASURE for value in measures))


def _claimed_bytes(path: Path) -> int:
    """Return the size in bytes that the header of a .shp or .shx claims."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    code, words = struct.unpack_from(">I20xI", header)
    if code != _FILE_CODE or len(header) < _HEADER_BYTES or words * 2 < _HEADER_BYTES:
        raise ValueError("no header")
    return int(words) * 2


def _count_index_records(path: Path, shp_bytes: int, subject: str) -> int:
    """Count the records of a .shx, all of which must lie within the .shp."""
    listed = _claimed_bytes(path)
    if listed > path.stat().st_size or (listed - _HEADER_BYTES) % 8:
        raise LayerError(f"{subject} cannot be read; its .shx is broken")
    records = np.fromfile(path, ">u4", (listed - _HEADER_BYTES) // 4, offset=_HEADER_BYTES).reshape(-1, 2)
    starts, lengths = records.astype(np.int64).T * 2
    absent = (starts == 0) & (lengths == 0)
    if not (absent | ((starts >= _HEADER_BYTES) & (starts + 8 + lengths <= shp_bytes))).all():
        raise LayerError(f"{subject} cannot be read; its .shx does not belong to the .shp")
    return len(records)


def _write_index(shp: Path, shx: Path, shp_bytes: int, limits: Limits, subject: str) -> None:
    """Write the .shx that a .shp should have had, from record to record."""
    records = bytearray()
    with shp.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        position = _HEADER_BYTES
        while position < shp_bytes:
            _, words = struct.unpack(">II", file.read(8))
            records += struct.pack(">II", position // 2, words)
            file.seek(words * 2, 1)
            position += 8 + words * 2
            require_few_features_so_far(len(records) // 8, limits, subject)
    if position != shp_bytes:
        raise LayerError(f"{subject} cannot be read to its end; the file is broken")
    shx.write_bytes(header[:24] + struct.pack(">I", (_HEADER_BYTES + len(records)) // 2) + header[28:] + records)
