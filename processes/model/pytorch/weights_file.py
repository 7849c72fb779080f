"""Files of `torch.save`: the zip since PyTorch 1.6, and the stream of pickles before it.

Either has a pickle of names and shapes, and the numbers of each storage as they are in memory. The file is mapped, not
read: a weight's numbers are looked at when the network is written, after all shapes have been checked.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.pytorch.known_names import BFLOAT16_STORAGES, STORAGES
from processes.model.pytorch.pickles import MAX_PICKLE_BYTES, StoredTensor, TensorStorage, read_pickle
from processes.sources.zips import BROKEN_ZIP, require_few

_ZIP_START = b"PK\x03\x04"
_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of a stream holds."""
_STREAM_VERSION = 1001
_LOCAL_HEADER_BYTES = 30
_COUNT_BYTES = 8
_FLOATS = ("<f4", "<f8", "<f2")
_NOT_OURS = "it is no file that torch.save writes"
_PICKLE_START = b"\x80"


class _Place(msgspec.Struct, frozen=True):
    """Where the numbers of a storage lie in the file, in bytes."""

    start: int
    size: int
    crc: int | None
    """Checksum of zip; None = the layout has none."""


class WeightsFile:
    """An open file of `torch.save`."""

    def __init__(self, data: NDArray[np.uint8], document: object, places: Mapping[str, _Place]) -> None:
        self._data = data
        self._places = places
        self._sound: set[str] = set()
        self.document = document
        """What was saved: mappings as `dict`, tensors as `StoredTensor`."""

    def numbers(self, tensor: StoredTensor) -> NDArray[np.float32]:
        """Return the numbers of a tensor of floats, of its shape.

        Raises:
            PackageError: they are no floats, or not there, or damaged.
        """
        storage = tensor.storage
        dtype = STORAGES[storage.type_name]
        is_bfloat16 = storage.type_name in BFLOAT16_STORAGES
        if dtype not in _FLOATS and not is_bfloat16:
            raise PackageError(f"its weights are of type {storage.type_name}, not floating-point numbers")
        place = self._place(storage)
        item_bytes = np.dtype(dtype).itemsize
        values: NDArray[Any] = np.ndarray(
            tensor.shape,
            dtype,
            self._data[place.start : place.start + place.size],
            tensor.offset * item_bytes,
            [step * item_bytes for step in tensor.strides],
        )
        if is_bfloat16:  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # becomes infinite, which the trial run of the network finds
            return np.ascontiguousarray(values, np.float32)

    def _place(self, storage: TensorStorage) -> _Place:
        place = self._places.get(storage.key)
        if place is None or place.size != _bytes_of(storage):
            raise PackageError(f"it is broken: the numbers of storage {storage.key[:20]!r} are not there")
        if place.crc is not None and storage.key not in self._sound:
            if zlib.crc32(self._data[place.start : place.start + place.size]) != place.crc:
                raise PackageError(f"it is damaged: the checksum of storage {storage.key[:20]!r} differs")
            self._sound.add(storage.key)
        return place


@contextmanager
def open_weights(path: Path) -> Iterator[WeightsFile]:
    """Open a file of `torch.save`, of either layout.

    Raises:
        PackageError: it is none, broken or truncated, or its pickle names what is no part of weights.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_ZIP_START))
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise PackageError("it is empty")
        file.seek(0)
        document, places = _read_zip(file, size) if start == _ZIP_START else _read_stream(file, size)
        yield WeightsFile(np.memmap(file, np.uint8, mode="r"), document, places)


def _read_zip(file: BinaryIO, size: int) -> tuple[object, dict[str, _Place]]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            require_few(members, "it")
            names = {member.filename: member for member in members}
            tops = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
            if len(names) != len(members) or len(tops) != 1:
                raise PackageError(_NOT_OURS)
            if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
                raise PackageError(f"{_NOT_OURS}: its parts are compressed or encrypted")
            top = tops[0]
            if f"{top}/byteorder" in names and _read_part(archive, f"{top}/byteorder") != b"little":
                raise PackageError("its numbers are big-endian; save it on a little-endian machine")
            document = read_pickle(io.BytesIO(_read_part(archive, f"{top}/data.pkl")))
            folder = f"{top}/data/"
            places = {
                name.removeprefix(folder): _stored_place(file, member, size)
                for name, member in names.items()
                if name.startswith(folder)
            }
    except BROKEN_ZIP as err:
        raise PackageError("it is broken or truncated: no sound zip archive") from err
    _require_apart(places.values(), size)
    return document, places


def _read_part(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
        raise PackageError(f"its part {name[-20:]!r} is longer than {MAX_PICKLE_BYTES} bytes")
    return archive.read(name)


def _stored_place(file: BinaryIO, member: zipfile.ZipInfo, size: int) -> _Place:
    """Return where a part of the zip lies: behind a header of its own, which repeats its name."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = member.header_offset + _LOCAL_HEADER_BYTES + lengths
    if header[:4] != _ZIP_START or start + member.file_size > size:
        raise zipfile.BadZipFile
    return _Place(start, member.file_size, member.CRC)


def _require_apart(places: Iterable[_Place], size: int) -> None:
    """Raise PackageError where parts overlap: looking at all of them would take longer than the file is long."""
    if sum(place.size for place in places) > size:
        raise PackageError("it is broken: its parts overlap")


def _read_stream(file: BinaryIO, size: int) -> tuple[object, dict[str, _Place]]:
    head = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    if head.read(1) != _PICKLE_START or head.seek(0) or read_pickle(head) != _STREAM_MAGIC:
        raise PackageError(_NOT_OURS)
    version, system = read_pickle(head), read_pickle(head)
    if version != _STREAM_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise PackageError(f"{_NOT_OURS} on a little-endian machine")
    storages: dict[str, TensorStorage] = {}
    document = read_pickle(head, storages)
    keys = read_pickle(head)
    if not isinstance(keys, list):
        raise PackageError(_NOT_OURS)
    places = {}
    position = head.tell()
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise PackageError("it is broken: it has numbers that no tensor is made of")
        file.seek(position)
        if int.from_bytes(file.read(_COUNT_BYTES), "little") != storage.count:
            raise PackageError(f"it is broken or truncated: the numbers of storage {key[:20]!r} are not there")
        places[key] = _Place(position + _COUNT_BYTES, _bytes_of(storage), None)
        position += _COUNT_BYTES + places[key].size
    if position > size:
        raise PackageError(f"it is truncated: it has {size} bytes of {position}")
    return document, places


def _bytes_of(storage: TensorStorage) -> int:
    return storage.count * np.dtype(STORAGES[storage.type_name]).itemsize
