"""What the parts of the web server share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flask import Response

from processes.sources.media_types import JSON

STOPPING = "classify-objects-stopping"
"""Name of the application's extension that is set when the server stops, a `threading.Event`."""
SETTINGS = "classify-objects-settings"
"""Name of the application's extension that has its `Settings`."""
BODIES = "bodies"
"""Name of the folder of bodies in the state folder."""
OPENAPI = "openapi.json"
"""Name of the OpenAPI document in the state folder. pygeoapi reads it from a file."""
UPLOADS = "/uploads"
"""Path to which files are sent."""
View = Callable[..., Any]
"""A Flask view: a function of the variable parts of a path that returns a response."""


def json_response(document: Mapping[str, Any], status: int = 200) -> Response:
    """Return a JSON document as a response."""
    return Response(msgspec.json.encode(document), status, content_type=JSON)
