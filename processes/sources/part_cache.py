"""Parts of remote files and of answers of services, kept on the disk of this machine for a job while it goes on.

A slot that takes over from one that was ended finds here what that one had fetched. The parts are appended to packs:

    <random>.parts    for each part: a mark, the digest of its key, its length and checksum, and its bytes

Each process appends to a pack of its own. What is torn at the end of a pack, or was lost with the power, does not
count. When all packs together exceed the limit, the oldest go.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import uuid
import zlib
from contextlib import suppress
from pathlib import Path
from threading import Lock

from processes.errors import NO_SPACE, FailureError

_ENDING = ".parts"
_MARK = b"part"
_HEAD = struct.Struct("<4s32sQI")
"""Mark, digest of the key, length, CRC-32 of the content."""
_PACKS = 8
"""So many packs, each as long as this share of the limit, are kept."""


class PartCache:
    """Keeps parts, by keys, in a folder. Several threads, and several processes, may use it at the same time.

    Args:
        folder: is made when a part is kept first, if the folder around it is there; without that nothing is kept.
        limit_bytes: of all that is kept.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._folder = folder
        self._lock = Lock()
        self._places: dict[bytes, tuple[Path, int, int]] | None = None
        """Pack, offset and length of each part that is known; None = the folder has not been looked at."""
        self._own: Path | None = None
        """The pack that is written."""
        self._own_bytes = 0

    def has(self, key: str) -> bool:
        """Return whether a part is known; it may be gone when it is asked for."""
        with self._lock:
            return _digest(key) in self._known()

    def get(self, key: str) -> bytes | None:
        """Return a part; None = it is not there."""
        digest = _digest(key)
        with self._lock:
            place = self._known().get(digest)
        if place is None:
            return None
        path, offset, length = place
        with suppress(OSError), path.open("rb", buffering=0) as pack:
            record = os.pread(pack.fileno(), _HEAD.size + length, offset)
            if len(record) == _HEAD.size + length:
                mark, stated, stated_length, checksum = _HEAD.unpack_from(record)
                content = record[_HEAD.size :]
                if (mark, stated, stated_length) == (_MARK, digest, length) and zlib.crc32(content) == checksum:
                    return content
        with self._lock:
            self._known().pop(digest, None)
        return None

    def put(self, key: str, content: bytes) -> None:
        """Keep a part.

        Raises:
            FailureError: there is no space left.
        """
        digest = _digest(key)
        head = _HEAD.pack(_MARK, digest, len(content), zlib.crc32(content))
        with self._lock:
            if digest in self._known():
                return
            place = self._append([head, content])
            if place is None:
                return
            self._known()[digest] = (*place, len(content))
            if self._own_bytes >= self.limit_bytes // _PACKS:
                self._own = None
                self._make_room()

    def _append(self, record: list[bytes]) -> tuple[Path, int] | None:
        """Append to this process's pack, and return the pack and where in it; None = the job's folder is gone."""
        path, offset, size = self._own, self._own_bytes, sum(map(len, record))
        try:
            if path is None or not path.exists():
                self._folder.mkdir(exist_ok=True)
                path, offset = self._folder / f"{uuid.uuid4().hex}{_ENDING}", 0
                path.open("xb").close()
            with path.open("r+b", buffering=0) as pack:
                written = os.pwritev(pack.fileno(), record, offset)
                if written < size:
                    pack.truncate(offset)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except FileNotFoundError:
            return None
        except OSError as err:
            if err.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FailureError(f"the server failed: {NO_SPACE}") from err
            raise
        self._own, self._own_bytes = path, offset + size
        return path, offset

    def _make_room(self) -> None:
        """Remove the oldest packs beyond the limit, whoever wrote them."""
        packs = []
        for path in self._folder.glob(f"*{_ENDING}"):
            with suppress(FileNotFoundError):
                status = path.stat()
                packs.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in packs)
        for _, size, path in sorted(packs):
            if total <= self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            gone = [digest for digest, place in self._known().items() if place[0] == path]
            for digest in gone:
                del self._known()[digest]

    def _known(self) -> dict[bytes, tuple[Path, int, int]]:
        if self._places is None:
            self._places = {}
            for path in sorted(self._folder.glob(f"*{_ENDING}")):
                with suppress(OSError), path.open("rb", buffering=0) as pack:
                    self._read_pack(path, pack.fileno(), path.stat().st_size)
        return self._places

    def _read_pack(self, path: Path, descriptor: int, size: int) -> None:
        offset = 0
        while offset + _HEAD.size <= size:
            mark, digest, length, _ = _HEAD.unpack(os.pread(descriptor, _HEAD.size, offset))
            if mark != _MARK or offset + _HEAD.size + length > size:
                break
            if self._places is not None:
                self._places[digest] = path, offset, length
            offset += _HEAD.size + length


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
