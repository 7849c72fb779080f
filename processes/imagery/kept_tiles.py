"""Decoded tiles of files that a process keeps for a while: who asks for one image often asks for it again.

A process keeps none until it is told how much memory they may have. They are of a state of a file, so that one that was
changed is read anew.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path

from processes.imagery.decoded_tile import Tile
from processes.imagery.sidecars import listing_of

_METADATA_ENDING = ".aux.xml"
"""Of the file beside an image that GDAL takes a nodata value from."""


class KeptTiles:
    """Decoded tiles of files, of those that were read last.

    Those of the file that was not read for longest go first. Those of a file that is being read stay: who reads a large
    one from its beginning to its end, and again, would find none of its tiles if the oldest made room for the newest.
    """

    def __init__(self) -> None:
        self._most_bytes = self._bytes = 0
        self._files: OrderedDict[Hashable, dict[Hashable, tuple[Tile, int]]] = OrderedDict()
        """Tiles, each with the bytes that it counts as, by their places, by the states of their files."""
        self._lock = threading.Lock()
        self._end: threading.Timer | None = None

    def allow(self, most_bytes: int) -> None:
        """Keep tiles of so many bytes from now on."""
        self._most_bytes = most_bytes

    def state_of(self, path: Path) -> Hashable:
        """Return what tells a file, as it is now, from all others; None = no tile of it is to be kept."""
        if not self._most_bytes:
            return None
        masks = listing_of(path.parent).masks_of(path.name)
        found: list[Hashable] = [str(path)]
        for name in (path.name, f"{path.name}{_METADATA_ENDING}", *sorted(masks)):
            with suppress(OSError):
                status = os.stat(path.parent / name)
                found.append((name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def get(self, state: Hashable, place: Hashable, decode: Callable[[], Tile]) -> Tile:
        """Return a tile, which is decoded where it is not kept.

        Args:
            state: of the file that it is of, as `state_of` has it.
            place: tells it from others of the file.
            decode: returns it.
        """
        if state is None:
            return decode()
        with self._lock:
            tiles = self._files.setdefault(state, {})
            self._files.move_to_end(state)
            if (kept := tiles.get(place)) is not None:
                tile, size = kept
                size_now = tile.nbytes  # those beside it may have added a mask
                tiles[place] = tile, size_now
                self._bytes += size_now - size
                return tile
        tile = decode()
        self._keep(state, place, tile)
        return tile

    def clear(self) -> None:
        """Keep none of the present ones."""
        with self._lock:
            self._files.clear()
            self._bytes = 0

    def clear_after(self, seconds: float) -> None:
        """Keep none of the present ones after so many seconds, if this is not called again before."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._bytes:
            self._end = threading.Timer(seconds, self.clear)
            self._end.daemon = True
            self._end.start()

    def _keep(self, state: Hashable, place: Hashable, tile: Tile) -> None:
        size = tile.nbytes
        with self._lock:
            while self._bytes + size > self._most_bytes and next(iter(self._files), state) != state:
                _, oldest = self._files.popitem(last=False)
                self._bytes -= sum(other for _, other in oldest.values())
            tiles = self._files.get(state)
            if tiles is not None and place not in tiles and self._bytes + size <= self._most_bytes:
                tiles[place] = tile, size
                self._bytes += size


KEPT_TILES = KeptTiles()
"""Those of this process."""
