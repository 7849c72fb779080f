#!/usr/bin/env bash
# rasterio 1.5.2 with GDAL 3.12.2 (its wheel on PyPI), numpy 2.5.5, Python 3.12 or newer.
#
# A WarpedVRT takes `tolerance`, the greatest error of the approximated transform in cells, 0.125 by default; GDAL takes 0
# for "none: compute each cell exactly". So one would expect tolerance=0 to be the most careful choice, whatever is warped.
# Into another CRS it is. But where a dataset is put on another grid of its own CRS, which needs no approximation at all,
# tolerance=0 raises ObjectNullError, "Pointer 'hDS' is NULL in 'GDALSetProjection'"; with the default, and with 1e-6,
# the same grid is read. So the value that suits every grid is a small one, not 0.
#
# Output seen:
#   own CRS 0.125 (1, 32, 32)
#   own CRS 1e-06 (1, 32, 32)
#   own CRS 0 ObjectNullError
#   other CRS 0.125 read
#   other CRS 1e-06 read
#   other CRS 0 read
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.5.2" "numpy==2.5.5"
cat > exact.py <<'PY'
import numpy as np
import rasterio
from affine import Affine
from rasterio.vrt import WarpedVRT

own = Affine(10, 0, 500_000, 0, -10, 5_000_000)
profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 1, "dtype": "uint8"}
with rasterio.open("a.tif", "w", crs="EPSG:32633", transform=own, **profile) as image:
    image.write(np.arange(4096, dtype=np.uint8).reshape(1, 64, 64))
coarser = {"crs": "EPSG:32633", "transform": own * Affine.scale(2), "width": 32, "height": 32}
for name, grid in (("own CRS", coarser), ("other CRS", {"crs": "EPSG:4326"})):
    for tolerance in (0.125, 1e-6, 0):
        try:
            with rasterio.open("a.tif") as image, WarpedVRT(image, tolerance=tolerance, **grid) as warped:
                print(name, tolerance, warped.read().shape if name == "own CRS" else "read")
        except Exception as err:
            print(name, tolerance, type(err).__name__)
            continue
PY
output=$(venv/bin/python exact.py 2> /dev/null)
echo "$output"
[ "$output" = "own CRS 0.125 (1, 32, 32)
own CRS 1e-06 (1, 32, 32)
own CRS 0 ObjectNullError
other CRS 0.125 read
other CRS 1e-06 read
other CRS 0 read" ]
