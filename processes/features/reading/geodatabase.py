"""File geodatabases (`.gdb`): the folder that ArcGIS keeps layers in, read by GDAL's own driver for it."""

from __future__ import annotations

import os
import re
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.gdal import Driver, count_features, layers_with_geometry, read_with_gdal
from processes.features.reading.limits import require_few_features
from processes.settings import Limits
from processes.sources.stamps import is_plain_file

ENDING = ".gdb"
_DRIVER: Driver = "OpenFileGDB"
_PART = re.compile(r"gdb|a[0-9a-f]{8}\.(?:gdbtable|gdbtablx|gdbindexes|freelist|horizon|.+\.(?:atx|spx))")
"""Names of the files that a geodatabase is made of, in lower case."""
_VERSIONS = (3, 4)
_TABLE_HEAD = struct.Struct("<I28xQ")
"""Version, and where the description of the fields begins."""
_INDEX_HEAD = struct.Struct("<II4xI")
"""Version, number of blocks that are there, bytes of a row's place."""
_ROWS_OF_BLOCK = 1024
_MOST_PARTS = 100_000
_SHOWN_LAYERS = 20


def read_geodatabase(path: Path, name: str, layer: str | None, limits: Limits, scratch: Path | None) -> Layer:
    """Read a layer of a geodatabase; arguments and errors as `read_layer` has them. The OBJECTID is the id."""
    subject = f"features {name!r}"
    with _own_parts(path, subject, scratch) as folder:
        chosen = _choose_layer(layers_with_geometry(folder, _DRIVER, subject), layer, subject)
        subject = f"{subject}: layer {chosen!r}"
        count = count_features(folder, chosen, subject)
        require_few_features(count, limits, subject)
        return read_with_gdal(folder, _DRIVER, subject, count, layer=chosen, has_fid=True)


@contextmanager
def _own_parts(path: Path, subject: str, scratch: Path | None) -> Iterator[Path]:
    """Yield a folder with links to the plain files of a geodatabase: nothing else in its folder is opened."""
    with tempfile.TemporaryDirectory(prefix="classify-", dir=scratch) as folder:
        own = Path(folder) / f"layer{ENDING}"
        own.mkdir()
        parts = [name for name in os.listdir(path) if _PART.fullmatch(name.lower()) and is_plain_file(path / name)]
        if not parts:
            raise LayerError(f"{subject} is no file geodatabase: the folder has none of its files")
        if len(parts) > _MOST_PARTS:
            raise LayerError(f"{subject} has {len(parts)} files, more than {_MOST_PARTS}")
        for name in parts:
            part = path.absolute() / name
            if not _is_whole(part):
                raise LayerError(f"{subject} cannot be read; the file is broken")
            (own / name).symlink_to(part)
        yield own


def _is_whole(part: Path) -> bool:
    """Return whether a table has its fields, and an index of rows its rows; GDAL takes one that ends before for empty.

    The places are those of the FGDB specification of E. Rouault, who wrote GDAL's driver.
    """
    kind, size = part.suffix.lower(), part.stat().st_size
    with part.open("rb") as file:
        if kind == ".gdbtable":
            head = file.read(_TABLE_HEAD.size)
            if len(head) < _TABLE_HEAD.size:
                return False
            version, fields = _TABLE_HEAD.unpack(head)
            file.seek(min(fields, size))
            length = file.read(4)
            return version in _VERSIONS and len(length) == 4 and fields + 4 + int.from_bytes(length, "little") <= size
        if kind == ".gdbtablx":
            head = file.read(_INDEX_HEAD.size)
            if len(head) < _INDEX_HEAD.size:
                return False
            version, blocks, width = _INDEX_HEAD.unpack(head)
            return version in _VERSIONS and len(head) + _ROWS_OF_BLOCK * blocks * width <= size
    return True


def _choose_layer(names: list[str], layer: str | None, subject: str) -> str:
    """Return the layer to read: the one that is named, or the only one."""
    listed = ", ".join(repr(name[:100]) for name in names[:_SHOWN_LAYERS])
    if not names:
        raise LayerError(f"{subject}: the geodatabase has no layer with geometries")
    if layer is None and len(names) > 1:
        raise LayerError(f"{subject}: the geodatabase has {len(names)} layers, pick one with #layer=name: {listed}")
    if layer is not None and layer not in names:
        raise LayerError(f"{subject}: the geodatabase has no layer {layer[:80]!r}; there are: {listed}")
    return layer or names[0]
