"""A CRS is named as clients write it, and by a code only where that code means the same."""

from __future__ import annotations

import pyproj
import pytest

from odd_crs import DHDN, claiming, gdal, unknown_datum
from processes.crs import CRS84, crs_from_text, crs_label, crs_name, crs_uri, is_in_x_y_order, is_longitude_latitude
from processes.crs.names import crs_code, esri_wkt, parse_crs, without_code
from processes.errors import InputError
from tables import each_row

OGC = "http://www.opengis.net/def/crs"


@each_row(
    ("text", "expected"),
    [
        ("EPSG:32633", "EPSG:32633"),
        ("epsg:3857", "EPSG:3857"),
        (" EPSG:4326 ", "EPSG:4326"),
        ("urn:ogc:def:crs:EPSG::25832", "EPSG:25832"),
        ("urn:ogc:def:crs:EPSG:9.9:25832", "EPSG:25832"),
        ("urn:ogc:def:crs:EPSG:25832", "EPSG:25832"),
        ("urn:x-ogc:def:crs:EPSG::25832", "EPSG:25832"),
        (f"{OGC}/EPSG/0/4326", "EPSG:4326"),
        ("https://www.opengis.net/def/crs/EPSG/10.1/2056", "EPSG:2056"),
        ("http://opengis.net/def/crs/EPSG/0/3035/", "EPSG:3035"),
        ("http%3A%2F%2Fwww.opengis.net%2Fdef%2Fcrs%2FEPSG%2F0%2F4326", "EPSG:4326"),
        ("[EPSG:4326]", "EPSG:4326"),
        # other authorities (case other-authorities, 0.3.0)
        ("ESRI:102008", "ESRI:102008"),
        ("urn:ogc:def:crs:ESRI::102008", "ESRI:102008"),
        (f"{OGC}/ESRI/0/102008", "ESRI:102008"),
        ("IGNF:LAMB93", "IGNF:LAMB93"),
        ("urn:ogc:def:crs:IGNF::lamb93", "IGNF:LAMB93"),
        ("IAU_2015:30100", "IAU_2015:30100"),
        ("urn:ogc:def:crs:IAU:2015:30100", "IAU_2015:30100"),
        (f"{OGC}/IAU/2015/49910", "IAU_2015:49910"),
        ("PROJ:S_JTSK_E_N_BALTIC_HEIGHT", "PROJ:S_JTSK_E_N_BALTIC_HEIGHT"),
        ("OGC:CRS27", "OGC:CRS27"),
        (f"{OGC}/OGC/1.3/CRS83", "OGC:CRS83"),
        ("CRS:84", "OGC:CRS84"),
        ("urn:ogc:def:crs:OGC:2:84", "OGC:CRS84"),
        (f"{CRS84}h", "OGC:CRS84"),
    ],
)
def test_name_of_any_authority_is_understood(text: str, expected: str) -> None:
    authority, code = expected.split(":")
    assert parse_crs(text) == pyproj.CRS.from_authority(authority, code)


@each_row("text", [CRS84, CRS84.replace("http:", "https:"), f"{CRS84}h", "OGC:CRS84", "urn:ogc:def:crs:OGC:1.3:CRS84"])
def test_crs84_is_longitude_latitude(text: str) -> None:
    assert parse_crs(text).to_authority() == ("OGC", "CRS84")
    assert is_longitude_latitude(parse_crs(text))


@each_row(
    "text",
    [
        "",
        "4326",
        "EPSG:",
        "EPSG:0",
        "EPSG:999999",
        "EPSG:4326; DROP",
        "EPSG:4326 EPSG:4327",
        "EPSG:4326\0",
        "EPSG:٤٣٢٦",
        "EPSG:26917+5703",
        "urn:ogc:def:crs,crs:EPSG::26917,crs:EPSG::5703",
        "WGS 84",
        "+proj=longlat",
        "+init=epsg:4326",
        "init:4326",
        "/etc/passwd",
        "file:passwd",
        "http://example.org/def/crs/EPSG/0/4326",
        f"{OGC}/EPSG/0/",
        "EPSG:7030",  # an ellipsoid
        "EPSG:1173",  # a transformation
        pyproj.CRS.from_epsg(4326).to_wkt(),
        "EPSG:" + "4" * 100_000,
        "%45" * 100_000,
    ],
    ids=lambda text: repr(text)[:30],
)
def test_other_words_name_no_crs_and_are_told_shortly(text: str) -> None:
    with pytest.raises(InputError, match="CRS") as caught:
        parse_crs(text)
    assert len(caught.value.detail) < 500


def test_blanks_around_a_name_do_not_count_and_are_not_kept() -> None:
    text = f"{' ' * 10_000}EPSG:4326\n"
    assert parse_crs(text) is parse_crs("EPSG:4326")  # one entry of the cache, whose key is the short name


