"""CRS by their names: those that clients write, and those that results have.

A name is an authority of PROJ's database and a code. Nothing else of what a client writes comes to PROJ: no WKT, no
pipeline, no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import unquote

import pyproj
from pyproj.database import get_authorities

from processes.crs.sameness import horizontal, is_longitude_latitude, is_north_first, north_first, same_crs, unbound
from processes.errors import InputError

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"

_PART = r"([\w.-]{1,40})"
_PLAIN = re.compile(rf"{_PART}:{_PART}", re.ASCII)
_URN = re.compile(rf"urn:(?:x-)?ogc:def:crs:{_PART}:(?:([\w.-]{{0,20}}):)?{_PART}", re.ASCII | re.IGNORECASE)
_URI = re.compile(
    rf"https?://(?:www\.)?opengis\.net/def/crs/{_PART}/([\w.-]{{1,20}})/{_PART}/?", re.ASCII | re.IGNORECASE
)
_FORMS = f"AUTHORITY:CODE such as EPSG:4326 or ESRI:102008, a URN, a CRS URI such as {CRS84}"
_BY_NUMBER = {"84": "CRS84", "83": "CRS83", "27": "CRS27"}
"""Codes of OGC's own CRS in the older forms `CRS:84` and `urn:ogc:def:crs:OGC:2:84`."""
_VERSIONS = {"OGC": "1.3"}
"""Versions of authorities in a URI; 0 = none."""
_EPSG = "EPSG"
_ALWAYS_KNOWN = (_EPSG, "OGC")
_MIN_CONFIDENCE = 70
"""Percent."""
_MAX_MATCHES = 8
_HORIZONTAL_AXES = 2
_MAX_LENGTH = 1000
"""No name is as long, in characters."""


def parse_crs(text: str) -> pyproj.CRS:
    """Return the CRS that `AUTHORITY:CODE`, a URN or a URI names.

    The authorities are those of PROJ's database: EPSG, ESRI, IGNF, IAU_2015, OGC, …

    Raises:
        InputError: the text names no CRS of places on the ground.
    """
    plain = text.strip()
    if len(plain) > _MAX_LENGTH:
        raise InputError(f"{plain[:200]!r} names no CRS; {_FORMS} do")
    return _parse_short(plain)


@lru_cache(maxsize=256)
def _parse_short(text: str) -> pyproj.CRS:
    authority, version, code = _name_parts(_unwrapped(text))
    known = _known_authority(authority, version)
    if known is None:
        raise InputError(f"{text[:200]!r} names no CRS; {_FORMS} do")
    crs = _from_database(known, code)
    if crs is None:
        others = [other for other in _authorities().values() if other != known and _from_database(other, code)]
        hint = f"; there is {others[0]}:{code}" if others else ""
        raise InputError(f"there is no CRS {text[:200]!r}{hint}")
    if not _is_of_places(crs):
        raise InputError(f"{text[:200]!r} is no CRS of places on the ground: {crs.name}")
    return crs


def is_in_x_y_order(text: str) -> bool:
    """Return whether a box beside the name of a CRS is in x, y order: URN and URI stand for the authority's order."""
    return bool(_PLAIN.fullmatch(_unwrapped(text)))


def _unwrapped(text: str) -> str:
    """Return a name without what an address puts around it: `%3A` for a colon, the brackets of a safe CURIE."""
    plain = unquote(text.strip()[:_MAX_LENGTH])
    return plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain


def _name_parts(text: str) -> tuple[str, str, str]:
    """Return the authority, its version and the code of a name; empty texts = it is none."""
    if match := _PLAIN.fullmatch(text):
        authority, version, code = match[1], "", match[2]
    elif match := _URN.fullmatch(text) or _URI.fullmatch(text):
        authority, version, code = match[1], match[2] or "", match[3]
    else:
        return "", "", ""
    if authority.upper() in ("OGC", "CRS"):
        authority, code = "OGC", _BY_NUMBER.get(code, code.upper().removesuffix("H"))
    return authority, version, code


@lru_cache(maxsize=1)
def _authorities() -> Mapping[str, str]:
    """Return PROJ's authorities, by their names in capitals."""
    return {name.upper(): name for name in get_authorities()}


def _known_authority(authority: str, version: str) -> str | None:
    """Return PROJ's name of an authority, which may have the version in it: IAU of 2015 is `IAU_2015`."""
    name = authority.upper()
    if name in _ALWAYS_KNOWN:  # to list them all takes PROJ 10 ms
        return name
    known = _authorities()
    found = known.get(f"{name}_{version.upper()}") or known.get(name)
    return found or next((known[other] for other in known if name and other.startswith(f"{name}_")), None)


