"""What every view of this package shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flask import Response

from processes.sources.media_types import JSON

View = Callable[..., Any]
"""A Flask view: a function of the variable parts of a path that returns a response."""


def json_response(document: Mapping[str, Any], status: int = 200) -> Response:
    """Return a JSON document as a response."""
    return Response(msgspec.json.encode(document), status, content_type=JSON)
