"""Which remote layers are read in part, and by what: FlatGeobuf with an index, GeoParquet that tells boxes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from processes.features.layer import Layer
from processes.features.reading.flatgeobuf_header import MAGIC, FlatGeobufHeader
from processes.features.reading.remote_layer import BoxesIn, RemoteLayerFile
from processes.settings import Limits

_PARQUET = b"PAR1"


def can_be_read_in_part(file: BinaryIO, size_bytes: int) -> bool:
    """Return whether the features in some boxes can be had without the others; `size_bytes` is that of the file.

    It loads no reader of layers but for a Parquet file, so that a process that only downloads is small.

    Raises:
        OSError: the file cannot be read.
    """
    head = file.read(len(MAGIC))
    if head == MAGIC:
        try:
            header = FlatGeobufHeader.read(file, size_bytes)
        except struct.error:
            return False
        return header is not None and header.node_size > 0
    if head.startswith(_PARQUET):
        from processes.features.reading.geoparquet_part import tells_boxes  # loads the reader

        return tells_boxes(file)
    return False


def read_layer_part(remote: RemoteLayerFile, boxes_in: BoxesIn, name: str, limits: Limits, scratch: Path) -> Layer:
    """Read a layer of a file that can be read in part; arguments and errors are those of `read_flatgeobuf_part`."""
    from processes.features.reading.flatgeobuf_part import read_flatgeobuf_part  # load the readers
    from processes.features.reading.geoparquet_part import read_geoparquet_part

    remote.file.seek(0)
    is_flatgeobuf = remote.file.read(len(MAGIC)) == MAGIC
    read = read_flatgeobuf_part if is_flatgeobuf else read_geoparquet_part
    return read(remote, boxes_in, name, limits, scratch)