def _from_database(authority: str, code: str) -> pyproj.CRS | None:
    for spelling in dict.fromkeys((code, code.upper())):
        try:
            return pyproj.CRS.from_authority(authority, spelling)
        except pyproj.exceptions.CRSError:
            continue
    return None


@lru_cache(maxsize=256)
def crs_from_text(text: str) -> pyproj.CRS:
    """Return the CRS of a WKT or a PROJJSON that this service has written or checked."""
    return pyproj.CRS.from_user_input(text)


def names_places(wkt: str) -> bool:
    """Return whether PROJ understands a CRS, and it is geographic or projected."""
    try:
        return _is_of_places(crs_from_text(wkt))
    except pyproj.exceptions.CRSError:
        return False


def _is_of_places(crs: pyproj.CRS) -> bool:
    return bool(crs.is_projected or crs.is_geographic)


@lru_cache(maxsize=256)
def crs_code(crs: pyproj.CRS) -> tuple[str, str] | None:
    """Return authority and code that mean the same as a CRS in x, y order, EPSG's where there is one; None = none do.

    PROJ's own answer may be a CRS on another datum, where that of the given one has no name.
    """
    return next((code for code in _candidates(crs) if _means_the_same(crs, *code)), None)


def _candidates(crs: pyproj.CRS) -> Iterator[tuple[str, str]]:
    """Yield codes that may mean the same: the CRS's own if it is EPSG's, EPSG's others, then those of others."""
    plain = unbound(crs)
    own = plain.to_json_dict().get("id", {})
    authority = _known_authority(str(own.get("authority", "")), str(own.get("version", "")))
    if authority == _EPSG:
        yield authority, str(own["code"])
    if is_longitude_latitude(crs):
        yield _EPSG, "4326"
    yield from _matches(north_first(plain) if plain.is_geographic else plain, _EPSG)
    yield from _matches(plain if plain.is_geographic else north_first(plain), _EPSG)
    if authority is not None:
        yield authority, str(own["code"])
    yield from _matches(plain, None)


def _matches(crs: pyproj.CRS, authority: str | None) -> Iterator[tuple[str, str]]:
    """Yield what PROJ takes the CRS for, the likeliest first; whether it means the same is for others to say."""
    yield from ((item.auth_name, item.code) for item in crs.list_authority(authority, _MIN_CONFIDENCE)[:_MAX_MATCHES])


def _means_the_same(crs: pyproj.CRS, authority: str, code: str) -> bool:
    named = _from_database(authority, code)
    return (
        named is not None
        and len(named.axis_info) == len(crs.axis_info)
        and same_crs(crs, named)
        and (len(crs.axis_info) == _HORIZONTAL_AXES or bool(crs.equals(named, ignore_axis_order=True)))
    )


def crs_name(crs: pyproj.CRS) -> str:
    """Return what tells another program which CRS it is: `EPSG:n`, else another authority's code, else the WKT."""
    code = crs_code(crs)
    return str(without_code(crs).to_wkt()) if code is None else ":".join(code)


def crs_label(crs: pyproj.CRS) -> str:
    """Return what people call a CRS: its name, with the code where there is one."""
    if is_longitude_latitude(crs) and not is_north_first(crs):
        return "CRS84"
    code = crs_code(crs)
    return repr(crs.name) if code is None else f"{crs.name} ({':'.join(code)})"


def crs_uri(crs: pyproj.CRS) -> str | None:
    """Return the URI that names a CRS, CRS84 where it is that; None = there is none."""
    if is_longitude_latitude(crs):
        return CRS84
    code = crs_code(crs)
    if code is None:
        return None
    authority, _, version = code[0].partition("_")
    return f"http://www.opengis.net/def/crs/{authority}/{version or _VERSIONS.get(authority, '0')}/{code[1]}"


def esri_wkt(crs: pyproj.CRS) -> str:
    """Return a CRS as files with the ending .prj have it; as WKT of 2019 where Esri's WKT cannot say it."""
    try:
        return str(horizontal(unbound(crs)).to_wkt("WKT1_ESRI"))
    except pyproj.exceptions.CRSError:
        return str(without_code(crs).to_wkt())


def without_code(crs: pyproj.CRS) -> pyproj.CRS:
    """Return a CRS without the code that it claims to have, where that code means another one."""
    document = crs.to_json_dict()
    if "id" not in document or crs_code(crs) is not None:
        return crs
    del document["id"]
    return pyproj.CRS.from_json_dict(document)
