#!/usr/bin/env bash
# pyogrio 0.13.0 with GDAL 3.12.4 in its wheel (PyPI), Python 3.12 or newer.
#
# A Shapefile of type PolyLineM: all lines have measures, but the first record is a null shape, as the format allows. One
# would expect the measures of the lines. But GDAL decides by the first record whether the layer has measures at all (its
# open option ADJUST_GEOM_TYPE, by default FIRST_SHAPE), takes a null shape for one without, and drops the measures of all
# other records without a warning. It is the same for PolygonM, MultiPointM and PointM, and for measures beside heights
# (PolyLineZ and the others). ADJUST_GEOM_TYPE=ALL_SHAPES gives them.
#
# Output seen (type of the layer as pyogrio has it; coordinates in the WKB of the line):
#   null first, as it comes    LineString       2 by 2
#   null first, ALL_SHAPES     LineString       2 by 3
#   null last, as it comes     LineString       2 by 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "pyogrio==0.13.0" "pyarrow==26.0.1"
cat > measures.py <<'PY'
import struct
import sys
from pathlib import Path

import pyogrio

NULL = struct.pack("<i", 0)
LINE = struct.pack("<i4d2ii4d", 23, 0, 0, 1, 1, 1, 2, 0, 0, 0, 1, 1) + struct.pack("<4d", 10, 20, 10, 20)
"""A PolyLineM from (0, 0) to (1, 1) with the measures 10 and 20, as Esri's technical description has it."""


def write(stem, records):
    shp, shx = b"", b""
    for number, record in enumerate(records, 1):
        shx += struct.pack(">2i", (100 + len(shp)) // 2, len(record) // 2)
        shp += struct.pack(">2i", number, len(record) // 2) + record
    for ending, data in ((".shp", shp), (".shx", shx)):
        words = (100 + len(data)) // 2
        header = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, words) + struct.pack("<2i8d", 1000, 23, 0, 0, 1, 1, 0, 0, 10, 20)
        Path(stem + ending).write_bytes(header + data)
    dbf = struct.pack("<4BIHH20x", 3, 124, 2, 29, len(records), 65, 3) + struct.pack("<11sc4xBB14x", b"n", b"N", 2, 0) + b"\r"
    Path(stem + ".dbf").write_bytes(dbf + b"".join(f"{n:3}".encode() for n in range(len(records))) + b"\x1a")
    return stem + ".shp"


def dimensions(path, **options):
    meta, table = pyogrio.read_arrow(path, **options)
    name = table.schema.names[-1]
    (wkb,) = (value for value in table.column(name).to_pylist() if value is not None)
    return meta["geometry_type"], f"2 by {(len(wkb) - 9) // 16}"


assert pyogrio.__gdal_version__ == (3, 12, 4), pyogrio.__gdal_version__
first, last = write("first", [NULL, LINE]), write("last", [LINE, NULL])
seen = [dimensions(first), dimensions(first, ADJUST_GEOM_TYPE="ALL_SHAPES"), dimensions(last)]
for words, (name, size) in zip(("null first, as it comes", "null first, ALL_SHAPES", "null last, as it comes"), seen):
    print(f"{words:27}{name:17}{size}")
sys.exit([size for _, size in seen] != ["2 by 2", "2 by 3", "2 by 3"])
PY
PYTHONWARNINGS=ignore venv/bin/python measures.py
