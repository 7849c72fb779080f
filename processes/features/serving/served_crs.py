"""The CRS in which the features of a result can be had."""

from __future__ import annotations

import msgspec
import pyproj

from processes.crs import CRS84, crs_uri, parse_crs
from processes.errors import InputError
from processes.features.serving.feature_index import own_crs
from processes.features.serving.stored_result import StoredResult

ChosenCrs = tuple[pyproj.CRS, bool]
"""A CRS, and whether it is the result's own, not CRS84."""
_MAX_TEXT = 200


def longitude_latitude() -> ChosenCrs:
    """Return CRS84."""
    return parse_crs(CRS84), False


class ServedCrs(msgspec.Struct, frozen=True):
    """The CRS in which the features of a result can be had."""

    own: pyproj.CRS
    own_uri: str
    """CRS84 where no URI means the result's own CRS, or it is CRS84."""

    @property
    def uris(self) -> list[str]:
        """Return their URIs, CRS84 first."""
        return list(dict.fromkeys([CRS84, self.own_uri]))

    def chosen(self, name: str, text: str | None) -> ChosenCrs:
        """Return the CRS that a parameter names; `text`: None = CRS84.

        Raises:
            InputError: it names another one.
        """
        if text not in (None, *self.uris):
            raise InputError(f"{name} is {str(text)[:_MAX_TEXT]!r}; it can be {' or '.join(self.uris)}")
        return longitude_latitude() if text in (None, CRS84) else (self.own, True)


def served_crs(stored: StoredResult) -> ServedCrs:
    """Return the CRS in which the features of a result can be had."""
    own = own_crs(stored)
    return ServedCrs(own, crs_uri(own) or CRS84)
