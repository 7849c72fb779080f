"""STAC items as images: which of an item's assets are meant, and where they lie.

As much of an item is read as it takes to find its assets, of any version of STAC. `pystac` refuses items without a
time, which pygeoapi gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from processes.errors import ImageError
from processes.imagery.endings import ENDINGS
from processes.sources.host_links import display_link
from processes.sources.media_types import plain_media_type

_RASTERS = ("image/tiff", "image/jp2", "image/jpeg", "image/png", "image/vnd.stac.geotiff")
"""Media types of what can be read as an image, without parameters."""
_BESIDE = {"thumbnail", "overview", "metadata"}
"""Roles of assets that are no data."""
_CLOUD_OPTIMIZED = "cloud-optimized"
"""Stands in the media type of an asset whose header lies at its beginning, and that is read by ranges."""
_LARGEST = 1e12
"""No coordinate and no side of an image is as large. JSON may have whole numbers that no float can hold."""
_VISUAL = "visual"
_LISTED = 40
"""Assets that a message lists at most."""


class AssetChoice(msgspec.Struct, frozen=True):
    """The assets of an item that a link asks for."""

    names: tuple[str, ...] = ()
    """In the order of the bands; empty = the one that shows the image."""

    @classmethod
    def of(cls, fragment: str) -> Self:
        """Read the fragment of a link, not decoded: `asset=visual`, or `assets=B04,B03,B02`.

        Raises:
            ImageError: it asks for something else.
        """
        key, _, value = fragment.partition("=")
        if not fragment:
            return cls()
        names = [unquote(name) for name in value.split(",")] if key == "assets" else [unquote(value)]
        if key not in ("asset", "assets") or not all(names):
            raise ImageError(
                f"the link ends in #{unquote(fragment)[:100]}; to a STAC item it ends in #asset=NAME, in "
                "#assets=NAME,NAME, or in neither"
            )
        return cls(tuple(names))


class StatedGrid(msgspec.Struct, frozen=True):
    """Where an item says that its image lies. It may be wrong: the header of the image decides.

    Source: STAC's extension Projection, 1.0 to 2.0, whose members stand in the asset, or in the item for all assets.
    """

    crs: str
    """Its name, as `EPSG:32633`; WKT is not taken from strangers."""
    transform: tuple[float, ...]
    """Of pixel coordinates to map coordinates: six numbers, row by row."""
    shape: tuple[int, int]
    """(height, width) in cells."""
    bbox: tuple[float, float, float, float]
    """Of the item: west, south, east, north, in longitude and latitude; west > east where it goes over 180 degrees."""


class StacImage(msgspec.Struct, frozen=True):
    """An image that a STAC item stands for."""

    name: str
    """The item's id."""
    hrefs: tuple[tuple[str, ...], ...]
    """Links to each of its assets, absolute: its own, then those of the extension Alternate Assets. The bands of
    several assets are stacked."""
    assets: tuple[str, ...]
    """Names of these assets."""
    grid: StatedGrid | None = None
    """Of an image in one cloud-optimized file; None = of another one, or the item does not say it."""


class _Asset(msgspec.Struct):
    href: str
    type: str | None = None
    roles: tuple[str, ...] | None = None
    alternate: Any = None

    @property
    def media_type(self) -> str:
        """Its media type without parameters; empty = none."""
        return plain_media_type(self.type or "")

    @property
    def is_image(self) -> bool:
        """Whether it is data that can be read as an image."""
        if _BESIDE & set(self.roles or ()):
            return False
        is_named = urlsplit(self.href).path.lower().endswith(ENDINGS)
        return self.media_type in _RASTERS or (not self.media_type and is_named)

    @property
    def hrefs(self) -> tuple[str, ...]:
        """Its link, and links to the same file elsewhere."""
        others = self.alternate.values() if isinstance(self.alternate, dict) else ()
        found = [item.get("href") for item in others if isinstance(item, dict)]
        return self.href, *(href for href in found if isinstance(href, str))


class _StacLink(msgspec.Struct):
    rel: str = ""
    href: str = ""


class _StacItem(msgspec.Struct):
    id: str
    assets: dict[str, _Asset]
    links: tuple[_StacLink, ...] = ()


def is_item(document: Any) -> bool:
    """Return whether a JSON value is a STAC item, as far as its frame tells."""
    return isinstance(document, dict) and document.get("type") == "Feature" and isinstance(document.get("assets"), dict)


