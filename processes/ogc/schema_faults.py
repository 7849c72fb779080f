"""What is wrong with a value that does not fit its schema, in the client's terms: a word for each keyword of schemas.

The only home of `jsonschema`, which is slow to import: `check_value` comes here with values that are not seen to fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import jsonschema
from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError

from processes.errors import Fault, InputError, pointer_token
from processes.ogc.schema import has_pattern, quoted


def schema_faults(value: Any, schema: Mapping[str, Any], name: str, pointer: str) -> list[Fault]:
    """Return what is wrong with a value, each fault with its pointer; arguments as `check_value` has them."""
    errors = sorted(_Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    return [
        Fault(
            pointer + "".join(f"/{pointer_token(str(step))}" for step in error.absolute_path),
            InputError(_words(name, error)),
        )
        for error in errors
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    """Return what a schema accepts, in few words."""
    name = str(schema.get("type", "an allowed value"))
    pattern, least = schema.get("pattern"), schema.get("minimum")
    return name + (f" like {pattern}" if pattern else "") + (f" of {least} or more" if least is not None else "")


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterable[ValidationError]:
    if validator.is_type(instance, "string") and not has_pattern(instance, pattern):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _is_integer(_: Any, value: Any) -> bool:
    """Return whether a number is whole, however it is written: 1.0 is, as JSON Schema has it since draft 6."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0


_Validator: type[Draft4Validator] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    Draft4Validator, {"pattern": _pattern}, type_checker=Draft4Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


def _words(name: str, error: ValidationError) -> str:
    """Return in JSON's terms what a schema does not allow."""
    where = ".".join([name, *map(str, error.absolute_path)])
    shown, allowed, instance = quoted(error.instance), cast(Any, error.validator_value), cast(Any, error.instance)
    match error.validator:
        case "type":
            return f"{where} is {shown}, not of type {allowed}"
        case "enum":
            return f"{where} is {shown}; it can be {', '.join(map(str, allowed)) or 'nothing at present'}"
        case "pattern":
            return f"{where} is {shown}, which does not match {allowed}"
        case "minimum" | "maximum":
            exclusive = cast(Mapping[str, Any], error.schema).get(
                "exclusiveMinimum" if error.validator == "minimum" else "exclusiveMaximum", False
            )
            side = "more" if error.validator == "minimum" else "less"
            bound = f"{side} than {allowed}" if exclusive else f"{allowed} or {side}"
            return f"{where} is {shown}; it must be {bound}"
        case "minItems" | "maxItems":
            side = "least" if error.validator == "minItems" else "most"
            return f"{where} has {len(instance)} values; it must have at {side} {allowed}"
        case "additionalProperties":
            members = cast(Mapping[str, Any], error.schema).get("properties", {})
            others = ", ".join(quoted(name) for name in instance if name not in members)
            return f"{where} has {others}; its members are {', '.join(members)}"
        case "required":
            return f"{where}: {error.message.replace(chr(39), '')}"
        case "oneOf" | "anyOf" | "allOf":
            kinds = " or ".join(dict.fromkeys(map(_kind, allowed)))
            return f"{where} is {shown}, not a valid {kinds}"
        case _:
            return f"{where} is {shown}: not allowed by {error.validator} {quoted(allowed)}"
