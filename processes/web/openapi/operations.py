"""Operations of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from processes.sources.media_types import HTML
from processes.web.openapi.schemas import ref

HTML_PAGE = {HTML: {"schema": {"type": "string"}}}


def operation(
    operation_id: str,
    tag: str,
    summary: str,
    responses: Mapping[str, Any],
    parameters: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return an operation.

    Args:
        operation_id: its id.
        tag: of the group that it is in.
        summary: what it does.
        responses: by status.
        parameters: names of components.
        more: further members.
    """
    return (
        {"operationId": operation_id, "tags": [tag], "summary": summary}
        | ({"parameters": [ref("parameters", name) for name in parameters]} if parameters else {})
        | more
        | {"responses": dict(responses)}
    )
