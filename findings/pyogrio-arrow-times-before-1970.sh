#!/usr/bin/env bash
# pyogrio 0.13.0 with GDAL 3.12.4 in its wheel, pyarrow 26.0.1 (PyPI), Python 3.12 or newer.
#
# A column of Arrow timestamps with milliseconds is written by pyogrio.write_arrow, in a GeoPackage, a FlatGeobuf or a
# GeoJSON. One would expect the times that were given, as all three formats hold milliseconds. But a time before 1970 with
# a fraction, in the last second of its minute, becomes the full minute after it: half a second too late. The times beside
# it are right, so are the same times after 1970, and the same times given as ISO 8601 texts in a column whose metadata
# say that it is of GDAL's type DateTime.
#
# Output seen:
#   given                     as timestamp              as text of type DateTime
#   1955-03-04T10:15:58.500Z  1955-03-04T10:15:58.500Z  1955-03-04T10:15:58.500Z
#   1955-03-04T10:15:59.500Z  1955-03-04T10:16:00Z      1955-03-04T10:15:59.500Z
#   1969-12-31T23:59:59.999Z  1970-01-01T00:00:00Z      1969-12-31T23:59:59.999Z
#   1975-03-04T10:15:59.500Z  1975-03-04T10:15:59.500Z  1975-03-04T10:15:59.500Z
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "pyogrio==0.13.0" "pyarrow==26.0.1"
cat > times.py <<'PY'
import sqlite3
import struct
import sys

import pyarrow as pa
import pyogrio

GIVEN = [
    "1955-03-04T10:15:58.500Z",
    "1955-03-04T10:15:59.500Z",
    "1969-12-31T23:59:59.999Z",
    "1975-03-04T10:15:59.500Z",
]
assert pyogrio.__gdal_version__ == (3, 12, 4), pyogrio.__gdal_version__
texts = pa.array(GIVEN)
point = struct.pack("<BIdd", 1, 1, 15.0, 50.0)
columns = {
    "moment": (pa.timestamp("ms", "UTC"), None),
    "text": (pa.string(), {"GDAL:OGR:type": "DateTime"}),
}
fields = [pa.field(name, dtype, metadata=metadata) for name, (dtype, metadata) in columns.items()]
table = pa.table(
    [*(texts.cast(field.type) for field in fields), pa.array([point] * len(GIVEN), pa.binary())],
    schema=pa.schema([*fields, pa.field("place", pa.binary())]),
)
given = dict(geometry_name="place", geometry_type="Point", crs="EPSG:4326", layer="times")
pyogrio.write_arrow(table, "times.gpkg", driver="GPKG", **given)
rows = sqlite3.connect("times.gpkg").execute("SELECT moment, text FROM times").fetchall()
print("given                     as timestamp              as text of type DateTime")
for text, row in zip(GIVEN, rows):
    print(f"{text:26}{row[0]:26}{row[1]}")
moments = [row[0] for row in rows]
for driver, name in (("FlatGeobuf", "times.fgb"), ("GeoJSON", "times.geojson")):
    pyogrio.write_arrow(table, name, driver=driver, **given)
    found = pyogrio.read_arrow(name, datetime_as_string=True)[1].column("moment").to_pylist()
    assert found == moments, (driver, found)
moved = ["1955-03-04T10:15:58.500Z", "1955-03-04T10:16:00Z", "1970-01-01T00:00:00Z", "1975-03-04T10:15:59.500Z"]
sys.exit(moments != moved or [row[1] for row in rows] != GIVEN)
PY
PYTHONWARNINGS=ignore venv/bin/python times.py
