"""The parameters of a request for objects of a result: their class, status and confidence."""

from __future__ import annotations

import math
import re

from flask import request

from processes.errors import Fault, InputError
from processes.features.serving.object_filter import ObjectFilter
from processes.ogc.schema import quoted

_ROW = re.compile(r"\d{1,12}", re.ASCII)


def read_object_filter(faults: list[Fault]) -> ObjectFilter:
    """Return which objects a request wants; faults of its parameters are added to `faults`."""
    low, high = _share("minConfidence", 0, faults), _share("maxConfidence", 1, faults)
    return ObjectFilter(request.args.get("class") or None, request.args.get("status") or None, low, high)


def read_row(faults: list[Fault]) -> int | None:
    """Return the row of the one object that a request wants, from 0; None = it wants those that match."""
    text = request.args.get("row")
    if text is None:
        return None
    if not _ROW.fullmatch(text):
        faults.append(Fault("/row", InputError(f"row is {quoted(text)}, not a whole number from 0")))
        return None
    return int(text)


def _share(name: str, default: float, faults: list[Fault]) -> float:
    text = request.args.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        faults.append(Fault(f"/{name}", InputError(f"{name} is {quoted(text)}, not a number from 0 to 1")))
        return default
    return value
