#!/usr/bin/env bash
# GDAL 3.12.2 (as rasterio 1.5.2 from PyPI has it), Python 3.12 or newer.
#
# GEOREF_SOURCES, an open option and a configuration option of the driver of GeoTIFF (GDAL_GEOREF_SOURCES), says which
# sources of georeferencing count, and in which order. Where PAM is none of them the whole .aux.xml is not read: the nodata
# value, the names of bands and the metadata that stand in it are lost as well, without a warning, though none of them is
# georeferencing. So an image whose nodata value stands beside it, as of a program that must not change the file, has no
# invalid cell any more.
#
# Output seen:
#   by default: nodata 5.0, band red, place field 7, cells that are no data 1
#   INTERNAL,PAM: nodata 5.0, band red, place field 7, cells that are no data 1
#   INTERNAL: nodata None, band None, place None, cells that are no data 0
#   NONE: nodata None, band None, place None, cells that are no data 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.5.2" "numpy==2.5.5"
cat > ask.py <<'PY'
import warnings

import numpy as np
import rasterio
from rasterio.transform import from_origin

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 1, 1)}
with rasterio.open("a.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8", **place) as image:
    image.write(np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
with open("a.tif.aux.xml", "w") as file:
    file.write(
        '<PAMDataset><Metadata><MDI key="place">field 7</MDI></Metadata><PAMRasterBand band="1">'
        "<Description>red</Description><NoDataValue>5</NoDataValue></PAMRasterBand></PAMDataset>"
    )
for sources in (None, "INTERNAL,PAM", "INTERNAL", "NONE"):
    with rasterio.open("a.tif", **({} if sources is None else {"GEOREF_SOURCES": sources})) as image:
        print(
            f"{sources or 'by default'}: nodata {image.nodata}, band {image.descriptions[0]}, "
            f"place {image.tags().get('place')}, cells that are no data {np.count_nonzero(image.dataset_mask() == 0)}"
        )
PY
venv/bin/python ask.py | tee seen
diff seen - <<'TXT'
by default: nodata 5.0, band red, place field 7, cells that are no data 1
INTERNAL,PAM: nodata 5.0, band red, place field 7, cells that are no data 1
INTERNAL: nodata None, band None, place None, cells that are no data 0
NONE: nodata None, band None, place None, cells that are no data 0
TXT
