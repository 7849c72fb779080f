#!/usr/bin/env bash
# pyogrio 0.13.0 (PyPI, with GDAL 3.12.4), Python 3.12 or newer.
#
# A GeoPackage of GDAL has the number of rows in gpkg_ogr_contents, a table of GDAL's own beside those of the standard. A
# program that drops its triggers and adds rows by plain SQL leaves a valid GeoPackage. Then pyogrio, without Arrow, reads
# as many rows as that number says and leaves out the rest without an error or a warning. With Arrow it reads all rows.
# (Where the number is too large it is the other way round: without Arrow all rows come, with Arrow one may come twice.)
#
# Output seen:
#   rows in the table: 5
#   pyogrio without Arrow: 3
#   pyogrio with Arrow: 5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "pyogrio==0.13.0" "numpy==2.5.5" "pyarrow==26.0.1" "shapely==2.2.0"
cat > ask.py <<'PY'
import sqlite3

import numpy as np
import pyogrio
import shapely

points = shapely.to_wkb(shapely.points(np.arange(3.0), np.zeros(3)))
pyogrio.raw.write("a.gpkg", points, [np.arange(3)], ["n"], geometry_type="Point", crs="EPSG:32633", driver="GPKG", layer="t", SPATIAL_INDEX="NO")
with sqlite3.connect("a.gpkg") as database:
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f'DROP TRIGGER "{name}"')  # GDAL's own, which call functions that plain SQLite lacks
    database.execute("INSERT INTO t (geom, n) SELECT geom, n + 3 FROM t LIMIT 2")
    (rows,) = database.execute("SELECT count(*) FROM t").fetchone()
print("rows in the table:", rows)
print("pyogrio without Arrow:", len(pyogrio.raw.read("a.gpkg")[2]))
print("pyogrio with Arrow:", pyogrio.read_arrow("a.gpkg")[1].num_rows)
PY
venv/bin/python ask.py | tee seen
diff seen - <<'TXT'
rows in the table: 5
pyogrio without Arrow: 3
pyogrio with Arrow: 5
TXT
