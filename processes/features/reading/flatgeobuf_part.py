"""The features of a remote FlatGeobuf that lie in some boxes: its index tells which, and they alone are fetched.

They are written to a small FlatGeobuf without an index, which has the same header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from processes.errors import LayerError
from processes.features.layer import Layer
from processes.features.reading.flatgeobuf import read_flatgeobuf
from processes.features.reading.flatgeobuf_header import NODE_BYTES, FlatGeobufHeader
from processes.features.reading.limits import require_few_features
from processes.features.reading.remote_layer import Boxes, BoxesIn, RemoteLayerFile, spread
from processes.settings import Limits

_NODE = np.dtype([("west", "<f8"), ("south", "<f8"), ("east", "<f8"), ("north", "<f8"), ("offset", "<u8")])
"""A node of the index. The offset is that of the first child among all nodes, of a feature that in bytes."""
_GAP_BYTES, _REQUEST_BYTES = 2**16, 2**23
"""Longest gap between features that is fetched with them, and size of what is fetched at once."""


def read_flatgeobuf_part(remote: RemoteLayerFile, boxes_in: BoxesIn, name: str, limits: Limits, scratch: Path) -> Layer:
    """Read a layer; features outside the boxes have neither geometry nor attributes.

    Args:
        remote: the FlatGeobuf, which has an index.
        boxes_in: returns the boxes in a CRS.
        name: name of the file in messages.
        limits: of a layer.
        scratch: folder for temporary files.

    Raises:
        LayerError: it cannot be read.
        LimitError: it has more features than allowed.
        InputError: parts of it cannot be fetched.
    """
    subject, part = f"features {name!r}", scratch / f"{remote.digest}.fgb"
    try:
        header = FlatGeobufHeader.read(remote.file, remote.size_bytes)
        if header is None or not header.node_size:
            raise _broken(subject)
        require_few_features(header.count, limits, subject)
        part.write_bytes(header.without_index())
        crs = read_flatgeobuf(part, name, limits, scratch).crs
        positions, places = _found(remote, header, np.array(boxes_in(crs)) if crs is not None else _EVERYWHERE)
        with part.open("ab") as file:
            for content in _features(remote, places):
                file.write(content)
        return spread(read_flatgeobuf(part, name, limits, scratch), positions, header.count)
    except struct.error as err:
        raise _broken(subject) from err
    finally:
        part.unlink(missing_ok=True)


_EVERYWHERE: Boxes = np.array([[-np.inf, -np.inf, np.inf, np.inf]])


def _broken(subject: str) -> LayerError:
    return LayerError(f"{subject} cannot be read; the FlatGeobuf is broken")


def _found(
    remote: RemoteLayerFile, header: FlatGeobufHeader, boxes: Boxes
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the features whose boxes touch others, and offset and length in the file of each.

    Args:
        remote: the FlatGeobuf.
        header: its header.
        boxes: `(k, 4)`.

    Raises:
        struct.error: the index is broken.
    """
    levels, end = [], sum(header.level_sizes())
    for size in header.level_sizes():
        levels.append((end - size, end))
        end -= size
    starts: NDArray[np.int64] = np.zeros(1, np.int64)
    for start, end in reversed(levels[1:]):
        nodes = np.unique(np.concatenate([np.arange(first, min(first + header.node_size, end)) for first in starts]))
        if len(nodes) and (nodes[0] < start or nodes[-1] >= end):
            raise struct.error
        found = _read_nodes(remote, header, nodes)
        starts = found["offset"][_touch(found, boxes)].astype(np.int64)
        if not len(starts):
            return np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    first, end = levels[0]
    if starts.min() < first or starts.max() >= end:
        raise struct.error
    # of each group one more, whose offset is the end of the last one
    groups = [np.arange(start, min(start + header.node_size + 1, end)) for start in starts]
    nodes = np.unique(np.concatenate(groups))
    found = _read_nodes(remote, header, nodes)
    chosen = np.flatnonzero(_touch(found, boxes))
    offsets = header.features_start + found["offset"].astype(np.int64)
    behind = np.append(offsets[1:], remote.size_bytes)
    lengths = behind[chosen] - offsets[chosen]
    if (lengths <= 0).any() or (behind[chosen] > remote.size_bytes).any():
        raise struct.error
    return nodes[chosen] - first, np.stack([offsets[chosen], lengths], axis=1)


def _read_nodes(remote: RemoteLayerFile, header: FlatGeobufHeader, nodes: NDArray[np.int64]) -> NDArray[np.void]:
    """Return nodes of the index, given in ascending order; neighbours are read at once."""
    parts = []
    for run in np.split(nodes, np.flatnonzero(np.diff(nodes) > 1) + 1):
        remote.file.seek(header.index_start + int(run[0]) * NODE_BYTES)
        content = remote.file.read(len(run) * NODE_BYTES)
        if len(content) < len(run) * NODE_BYTES:
            raise struct.error
        parts.append(np.frombuffer(content, _NODE))
    return np.concatenate(parts)


def _touch(nodes: NDArray[np.void], boxes: Boxes) -> NDArray[np.bool_]:
    """Return which nodes touch a box at least, `(n,)`."""
    touched = np.zeros(len(nodes), bool)
    for west, south, east, north in boxes.tolist():
        touched |= (
            (nodes["west"] <= east) & (nodes["east"] >= west) & (nodes["south"] <= north) & (nodes["north"] >= south)
        )
    return touched


def _features(remote: RemoteLayerFile, places: NDArray[np.int64]) -> Iterator[bytes]:
    """Yield features, given by offset and length in ascending order, several of them at once."""
    index = 0
    while index < len(places):
        start, end, last = int(places[index, 0]), int(places[index].sum()), index
        while last + 1 < len(places):
            following = places[last + 1]
            if following[0] - end > _GAP_BYTES or following.sum() - start > _REQUEST_BYTES:
                break
            last, end = last + 1, int(following.sum())
        content = remote.read(start, end)
        for offset, length in (places[index : last + 1] - (start, 0)).tolist():
            yield content[offset : offset + length]
        index = last + 1