def stac_image(document: Mapping[str, Any], address: str, choice: AssetChoice, is_alone: bool) -> StacImage:
    """Return the image that an item stands for.

    Args:
        document: the item.
        address: of the document that holds it.
        choice: the assets that are asked for.
        is_alone: True = it is the document; False = one of several in it, which may have an address of its own.

    Raises:
        ImageError: it is no item, or has no such asset.
    """
    try:
        item = msgspec.convert(document, _StacItem)
        names = choice.names or (_shown_asset(item),)
        missing = [name for name in names if name not in item.assets]
        if missing:
            raise ImageError(f"the STAC item {item.id!r} has no asset {missing[0]!r}; {_listed(item)}")
        own = "" if is_alone else next((link.href for link in item.links if link.rel == "self"), "")
        base = urljoin(address, own)
        hrefs = tuple(tuple(urljoin(base, href) for href in item.assets[name].hrefs) for name in names)
        is_one = len(names) == 1 and _CLOUD_OPTIMIZED in (item.assets[names[0]].type or "").lower()
        return StacImage(item.id, hrefs, names, _stated_grid(document, names[0]) if is_one else None)
    except (msgspec.ValidationError, ValueError) as err:
        shown = str(document.get("id", ""))[:100]
        raise ImageError(f"the STAC item {shown!r} of {display_link(address)} cannot be read: {err}") from err


def _stated_grid(document: Mapping[str, Any], asset: str) -> StatedGrid | None:
    """Return where an item says that an asset lies; None = it does not say it, or not as the extension has it."""
    own, common = document["assets"][asset], document.get("properties")
    common = common if isinstance(common, dict) else {}
    crs = _stated_crs(own) or _stated_crs(common)
    shape, transform = (_numbers(own.get(name, common.get(name))) for name in ("proj:shape", "proj:transform"))
    bbox = _numbers(document.get("bbox"))
    is_whole = all(number >= 1 and number.is_integer() for number in shape)
    if crs is None or len(shape) != 2 or not is_whole or len(transform) not in (6, 9) or len(bbox) not in (4, 6):
        return None
    west, south, east, north = bbox[0], bbox[1], bbox[len(bbox) // 2], bbox[len(bbox) // 2 + 1]
    return StatedGrid(crs, transform[:6], (int(shape[0]), int(shape[1])), (west, south, east, north))


def _stated_crs(members: Mapping[str, Any]) -> str | None:
    """Return the CRS that members of the extension Projection name: `proj:code` of 2.0, or `proj:epsg` before."""
    code, number = members.get("proj:code"), members.get("proj:epsg")
    if isinstance(code, str):
        return code
    return f"EPSG:{number}" if isinstance(number, int) and not isinstance(number, bool) else None


def _numbers(value: Any) -> tuple[float, ...]:
    """Return a list of numbers; empty = it is none, or one is too large to say where something lies."""
    values = value if isinstance(value, list) else []
    are_numbers = all(isinstance(item, int | float) and not isinstance(item, bool) for item in values)
    return tuple(map(float, values)) if are_numbers and all(abs(item) <= _LARGEST for item in values) else ()


def _shown_asset(item: _StacItem) -> str:
    """Return the name of the asset with the role `visual`, else of the only image; of several the one of that name.

    Raises:
        ImageError: none is, or several are; names all assets.
    """
    images = [name for name, asset in item.assets.items() if asset.is_image]
    visual = [name for name in images if _VISUAL in (item.assets[name].roles or ())]
    candidates = visual or images
    if len(candidates) > 1 and _VISUAL in visual:
        return _VISUAL
    if len(candidates) == 1:
        return candidates[0]
    reason = "several images" if candidates else "no image that can be read"
    raise ImageError(
        f"the STAC item {item.id!r} has {reason}: let the link end in #asset=NAME, or in #assets=NAME,NAME for bands "
        f"that are stacked; {_listed(item)}"
    )


def _listed(item: _StacItem) -> str:
    shown = [
        f"{name!r} ({', '.join((asset.media_type or 'of no type', *(asset.roles or ())))})"
        for name, asset in list(item.assets.items())[:_LISTED]
    ]
    more = f" and {len(item.assets) - _LISTED} more" if len(item.assets) > _LISTED else ""
    return f"its assets are {', '.join(shown) or 'none'}{more}"
