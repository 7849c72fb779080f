"""Literal inputs of an execute request: values, read and checked against the schemas of the description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from processes.errors import Fault, InputError, RequestError
from processes.ogc.request import Description, ExecuteRequest, InputValue
from processes.ogc.values import check_value

_QUALIFIED = {"value", "mediaType", "encoding", "schema", "format"}


class LiteralValue(msgspec.Struct, frozen=True):
    """A value of an input, read."""

    pointer: str
    """Where it stands in the request."""
    value: Any


def literal(value: InputValue) -> LiteralValue:
    """Return what a qualified value (`{"value": …}`) holds, any other value as it is."""
    content = value.read()
    if isinstance(content, dict) and "value" in content and content.keys() <= _QUALIFIED:
        return LiteralValue(f"{value.pointer}/value", content["value"])
    return LiteralValue(value.pointer, content)


def read_literals(
    request: ExecuteRequest,
    description: Description,
    names: Iterable[str],
    faults: list[Fault],
    max_bytes: int | None = None,
) -> dict[str, list[LiteralValue]]:
    """Return the values of some inputs, checked against their schemas.

    Args:
        request: the request.
        description: of the process.
        names: of the inputs.
        faults: gets what is wrong.
        max_bytes: length of a value's JSON text at most; None = any.
    """
    literals: dict[str, list[LiteralValue]] = {}
    for name in names:
        for value in request.inputs.get(name, ()):
            if max_bytes is not None and len(value.text) > max_bytes:
                faults.append(Fault(value.pointer, InputError(f"{name} is longer than {max_bytes} bytes")))
                continue
            try:
                item = literal(value)
            except RequestError as err:
                faults.extend(err.faults)
                continue
            errors = check_value(item.value, description["inputs"][name]["schema"], name, item.pointer)
            faults.extend(errors)
            if not errors:
                literals.setdefault(name, []).append(item)
    return literals
