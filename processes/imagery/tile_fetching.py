"""Tiles of remote images: fetched ahead of those who read, in the order in which they will be needed.

Threads of their own fetch, several requests at the same time, so that neither the host's distance nor its pace holds up
the network while the tiles arrive faster than they are used. What arrives is kept in the cache of the job and read from
there. How far they go ahead is bounded by bytes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import msgspec
import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from processes.errors import ServiceError
from processes.imagery.grid import Windows
from processes.imagery.image import Image
from processes.imagery.remote_source import RemoteAccess, RemoteImage, RemoteImageSource, TilePlace, TileRequest
from processes.sources.part_cache import PartCache

_AHEAD_BYTES = 32 * 2**20
"""What is fetched ahead at most; also no more than a quarter of what the cache keeps."""
_LOT_TILES, _LOT_BYTES = 512, 8 * 2**20
"""Tiles, and bytes, among which neighbours are looked for."""
_UNDER_WAY_S = 0.3
"""Seconds that requests under way are waited for at the end, so that the next step does not send them again."""
_LOTS_AT_ONCE = 4
"""Lots that are planned for one who looks for a tile."""

_Key = tuple[int, int, int]
"""Index of the image, row and column of the tile."""


class _Coming(msgspec.Struct, eq=False):
    """A request that is waiting, under way, or done."""

    index: int
    request: TileRequest
    begin_bytes: int
    """Bytes of all requests before it."""
    done: Future[None] = msgspec.field(default_factory=Future)


class TileFetcher:
    """Fetches tiles of remote images, for several threads.

    Args:
        images: all images of the run.
        bands: indices of the bands that are read of each image, from 0; None = all.
    """

    def __init__(self, images: Sequence[Image], bands: Sequence[tuple[int, ...] | None]) -> None:
        self._images = images
        self._bands = bands
        self._remote = [isinstance(image.source, RemoteImageSource) for image in images]
        self._opened: dict[int, RemoteImage] = {}
        self._opening = threading.Lock()
        self._planning = threading.Lock()
        self._tiles: Iterator[_Key] = iter(())
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        """Guards all that follows."""
        self._queue: deque[_Coming] = deque()
        self._coming: dict[_Key, _Coming] = {}
        self._planned_bytes = 0
        self._reached_bytes = 0
        """Bytes of all requests up to the last one that somebody has asked for."""
        self._is_over = False

    def is_remote(self, index: int) -> bool:
        """Return whether the tiles of an image are fetched."""
        return self._remote[index]

    def expect(self, image: NDArray[np.int32], windows: Windows) -> None:
        """Fetch ahead what windows touch.

        Args:
            image: index of each window's image, -1 = none, in the order in which they will be read, `(n,)`.
            windows: `(n, 4)`.
        """
        if not any(self._remote):
            return
        self._tiles = self._touched(image, windows)
        try:
            self._plan()
        except (ServiceError, OSError, ValueError):
            return  # whoever reads the image meets it again, and tells it
        access = next(self._access(index) for index, is_remote in enumerate(self._remote) if is_remote)
        for number in range(access.settings.limits.max_requests):
            # no pool: its threads would be waited for, and a host that hangs holds them
            thread = threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def open_tile(self, index: int, row: int, column: int) -> DatasetReader:
        """Open a tile of a remote image, alone, as soon as it has arrived.

        Args:
            index: of the image.
            row: of the tile.
            column: of the tile.

        Raises:
            ForbiddenError, InputError: it cannot be fetched.
            ValueError: the image is broken.
        """
        image, cache, tile = self._image(index), self._cache(index), (row, column)
        coming = self._expected((index, row, column))
        if coming is not None:
            coming.done.result()
        content = cache.get(image.key(tile))
        if content is None:
            content = b""
            for request in image.requests([tile]):
                (content,) = image.fetch(request)
                cache.put(image.key(tile), content)
        return image.open_tile(tile, content)

    def close(self) -> None:
        """Fetch no more. What is under way is hardly waited for: the next step of the job finds it where it arrived."""
        with self._changed:
            self._is_over = True
            self._queue.clear()
            self._coming.clear()
            self._changed.notify_all()
        end_s = time.monotonic() + _UNDER_WAY_S
        for thread in self._threads:
            thread.join(max(0, end_s - time.monotonic()))
        for image in list(self._opened.values()):
            image.close()

    def _expected(self, key: _Key) -> _Coming | None:
        """Return the request that a tile comes with; None = with none."""
        for _ in range(_LOTS_AT_ONCE):
            with self._changed:
                coming = self._coming.pop(key, None)
                if coming is not None:
                    self._reached_bytes = max(self._reached_bytes, coming.begin_bytes + coming.request.size_bytes)
                    self._changed.notify_all()
                    return coming
            if not self._plan():
                return None
        return None

    def _work(self) -> None:
        used: set[int] = set()
        while (coming := self._next()) is not None:
            used.add(coming.index)
            image, cache = self._image(coming.index), self._cache(coming.index)
            try:
                for tile, content in zip(coming.request.tiles, image.fetch(coming.request), strict=True):
                    cache.put(image.key(tile), content)
            except BaseException as err:  # noqa: BLE001 - whoever waits for it gets it
                coming.done.set_exception(err)
            else:
                coming.done.set_result(None)
        for index in used:
            self._image(index).close()

    def _next(self) -> _Coming | None:
        """Return the next request, once there is room for it; None = there is none."""
        while True:
            with self._changed:
                while self._queue and not self._is_over and not self._has_room(self._queue[0]):
                    self._changed.wait()
                if self._is_over:
                    return None
                if self._queue:
                    return self._queue.popleft()
            try:
                is_planned = self._plan()
            except (ServiceError, OSError, ValueError):
                return None  # as in `expect`
            if not is_planned:
                with self._changed:
                    if not self._queue:  # another thread has planned meanwhile
                        return None

    def _has_room(self, coming: _Coming) -> bool:
        ahead = min(_AHEAD_BYTES, self._cache(coming.index).limit_bytes // 4)
        return coming.begin_bytes - self._reached_bytes < ahead

    def _plan(self) -> bool:
        """Plan the next lot; return whether there was one."""
        with self._planning:
            lot: dict[int, dict[TilePlace, None]] = {}
            count = 0
            for index, row, column in self._tiles:
                if (index, row, column) in self._coming or self._is_over:
                    continue
                image = self._image(index)
                if self._cache(index).has(image.key((row, column))):
                    continue
                lot.setdefault(index, {})[row, column] = None
                count += 1
                if count % 16 == 0 and (count >= _LOT_TILES or self._bytes_of(lot) >= _LOT_BYTES):
                    break
            if not count:
                return False
            for index, tiles in lot.items():
                self._add(index, self._image(index).requests(list(tiles)))
            return True

    def _bytes_of(self, lot: dict[int, dict[TilePlace, None]]) -> int:
        return sum(
            request.size_bytes for index, tiles in lot.items() for request in self._image(index).requests(list(tiles))
        )

    def _add(self, index: int, requests: Sequence[TileRequest]) -> None:
        with self._changed:
            for request in requests:
                coming = _Coming(index, request, self._planned_bytes)
                self._planned_bytes += request.size_bytes
                self._queue.append(coming)
                for row, column in request.tiles:
                    self._coming[index, row, column] = coming
            self._changed.notify_all()

    def _touched(self, images: NDArray[np.int32], windows: Windows) -> Iterator[_Key]:
        """Yield the tiles that windows touch, each once while it is remembered."""
        known: dict[_Key, None] = {}
        for index, (column, row, width, height) in zip(images.tolist(), windows.tolist(), strict=True):
            if index < 0 or not self._remote[index]:
                continue
            image = self._images[index]
            tile_height, tile_width = image.tile
            top, bottom = max(row, 0), min(row + height, image.grid.height)
            left, right = max(column, 0), min(column + width, image.grid.width)
            if top >= bottom or left >= right:
                continue
            for tile_row in range(top // tile_height, (bottom - 1) // tile_height + 1):
                for tile_column in range(left // tile_width, (right - 1) // tile_width + 1):
                    key = index, tile_row, tile_column
                    if key not in known:
                        known[key] = None
                        if len(known) > 2 * _LOT_TILES * _LOTS_AT_ONCE:
                            del known[next(iter(known))]
                        yield key

    def _image(self, index: int) -> RemoteImage:
        image = self._opened.get(index)
        if image is None:
            with self._opening:
                image = self._opened.get(index)
                if image is None:
                    opened = self._images[index]
                    source = opened.source
                    if not isinstance(source, RemoteImageSource):
                        raise ValueError(f"image {opened.name!r} is not remote")
                    image = source.open_tiles(opened.shape, opened.tile, self._bands[index])
                    self._opened[index] = image
        return image

    def _cache(self, index: int) -> PartCache:
        return self._access(index).cache

    def _access(self, index: int) -> RemoteAccess:
        source = self._images[index].source
        if not isinstance(source, RemoteImageSource) or source.access is None:
            raise ValueError(f"image {self._images[index].name!r} is not reached")
        return source.access
