"""The parameters of a request for features: OGC API - Features, Part 1 (17-069r4) and Part 2 (18-058r1)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from flask import g, request

from processes.crs import is_longitude_latitude, is_north_first
from processes.errors import Fault, InputError, RequestError, collect_faults
from processes.features.serving.feature_index import Boxes
from processes.features.serving.items import ID, ItemQuery, item_fields
from processes.features.serving.served_crs import ChosenCrs, longitude_latitude, served_crs
from processes.features.serving.stored_result import StoredResult
from processes.ogc.schema import quoted
from processes.web.jobs import requested_interval
from processes.web.paging import ListPage
from processes.web.visible import SHARE, SHARED_JOB

_PARAMETERS = ("bbox", "bbox-crs", "crs", "datetime", "f", "limit", "offset")
_TURN = 360.0


def require_known(parameters: Collection[str], faults: list[Fault]) -> None:
    """Add a fault for each of the request's parameters that is not known (Part 1, 7.8.1)."""
    for name in request.args:
        if name not in parameters and not (name == SHARE and SHARED_JOB in g):
            known = ", ".join(sorted(parameters))
            faults.append(
                Fault(f"/{name}", InputError(f"there is no parameter {quoted(name)} here; there are {known}"))
            )


def read_item_query(stored: StoredResult) -> tuple[ItemQuery, ListPage, ChosenCrs]:
    """Return which features a request wants, which page of them, and in which CRS.

    Raises:
        RequestError: everything that is wrong with its parameters.
    """
    faults: list[Fault] = []
    taken = (*_PARAMETERS, SHARE) if SHARED_JOB in g else _PARAMETERS
    fields = [name for name in (ID, *item_fields(stored).names) if name not in taken]
    require_known({*_PARAMETERS, *fields}, faults)
    page, served = ListPage.read(faults), served_crs(stored)
    requested_interval(faults)  # features here have no time of their own, so that any one matches
    box_crs, crs, boxes = longitude_latitude(), longitude_latitude(), None
    with collect_faults(faults, "/bbox-crs"):
        box_crs = served.chosen("bbox-crs", request.args.get("bbox-crs"))
    with collect_faults(faults, "/crs"):
        crs = served.chosen("crs", request.args.get("crs"))
    with collect_faults(faults, "/bbox"):
        boxes = _boxes(box_crs)
    if faults:
        raise RequestError(faults)
    equal = {name: request.args[name] for name in fields if name in request.args}
    return ItemQuery(boxes, *box_crs, equal), page, crs


def _boxes(chosen: ChosenCrs) -> Boxes | None:
    """Return the boxes that `bbox` means in a CRS, x first; longitudes are also looked for a turn further."""
    crs, is_own = chosen
    text = request.args.get("bbox")
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 6) or not np.isfinite(numbers).all():
        raise InputError(f"bbox is {quoted(text)}, not four or six numbers with commas between them")
    half = len(numbers) // 2
    low, high = numbers[:2], numbers[half : half + 2]
    if is_own and is_north_first(crs):
        low, high = low[::-1], high[::-1]
    if low[1] > high[1]:
        raise InputError(f"bbox is {quoted(text)}, whose south is north of its north")
    if not is_longitude_latitude(crs):
        if low[0] > high[0]:
            raise InputError(f"bbox is {quoted(text)}, whose west is east of its east")
        return np.array([[*low, *high]])
    parts = [(low[0], high[0])] if low[0] <= high[0] else [(low[0], 180.0), (-180.0, high[0])]
    turns = (0.0, -_TURN, _TURN)
    return np.array([[west + turn, low[1], east + turn, high[1]] for west, east in parts for turn in turns])
