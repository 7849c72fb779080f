"""Two CRS are one where coordinates mean the same, however they are written: PROJ's own way between them says so."""

from __future__ import annotations

import pyproj
import pytest

from odd_crs import DHDN, claiming, esri, gdal, renamed, unknown_datum
from processes.crs import CRS84, CrsTransform, is_longitude_latitude, parse_crs, same_coordinates
from tables import each_row

NORTH_FIRST = (3035, 31466, 31467, 2180, 2326, 2393, 5513, 4258, 4326)


@each_row(
    ("first", "second", "at"),
    [
        ("EPSG:4326", CRS84, (7, 50)),
        ("EPSG:32633", "urn:ogc:def:crs:EPSG::32633", (500_000, 5_000_000)),
        ("EPSG:3857", "ESRI:102100", (500_000, 5_000_000)),
        ("EPSG:4979", "EPSG:4326", (7, 50)),
        ("IGNF:LAMB93", "EPSG:2154", (700_000, 6_600_000)),
        *((pyproj.CRS(code), esri(code), None) for code in NORTH_FIRST),  # mosaic-north-east-axes, 0.3.0
        *((pyproj.CRS(code), gdal(code), None) for code in NORTH_FIRST),
        (pyproj.CRS("EPSG:26917+5703"), "EPSG:26917", (500_000, 3_000_000)),  # mosaic-compound, 0.3.0
        (pyproj.CRS("EPSG:26917+5703"), esri(26917), (500_000, 3_000_000)),
        (pyproj.CRS("EPSG:5554"), "EPSG:25831", (500_000, 5_000_000)),
        (pyproj.CRS(DHDN), "EPSG:31467", None),
        (renamed(2393), "EPSG:2393", None),
        (unknown_datum("bessel"), unknown_datum("bessel"), None),
        (pyproj.CRS("EPSG:9755"), "EPSG:4326", None),  # WGS 84 (G2139), a member of the ensemble
        (pyproj.CRS("EPSG:9755"), gdal(4326), None),
    ],
)
def test_one_crs_however_it_is_written(
    first: str | pyproj.CRS, second: str | pyproj.CRS, at: tuple[float, float] | None
) -> None:
    one, other = (parse_crs(crs) if isinstance(crs, str) else crs for crs in (first, second))
    assert same_coordinates(one, other)
    assert same_coordinates(other, one)
    assert CrsTransform(one, other).is_identity
    if at is not None:
        moved = pyproj.Transformer.from_crs(one.to_2d(), other.to_2d(), always_xy=True).transform(*at)
        assert moved == pytest.approx(at, abs=1e-6)


@each_row(
    ("first", "second"),
    [
        ("EPSG:4326", "EPSG:4258"),
        ("EPSG:32633", "EPSG:32634"),
        ("EPSG:32633", "EPSG:25833"),
        ("EPSG:4326", "EPSG:3857"),
        ("EPSG:4807", "EPSG:4275"),  # NTF in grads from Paris, and in degrees from Greenwich
        ("EPSG:2264", "EPSG:32119"),  # in feet and in metres
        ("EPSG:4267", "EPSG:4269"),
        (pyproj.CRS("EPSG:9755"), pyproj.CRS("EPSG:9057")),  # two members of one ensemble
        (pyproj.CRS("EPSG:26917+5703"), pyproj.CRS("EPSG:26918+5703")),
        (unknown_datum("bessel"), pyproj.CRS("EPSG:31467")),
        (pyproj.CRS("+proj=longlat +ellps=WGS84"), pyproj.CRS("EPSG:4326")),
        (
            pyproj.CRS("+proj=longlat +ellps=bessel +towgs84=598.1,73.7,418.2"),
            pyproj.CRS("+proj=longlat +ellps=bessel +towgs84=600,73.7,418.2"),
        ),
        (claiming(25832), pyproj.CRS(25832)),
    ],
)
def test_two_crs_are_not_one(first: str | pyproj.CRS, second: str | pyproj.CRS) -> None:
    one, other = (parse_crs(crs) if isinstance(crs, str) else crs for crs in (first, second))
    assert not same_coordinates(one, other)
    assert not same_coordinates(other, one)


def test_only_crs84_and_epsg_4326_are_longitude_latitude() -> None:
    assert is_longitude_latitude(parse_crs("EPSG:4326"))
    for text in ("EPSG:4258", "EPSG:3857", "EPSG:4979", "EPSG:9755"):
        assert not is_longitude_latitude(parse_crs(text))
