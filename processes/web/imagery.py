"""The view of the allowed folders, for who picks a file in a form."""

from __future__ import annotations

from flask import Response, request

from processes.settings import Settings
from processes.sources.folders import list_entries
from processes.web.views import View, json_response


def imagery_view(settings: Settings) -> View:
    """Return the view of what lies directly in an allowed folder, or of these folders themselves."""

    def imagery() -> Response:
        return json_response(list_entries(request.args.get("folder"), settings))

    return imagery
