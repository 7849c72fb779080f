"""Values of an .emd's keys, read as the expected type; an error has the key's name and the value."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from processes.errors import PackageError

_FLAGS: Mapping[object, bool] = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True}
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?")
_SHOWN_CHARACTERS = 80


def stated(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that have a value: null and the empty text count as absent."""
    return {name: value for name, value in keys.items() if value is not None and value != ""}


def get[T](keys: Mapping[str, Any], name: str, read: Callable[[str, Any], T], default: Any) -> T:
    """Return the value of a key, or the default where the key is absent.

    Args:
        keys: of the .emd.
        name: of the key.
        read: a reader of this module, or one like them.
        default: as it is; it is not read.
    """
    return read(name, keys[name]) if name in keys else default


def require[T](keys: Mapping[str, Any], name: str, read: Callable[[str, Any], T]) -> T:
    """Return the value of a key that must be present; arguments as `get` has them."""
    if name not in keys:
        raise PackageError(f"the .emd has no {name}")
    return read(name, keys[name])


def show(value: object) -> str:
    """Return a value as JSON for a message, cut to 80 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:  # decoding allows deeper nesting than encoding
        return "nested too deeply"
    return text[:_SHOWN_CHARACTERS].encode(errors="replace").decode()


def wrong_value(name: str, value: object, expected: str) -> PackageError:
    """Return the error for a wrong value.

    Args:
        name: of the key.
        value: the wrong value.
        expected: what is accepted, in words.
    """
    return PackageError(f"{name} is {show(value)}, not {expected}")


def read_text(name: str, value: Any) -> str:
    """Read a text that is not blank, and whole: JSON can escape half a character."""
    if not isinstance(value, str) or not value.strip() or any("\ud800" <= item <= "\udfff" for item in value):
        raise wrong_value(name, value, "a text")
    return value


def read_flag(name: str, value: Any) -> bool:
    """Read a boolean, which Esri writes as a number or a text too."""
    flag = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(flag, int | float | str) or flag not in _FLAGS:
        raise wrong_value(name, value, "0, 1, true or false")
    return _FLAGS[flag]


def is_number(value: Any) -> bool:
    """Return whether a value is a number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def read_integer(low: int, high: int) -> Callable[[str, Any], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(name: str, value: Any) -> int:
        if not is_number(value) or value != int(value) or not low <= value <= high:
            raise wrong_value(name, value, f"a whole number from {low} to {high}")
        return int(value)

    return read


def read_integer_text(value: Any) -> Any:
    """Return a whole number that is written as text as a number, and any other value as it is."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


def read_number(name: str, value: Any) -> float:
    """Read a number."""
    if not is_number(value):
        raise wrong_value(name, value, "a number")
    return float(value)


def read_numbers(name: str, value: Any) -> tuple[float, ...]:
    """Read a list of at least one number."""
    if not isinstance(value, list) or not value:
        raise wrong_value(name, value, "a list of numbers")
    return tuple(read_number(name, item) for item in value)


def read_names(_: str, value: Any) -> tuple[str, ...]:
    """Read a list of names, in small letters; what is something else names nothing."""
    return tuple(str(item).strip().lower() for item in value) if isinstance(value, list) else ()
