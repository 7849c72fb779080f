"""Media types that several rooms know by name."""

from __future__ import annotations

JSON = "application/json"
GEOJSON = "application/geo+json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html"


def plain_media_type(text: str) -> str:
    """Return a media type in lower case and without its parameters, such as `charset`."""
    return text.partition(";")[0].strip().lower()
