"""CRS as other programs write them: without a name, with a code that is not theirs, in older WKT."""

from __future__ import annotations

import pyproj
import rasterio.crs

DHDN = (  # as GDAL wrote it until version 2, with the shift to WGS 84 beside the datum
    'PROJCS["DHDN / 3-degree Gauss-Kruger zone 3",GEOGCS["DHDN",DATUM["Deutsches_Hauptdreiecksnetz",'
    'SPHEROID["Bessel 1841",6377397.155,299.1528128],TOWGS84[598.1,73.7,418.2,0.202,0.045,-2.455,6.7]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",1],'
    'PARAMETER["false_easting",3500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def unknown_datum(ellipsoid: str) -> pyproj.CRS:
    """Return a CRS as PROJ strings, world files and many Shapefiles have it: the datum is not named."""
    return pyproj.CRS(f"+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +ellps={ellipsoid} +units=m")


def claiming(code: int) -> pyproj.CRS:
    """Return a CRS that claims a code and has another false easting than that."""
    document = pyproj.CRS(code).to_json_dict()
    next(item for item in document["conversion"]["parameters"] if "easting" in item["name"])["value"] = 600_000
    return pyproj.CRS.from_json_dict(document)


def esri(code: int) -> pyproj.CRS:
    return pyproj.CRS(pyproj.CRS(code).to_wkt("WKT1_ESRI"))


def gdal(code: int) -> pyproj.CRS:
    return pyproj.CRS(rasterio.crs.CRS.from_epsg(code).to_wkt())


def renamed(code: int) -> pyproj.CRS:
    document = pyproj.CRS(code).to_json_dict()
    document["name"] = "local grid"
    del document["id"]
    return pyproj.CRS.from_json_dict(document)
