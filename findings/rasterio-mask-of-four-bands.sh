#!/usr/bin/env bash
# rasterio 1.5.2 with GDAL 3.12.2 (its wheel on PyPI), numpy 2.5.5, Python 3.12 or newer.
#
# An image has a nodata value, and dataset_mask() says which of its cells are valid. Of an image of three or of five bands
# it is the union of the bands' masks: a cell is nodata where all its bands have the value. So one would expect it of four
# bands, red, green, blue and near infrared, none of which is alpha. But where a dataset has four bands and the first one
# is red, dataset_mask() returns the mask of the fourth band alone. A cell over water, where near infrared is 0, is nodata
# although its colours are there; a cell that is 0 in red, green and blue is valid only by its infrared. The same four
# bands in a file whose photometric interpretation is MINISBLACK have the union again. The documentation speaks of this
# for "a shadow nodata value", which means an alpha band. GDAL's own mask flags are those of a nodata value in both files.
#
# Output seen (valid cells of: all bands filled, infrared 0, red, green and blue 0, all 0):
#   minisblack ['gray', 'undefined', 'undefined', 'undefined'] [True, True, True, False]
#   rgb ['red', 'green', 'blue', 'undefined'] [True, False, True, False]
#   rgb, three bands [True, True, False, False]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.5.2" "numpy==2.5.5"
cat > masks.py <<'PY'
import warnings

import numpy as np
import rasterio
from rasterio.enums import MaskFlags

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
cells = np.array([[[9, 9, 0, 0]], [[9, 9, 0, 0]], [[9, 9, 0, 0]], [[9, 0, 9, 0]]], np.uint8)
profile = {"driver": "GTiff", "height": 1, "width": 4, "dtype": "uint8", "nodata": 0, "alpha": "unspecified"}
for photometric in ("minisblack", "rgb"):
    with rasterio.open("four.tif", "w", count=4, photometric=photometric, **profile) as image:
        image.write(cells)
    with rasterio.open("four.tif") as image:
        assert image.mask_flag_enums == ([MaskFlags.nodata],) * 4
        print(photometric, [color.name for color in image.colorinterp], (image.dataset_mask()[0] != 0).tolist())
with rasterio.open("three.tif", "w", count=3, photometric="rgb", **profile) as image:
    image.write(cells[:3])
with rasterio.open("three.tif") as image:
    print("rgb, three bands", (image.dataset_mask()[0] != 0).tolist())
PY
output=$(venv/bin/python masks.py)
echo "$output"
[ "$output" = "minisblack ['gray', 'undefined', 'undefined', 'undefined'] [True, True, True, False]
rgb ['red', 'green', 'blue', 'undefined'] [True, False, True, False]
rgb, three bands [True, True, False, False]" ]
