"""Named schemas of the OpenAPI document."""

from __future__ import annotations

from processes.web.openapi.schemas import Schema, ref

Components = dict[str, Schema]
"""Schemas by name."""


def named(components: Components, name: str, schema: Schema) -> Schema:
    """Keep a schema under a name, and return a reference to it.

    Args:
        components: get the schema.
        name: its name.
        schema: the schema; it may be there already.

    Raises:
        ValueError: the name is that of another schema.
    """
    if components.setdefault(name, schema) != schema:
        raise ValueError(f"two schemas are called {name}")
    return ref("schemas", name)
