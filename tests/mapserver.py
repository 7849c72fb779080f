"""MapServer, Debian's, as a CGI program behind a small server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import rasterio
from rasterio.warp import transform_bounds

from told_host import Answer

PROGRAM = "/usr/lib/cgi-bin/mapserv"


def mapserver(mapfile: Path) -> Callable[[dict[str, str]], Answer]:
    """Return what answers as MapServer does; skip the test where it is not installed."""
    if not os.access(PROGRAM, os.X_OK):
        if os.environ.get("CI"):
            pytest.fail("MapServer is not there, and in CI it must be")
        pytest.skip("MapServer is not there")
    configuration = mapfile.with_suffix(".conf")
    configuration.write_text("CONFIG\n ENV\n END\nEND\n")

    def answer(query: dict[str, str]) -> Answer:
        text = urlencode({name: value for name, value in query.items() if name != "path"})
        variables = {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": text,
            "MS_MAPFILE": str(mapfile),
            "MAPSERVER_CONFIG_FILE": str(configuration),
        }
        done = subprocess.run([PROGRAM], env=variables, capture_output=True, check=False, timeout=60)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode().split("\r\n"))
        }
        return int(headers.get("status", "200")[:3]), headers.get("content-type", "text/plain"), body

    return answer


_MAPFILE = """MAP
  NAME "test"
  EXTENT 499000 4999000 501000 5001000
  PROJECTION "init=epsg:32633" END
  OUTPUTFORMAT NAME "geojson" DRIVER "OGR/GEOJSON" MIMETYPE "application/json; subtype=geojson"
    FORMATOPTION "STORAGE=stream" FORMATOPTION "FORM=SIMPLE" END
  WEB METADATA "wfs_title" "test" "wfs_onlineresource" "http://127.0.0.1/wfs" "wfs_enable_request" "*"
    "wfs_srs" "EPSG:32633 {crs}" "wfs_maxfeatures" "{page}" END END
  LAYER NAME "trees" TYPE POINT STATUS ON CONNECTIONTYPE OGR CONNECTION "{data}"
    PROJECTION "init=epsg:32633" END
    METADATA "wfs_title" "trees" "gml_include_items" "all" "gml_featureid" "number" "gml_number_type" "Integer"
      "wfs_getfeature_formatlist" "{formats}" "wfs_srs" "EPSG:32633 {crs}" END
  END
END
"""


def wfs_of(
    folder: Path,
    features: Sequence[Any],
    crs: str = "EPSG:4326",
    page: int = 7,
    formats: str = "geojson",
) -> Callable[[dict[str, str]], Answer]:
    """Return a WFS of a layer `trees` in EPSG:32633.

    Args:
        folder: for its files.
        features: of the layer, with a `number`, their coordinates in its CRS.
        crs: another one in which it gives the layer.
        page: features that it gives at once.
        formats: that it gives beside GML.
    """
    data, mapfile = folder / "trees.geojson", folder / "test.map"
    written = {"type": "name", "properties": {"name": "EPSG:32633"}}
    data.write_text(json.dumps({"type": "FeatureCollection", "crs": written, "features": features}))
    mapfile.write_text(_MAPFILE.format(data=data, crs=crs, page=page, formats=formats))
    return mapserver(mapfile)


_WMS_MAPFILE = """MAP
  NAME "test"
  IMAGETYPE PNG24
  MAXSIZE {max_size}
  EXTENT {extent}
  PROJECTION "init=epsg:32633" END
  OUTPUTFORMAT NAME "png" DRIVER "AGG/PNG" MIMETYPE "image/png" IMAGEMODE RGBA TRANSPARENT ON END
  WEB METADATA "wms_title" "test" "wms_onlineresource" "http://127.0.0.1/wms" "wms_enable_request" "*"
    "wms_srs" "EPSG:32633 EPSG:4326 CRS:84 EPSG:31469" END END
  LAYER NAME "scene" TYPE RASTER STATUS ON DATA "{data}"
    PROJECTION "init=epsg:{epsg}" END
    METADATA "wms_title" "scene" END
  END
END
"""


def wms_of(folder: Path, image: Path, epsg: int, max_size: int = 300) -> Callable[[dict[str, str]], Answer]:
    """Return a WMS of a layer `scene`.

    Args:
        folder: for its files.
        image: what the layer shows.
        epsg: its CRS.
        max_size: width and height of a map at most.
    """
    with rasterio.open(image) as dataset:
        left, bottom, right, top = transform_bounds(dataset.crs, "EPSG:32633", *dataset.bounds)
    mapfile = folder / "wms.map"
    extent = f"{left} {bottom} {right} {top}"
    mapfile.write_text(_WMS_MAPFILE.format(data=image, epsg=epsg, max_size=max_size, extent=extent))
    return mapserver(mapfile)
