"""The arguments of a raster function: which ones it declares, and how a request's values become its text.

ArcGIS hands every argument over as text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from processes.errors import InputError, PackageError
from processes.model.declared_argument import DeclaredArgument
from processes.model.keys import show

TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_OF_THE_TOOL = ("raster", "rasters")
_MAX_ARGUMENTS, _MAX_CHARACTERS = 200, 2000

DataType = Literal["numeric", "boolean", "string"]


def declared_by(parameters: Any) -> tuple[DeclaredArgument, ...]:
    """Return what `getParameterInfo` declares, in its order.

    Raises:
        PackageError: it is no list of parameters.
    """
    if not isinstance(parameters, list) or len(parameters) > _MAX_ARGUMENTS:
        raise PackageError(f"getParameterInfo is {show(parameters)}, not a list of at most {_MAX_ARGUMENTS} parameters")
    found = [_declared(item) for item in parameters if not _is_of_the_tool(item)]
    names = [item.name for item in found]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise PackageError(f"getParameterInfo has the parameter {doubled!r} more than once")
    return tuple(found)


def _is_of_the_tool(item: Any) -> bool:
    return isinstance(item, dict) and str(item.get("dataType", "")).lower() in _OF_THE_TOOL


def _declared(item: Any) -> DeclaredArgument:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise PackageError(f"getParameterInfo has the parameter {show(item)}, which has no name")
    value = item.get("value")
    if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
        value = None if value is None else str(value)
    description = str(item.get("description") or "")
    domain = item.get("domain")
    if isinstance(domain, list | tuple) and domain:
        description = f"{description}; one of {', '.join(map(str, domain))}".removeprefix("; ")
    return DeclaredArgument(
        name=name[:_MAX_CHARACTERS],
        dataType=_data_type(item.get("dataType")),
        value=value,
        required=bool(item.get("required")) and value is None,
        displayName=str(item.get("displayName") or name)[:_MAX_CHARACTERS],
        description=description[:_MAX_CHARACTERS],
    )


def _data_type(value: Any) -> DataType:
    match str(value).lower():
        case "numeric":
            return "numeric"
        case "boolean":
            return "boolean"
        case _:
            return "string"


def as_text(value: Any) -> str:
    """Return a value as a raster function gets it; what is absent is the empty text."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def read_text_value(argument: DeclaredArgument, value: Any) -> str:
    """Return a value that a request has, as text.

    Args:
        argument: of the raster function.
        value: as JSON has it.

    Raises:
        InputError: it is not of the argument's type.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool | int | float):
        text = _number_text(argument, value)
    else:
        raise InputError(f"{argument.name} is {show(value)}, not a {_WORDS[argument.dataType]}")
    if "\0" in text or len(text) > _MAX_CHARACTERS * 10 or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{argument.name} is {show(value)}, which is no text for a raster function")
    if argument.dataType == "numeric" and not _is_number(text, value):
        raise InputError(f"{argument.name} is {show(value)}, not a number")
    if argument.dataType == "boolean" and text.strip().lower() not in TRUE + FALSE:
        raise InputError(f"{argument.name} is {show(value)}, neither true nor false")
    return text


_WORDS: Mapping[DataType, str] = {"numeric": "number", "boolean": "true or false", "string": "text"}


def _number_text(argument: DeclaredArgument, value: bool | float) -> str:
    try:
        return as_text(value)
    except ValueError as err:  # Python writes no whole number of more than 4300 digits
        raise InputError(f"{argument.name} is a number of thousands of digits") from err


def _is_number(text: str, value: Any) -> bool:
    if isinstance(value, bool) or "_" in text or not text.isascii():
        return False
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def scalars(arguments: Sequence[DeclaredArgument], given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the values of all arguments as text, in order.

    Args:
        arguments: of the raster function.
        given: values that are not the defaults, by name.
    """
    return tuple((item.name, given.get(item.name, as_text(item.value))) for item in arguments)
