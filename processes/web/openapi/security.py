"""What the OpenAPI document says of who may ask for what, where the service asks who makes a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from processes.settings import OPEN, Settings
from processes.web.openapi.responses import access_responses
from processes.web.openapi.schemas import ref

_SCHEME = "token"
_METHODS = ("get", "head", "post", "put", "delete")
_ALWAYS = ("/health",)
_DESCRIPTIONS = ("/", "/conformance", "/openapi", "/processes")
"""Paths that everybody may read where the setting `anonymous` says so, with those of descriptions."""
_REFUSALS = ("401", "403")


def secured(document: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a document that says how somebody proves who they are; of an open service it is the same.

    Args:
        document: without that.
        settings: of the service.
    """
    if settings.access in (None, OPEN):
        return dict(document)
    components = document["components"]
    return {
        **document,
        "security": [{_SCHEME: []}],
        "paths": {path: _secured_path(path, item, settings.anonymous) for path, item in document["paths"].items()},
        "components": {
            **components,
            "responses": components["responses"] | access_responses(),
            "securitySchemes": {_SCHEME: _scheme(settings)},
        },
    }


def _scheme(settings: Settings) -> dict[str, str]:
    if settings.oidc is None:
        return {"type": "http", "scheme": "bearer", "description": "A token that who runs the service has made"}
    words = f"A token of {settings.oidc.url} for the audience {settings.oidc.audience}"
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": words}


def _secured_path(path: str, item: Mapping[str, Any], is_anonymous: bool) -> dict[str, Any]:
    if path in _ALWAYS:
        return {method: {**operation, "security": []} for method, operation in item.items()}
    may_be_anonymous = is_anonymous and _is_description(path)
    return {
        name: _secured_operation(value, may_be_anonymous) if name in _METHODS else value for name, value in item.items()
    }


def _is_description(path: str) -> bool:
    return path in _DESCRIPTIONS or (path.startswith("/processes/") and path.count("/") == 2)


def _secured_operation(operation: Mapping[str, Any], may_be_anonymous: bool) -> dict[str, Any]:
    refusals = {status: ref("responses", f"error{status}") for status in _REFUSALS}
    responses = dict(_in_order((operation["responses"] | refusals).items()))
    return {**operation, "responses": responses} | ({"security": [{}, {_SCHEME: []}]} if may_be_anonymous else {})


def _in_order(responses: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return responses by their statuses; `default` comes last."""
    return sorted(responses, key=lambda item: item[0])
