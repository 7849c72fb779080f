"""Values and the JSON schemas of descriptions.

Schemas keep to the keywords of OpenAPI 3.0, with boolean `exclusiveMinimum`, which jsonschema's Draft 4 validator reads
rightly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_MAX_QUOTED = 120
_TYPES = {"string": str, "object": dict}
_CHECKED = {"type", "enum", "pattern"}
_SAYING_NOTHING = {"default", "example"}


def fits_simply(value: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether a value is a text or an object, and so fits a schema that asks for no more than enum and pattern.

    False = that is for jsonschema to say.
    """
    expected = _TYPES.get(schema.get("type", ""))
    if expected is None or not schema.keys() <= _CHECKED | _SAYING_NOTHING:
        return False
    return (
        isinstance(value, expected)
        and ("enum" not in schema or value in schema["enum"])
        and ("pattern" not in schema or (expected is str and has_pattern(value, schema["pattern"])))
    )


def has_pattern(text: str, pattern: str) -> bool:
    """Return whether a pattern is found as ECMA 262 does, where `$` is the end and not also the line feed before it."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None


def quoted(value: Any) -> str:
    """Return a value as short JSON, for a message."""
    text = msgspec.json.encode(value).decode(errors="replace")
    return text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "…"