def test_a_code_of_another_authority_is_proposed() -> None:
    with pytest.raises(InputError, match="there is no CRS 'ESRI:25832'; there is EPSG:25832"):
        parse_crs("ESRI:25832")


@each_row("text", ["EPSG:5773", "EPSG:4978", "EPSG:5800", "NKG:ETRF00"])
def test_crs_without_a_map_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_crs(text)


@each_row(
    ("text", "is_plain"),
    [
        ("EPSG:4326", True),
        (" esri:102008 ", True),
        ("[EPSG:4326]", True),
        ("EPSG%3A4326", True),
        ("urn:ogc:def:crs:EPSG::4326", False),
        (f"{OGC}/EPSG/0/4326", False),
    ],
)
def test_short_names_alone_are_in_x_y_order(text: str, is_plain: bool) -> None:
    assert is_in_x_y_order(text) is is_plain


@each_row(
    ("crs", "code"),
    [
        (pyproj.CRS("EPSG:25832"), "EPSG:25832"),
        (pyproj.CRS("OGC:CRS84"), "EPSG:4326"),  # case gpkg-crs84, 0.3.0
        (pyproj.CRS("OGC:CRS83"), "EPSG:4269"),
        (pyproj.CRS("OGC:CRS27"), "EPSG:4267"),
        (pyproj.CRS("IGNF:ETRS89G"), "EPSG:4258"),
        (pyproj.CRS("IGNF:LAMB93"), "EPSG:2154"),
        (pyproj.CRS("ESRI:102100"), "EPSG:3857"),
        (pyproj.CRS(pyproj.CRS(4258).to_wkt("WKT1_ESRI")), "EPSG:4258"),
        (pyproj.CRS(pyproj.CRS(3035).to_wkt("WKT1_ESRI")), "EPSG:3035"),
        (gdal(31467), "EPSG:31467"),
        (pyproj.CRS(DHDN), "EPSG:31467"),
        (pyproj.CRS("ESRI:102008"), "ESRI:102008"),
        (pyproj.CRS("IAU_2015:30100"), "IAU_2015:30100"),
        (pyproj.CRS("EPSG:4979"), "EPSG:4979"),
        (pyproj.CRS("EPSG:9755"), "EPSG:9755"),  # WGS 84 (G2139) is no EPSG:4326
    ],
)
def test_a_code_is_the_well_known_one(crs: pyproj.CRS, code: str) -> None:
    assert crs_name(crs) == code
    named = pyproj.CRS(code)
    area, units = named.area_of_use, named.geodetic_crs
    middle = ((area.west + area.east) / 2, (area.south + area.north) / 2) if area else (7, 50)
    # PROJ itself brings a place to the same x, y in both
    one, other = (
        pyproj.Transformer.from_crs(units, target, always_xy=True).transform(*middle)
        for target in (named, crs.source_crs if crs.is_bound else crs)
    )
    assert other == pytest.approx(one, rel=1e-12, abs=1e-6)


@each_row(
    "crs",
    [
        *map(
            unknown_datum, ("bessel", "clrk66", "intl", "airy", "krass", "GRS80", "WGS84")
        ),  # gpkg-unknown-datum, 0.3.0
        pyproj.CRS("+proj=longlat +ellps=WGS84"),
        pyproj.CRS("+proj=longlat +ellps=bessel +towgs84=598.1,73.7,418.2"),
        pyproj.CRS("+proj=merc +R=6371000"),
        pyproj.CRS("EPSG:26917+5703"),
        claiming(25832),
    ],
)
def test_a_code_that_means_something_else_is_not_taken(crs: pyproj.CRS) -> None:
    assert crs_code(crs) is None
    assert crs_uri(crs) is None
    assert crs_from_text(crs_name(crs)).equals(without_code(crs))
    assert pyproj.CRS(crs_name(crs)).to_json_dict().get("id") is None
    assert crs_label(crs) == repr(crs.name)


@each_row(
    ("text", "uri"),
    [
        ("OGC:CRS84", CRS84),
        ("EPSG:4326", CRS84),
        ("EPSG:25832", f"{OGC}/EPSG/0/25832"),
        ("ESRI:102008", f"{OGC}/ESRI/0/102008"),
        ("IAU_2015:30100", f"{OGC}/IAU/2015/30100"),
    ],
)
def test_a_crs_has_its_uri(text: str, uri: str) -> None:
    assert crs_uri(parse_crs(text)) == uri
    assert parse_crs(uri).equals(parse_crs(text), ignore_axis_order=True)


def test_a_prj_file_has_easting_first() -> None:
    assert esri_wkt(pyproj.CRS(3035)).startswith('PROJCS["ETRS_1989_LAEA"')
    assert [axis.direction for axis in pyproj.CRS(esri_wkt(pyproj.CRS(3035))).axis_info] == ["east", "north"]
    assert esri_wkt(pyproj.CRS("EPSG:26917+5703")) == esri_wkt(pyproj.CRS(26917))
