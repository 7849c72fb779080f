"""Values of a request against the schemas of its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.errors import Fault, InputError
from processes.ogc.schema import fits_simply


def check_value(value: Any, schema: Mapping[str, Any], name: str, pointer: str) -> list[Fault]:
    """Return what is wrong with a value, each fault with its pointer.

    Args:
        value: as JSON has it.
        schema: of the input.
        name: of the input, for messages.
        pointer: of the value in the request.
    """
    if isinstance(value, dict) and "href" in value and "href" not in schema.get("properties", {}):
        return [Fault(pointer, InputError(f"{name} cannot be given as a link"))]
    if fits_simply(value, schema):
        return []
    from processes.ogc.schema_faults import schema_faults  # whose library is slow to import

    return schema_faults(value, schema, name, pointer)
