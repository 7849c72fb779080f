"""Media types: their plain form, and the choice between those on offer."""

from __future__ import annotations

from collections.abc import Sequence

from processes.errors import NotAcceptableError

JSON = "application/json"
GEOJSON = "application/geo+json"

Accept = Sequence[tuple[str, float]]
"""Media ranges that a client accepts, in lower case, without parameters, each with its quality, 0..1; empty = any."""


def choose_media_type(offers: Sequence[str], accept: Accept) -> str:
    """Return the media type on offer that a client prefers, the first one where it has no preference.

    A client that accepts plain JSON accepts GeoJSON too.

    Raises:
        NotAcceptableError: it accepts none of them.
    """

    def quality(offer: str) -> float:
        """Return the quality of the most specific range that holds a media type; JSON's own holds GeoJSON."""
        also = (JSON,) if offer == GEOJSON else ()
        for media_range in (offer, *also, f"{offer.split('/')[0]}/*", "*/*"):
            qualities = [quality for item, quality in accept if item == media_range]
            if qualities:
                return max(qualities)
        return 0

    if not accept:
        return offers[0]
    best = max(offers, key=quality)
    if quality(best) <= 0:
        accepted = ", ".join(item for item, _ in accept)
        raise NotAcceptableError(f"the result can be {', '.join(offers)}; Accept names {accepted[:500]}")
    return best
