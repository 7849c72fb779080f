"""When the coordinates of two CRS mean the same, however the CRS are written."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyproj
from pyproj.crs import Datum  # type: ignore[attr-defined] # which lacks its __all__

_ALONG_MERIDIAN = ("north", "south")
_NORTHING_FIRST = ([0, 90], [180, 90])
"""Meridians of the two axes of a polar CRS whose northing stands first, in degrees, as EPSG:32661 has them."""

_UNLIKE = {"ProjectedCRS", "GeographicCRS"}

_Document = dict[str, Any]
"""A CRS, or a part of one, as PROJJSON."""


def same_coordinates(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    """Return whether x, y coordinates mean the same in both CRS.

    As `same_crs`, but a datum ensemble, as that of WGS 84, counts as each of its members: coordinates in it do not say
    in which of them they are.
    """
    return same_crs(first, second) or _share_ensemble(first, second)


def same_crs(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    """Return whether two CRS are one for x, y coordinates, however they are written.

    Names, identifiers, the order of axes and heights do not count. Nor does a shift to WGS 84 that stands beside a
    datum which has a name.
    """
    return first is second or _same(first, second)


@lru_cache(maxsize=1024)
def _same(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    return bool(first.equals(second, ignore_axis_order=True)) or _equal(_document(first), _document(second))


@lru_cache(maxsize=1024)
def _share_ensemble(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    one, other = _document(first), _document(second)
    return any(
        moved is not None and _equal(moved, fixed)
        for moved, fixed in ((_as_member(one, other), other), (_as_member(other, one), one))
    )


def _equal(one: _Document, other: _Document) -> bool:
    if {one["type"], other["type"]} == _UNLIKE:
        return False  # as is found at once, while PROJ would look for the one without an identifier in its database
    return bool(pyproj.CRS.from_json_dict(one).equals(pyproj.CRS.from_json_dict(other), ignore_axis_order=True))


def is_longitude_latitude(crs: pyproj.CRS) -> bool:
    """Return whether a CRS is CRS84, or EPSG:4326, which counts as CRS84."""
    return len(crs.axis_info) == 2 and same_crs(crs, crs84())


@lru_cache(maxsize=1)
def crs84() -> pyproj.CRS:
    """Return CRS84: longitude and latitude in WGS 84."""
    return pyproj.CRS.from_authority("OGC", "CRS84")


def is_north_first(crs: pyproj.CRS) -> bool:
    """Return whether the authority's axis order is y, x: the northing or the latitude first."""
    first, second = crs.axis_info[:2]
    if (
        first.direction in _ALONG_MERIDIAN and second.direction in _ALONG_MERIDIAN
    ):  # near a pole both axes lie along a meridian
        return bool(first.name.lower().startswith("northing"))
    return first.direction in _ALONG_MERIDIAN


@lru_cache(maxsize=256)
def horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the part of a CRS that places on the map are in, without heights."""
    return crs.to_2d()


def unbound(crs: pyproj.CRS) -> pyproj.CRS:
    """Return a CRS without the shift to WGS 84 that stands beside its datum, where the datum has a name."""
    return crs.source_crs if crs.is_bound and crs.source_crs is not None and not _is_unknown(crs) else crs


def _document(crs: pyproj.CRS) -> _Document:
    """Return the horizontal part of a CRS with its axes in x, y order, without its identifier."""
    document: _Document = unbound(horizontal(crs)).to_json_dict()
    inner = document.get("source_crs", document)
    inner.pop("id", None)
    axes = inner.get("coordinate_system", {}).get("axis", [])
    if len(axes) == 2 and _is_turned(*axes):
        axes.reverse()
    return document


def north_first(crs: pyproj.CRS) -> pyproj.CRS:
    """Return a CRS of easting and northing with its axes exchanged, as EPSG has many; any other as it is."""
    document = crs.to_json_dict()
    axes = document.get("coordinate_system", {}).get("axis", [])
    if [axis["direction"] for axis in axes] != ["east", "north"]:
        return crs
    axes.reverse()
    document.pop("id", None)
    return pyproj.CRS.from_json_dict(document)


def _is_unknown(crs: pyproj.CRS) -> bool:
    """Return whether a datum has no name, so that nothing but the shift to WGS 84 beside it says which one it is."""
    name = "" if crs.datum is None else crs.datum.name.lower()
    return name.startswith(("unknown", "unnamed", "not specified", "not_specified", "undefined")) or not name


def _is_turned(first: _Document, second: _Document) -> bool:
    """Return whether PROJ exchanges two axes for coordinates in x, y order."""
    directions = first["direction"], second["direction"]
    if directions in (("north", "north"), ("south", "south")):
        return [axis.get("meridian", {}).get("longitude") for axis in (first, second)] in _NORTHING_FIRST
    return directions == ("north", "east")


def _as_member(document: _Document, other: _Document) -> _Document | None:
    """Return a CRS on a datum ensemble as one on its member that another CRS is on; None = there is no such member."""
    base, datum = _geodetic(document), _geodetic(other).get("datum")
    if datum is None or datum["name"] not in _members(base):
        return None
    moved = {name: value for name, value in base.items() if name != "datum_ensemble"} | {"datum": datum}
    return document | {"base_crs": moved} if "base_crs" in document else moved


def _geodetic(document: _Document) -> _Document:
    base: _Document = document.get("base_crs", document)
    return base


def _members(base: _Document) -> list[str]:
    """Return the names of the members of a CRS's datum ensemble, or of the ensemble that WKT of 2001 calls a datum."""
    ensemble = base.get("datum_ensemble")
    if ensemble is None and "datum" in base:
        try:
            ensemble = Datum.from_name(f"{base['datum']['name']} ensemble").to_json_dict()
        except pyproj.exceptions.CRSError:
            return []
    return [member["name"] for member in ensemble["members"]] if ensemble else []
