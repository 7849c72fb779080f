"""CSV (RFC 4180) with geometries: a column of WKT, or two columns of coordinates.

Values are texts in a CSV. A column is of numbers or of booleans where each of its values is one, written as a program
writes it, and none is changed by it: 00501 and +1 are texts, and so is a number of more digits than a double holds.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import shapely
from numpy.typing import NDArray

from processes.crs import CRS84, parse_crs
from processes.errors import InputError, LayerError
from processes.features.layer import Layer, refuse_collections
from processes.features.reading.attributes import refuse_twins
from processes.features.reading.collection import BOM
from processes.features.reading.limits import require_few_features
from processes.features.reading.oddities import Oddities
from processes.features.wkb import common_geometry_type, read_iso_types
from processes.settings import Limits

_WKT = ("wkt", "geometry", "geom", "the_geom", "wkt_geom")
"""Names of a column of WKT in lower case, the best first; only the first one means it whatever the values are."""
_COORDINATES = (("lon", "lat"), ("longitude", "latitude"), ("x", "y"))
"""Names of columns of coordinates in lower case, the best first."""
_DELIMITERS = ",;\t|"
_IS_WKT = r"(?i)^\s*(?:multi)?(?:point|linestring|polygon)\b"
_CAN_NEST = r"(?i)collection|curve|surface"
"""What a WKT has whose parts are WKT themselves: GEOS reads it by recursion."""
_MAX_DEPTH = 4
"""Brackets in brackets of the deepest WKT that is legal without collections: a MultiSurface of curves."""
_SOME_WKT = re.compile(rb"\b(?:multi)?(?:point|linestring|polygon)[ zm]*\(", re.IGNORECASE)
_WHOLE = r"^-?(?:0|[1-9][0-9]{0,18})$"
_FRACTION = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-][0-9]+)?$"
"""Programs write an exponent with its sign; 12E5 and 7E1 are numbers of houses too."""
_BOOLEAN = r"^(?:true|false)$"
_SAFE_LENGTH = 15
"""Characters of a number without exponent that comes back from a double, as 15 digits do (C's DBL_DIG)."""
_MAX_WHOLE = 2**53
"""Beyond it, not every whole number is a double."""


def is_csv(head: bytes) -> bool:
    """Return whether a text begins as a CSV with geometries does."""
    line = _first_line(head)
    if line is None:
        return False
    try:
        names = {name.strip().lower() for name in next(csv.reader([line], delimiter=_delimiter(line)))}
    except csv.Error:
        return False
    if "wkt" in names or any(names.issuperset(pair) for pair in _COORDINATES):
        return True
    return not names.isdisjoint(_WKT) and _SOME_WKT.search(head[len(line.encode()) :]) is not None


def read_csv(path: Path, name: str, crs: str | None, limits: Limits) -> Layer:
    """Read geometries and the other columns, in the order of the rows; there are no ids.

    Args:
        path: the file, in UTF-8.
        name: of the file in messages.
        crs: name of the CRS of its coordinates, in x, y order; None = longitude and latitude.
        limits: of a layer.

    Raises:
        LayerError: the file cannot be read, or the CRS.
        LimitError: more features than allowed.
    """
    subject = f"features {name!r}"
    table = _read_texts(path, subject)
    require_few_features(table.num_rows, limits, subject)
    try:
        parsed = parse_crs(crs or CRS84)
    except InputError as err:
        raise LayerError(f"{subject}: {err.detail}") from err
    oddities = Oddities()
    wkt = _wkt_column(table)
    if wkt is not None:
        geometries = _from_wkt(table.column(wkt), oddities)
        table = table.remove_column(wkt)
    else:
        geometries = _points(table, parsed.is_projected, subject)
    refuse_collections(geometries, 0)
    oddities.require_geometry(bool((~shapely.is_missing(geometries)).any()))
    wkb = pa.array(shapely.to_wkb(geometries, output_dimension=4, flavor="iso"), pa.large_binary())
    geometry = pa.chunked_array([wkb])
    return Layer(
        name=Path(name).stem,
        crs=parsed,
        geometry=geometry,
        geometry_type=common_geometry_type(read_iso_types(geometry)),
        attributes=pa.table([_typed(column) for column in table.columns], names=table.column_names),
        ids=None,
        warnings=oddities.warnings(),
    )


def _first_line(head: bytes) -> str | None:
    """Return the first line of a text, as far as it is there; None = it is no text in UTF-8."""
    try:
        line = codecs.getincrementaldecoder("utf-8")().decode(
            re.split(rb"[\r\n]", head.removeprefix(BOM), maxsplit=1)[0]
        )
    except UnicodeDecodeError:
        return None
    return None if "\0" in line or not line.strip() else line


def _delimiter(line: str) -> str:
    """Return the delimiter of a first line."""
    return max(_DELIMITERS, key=line.count)


def _read_texts(path: Path, subject: str) -> pa.Table:
    """Return all columns as texts; an empty value without quotes is null."""
    with path.open("rb") as file:
        line = _first_line(file.read(2**16))
    if line is None:
        raise LayerError(f"{subject} is no CSV in UTF-8")
    reading = pcsv.ReadOptions(use_threads=False)
    parsing = pcsv.ParseOptions(delimiter=_delimiter(line), newlines_in_values=True)
    try:
        with pcsv.open_csv(path, reading, parsing) as file:
            names = file.schema.names
        refuse_twins(names)
        return pcsv.read_csv(
            path,
            reading,
            parsing,
            pcsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as err:
        raise LayerError(f"{subject} cannot be read as CSV in UTF-8: {str(err)[:200]}") from err


def _wkt_column(table: pa.Table) -> int | None:
    """Return the index of the column of WKT; None = there is none."""
    names = [name.strip().lower() for name in table.column_names]
    for name in _WKT:
        if name in names:
            index = names.index(name)
            first = table.column(index).drop_null().slice(0, 1)
            if name == "wkt" or pc.all(pc.match_substring_regex(first, _IS_WKT), min_count=1).as_py():
                return index
    return None


def _from_wkt(column: pa.ChunkedArray, oddities: Oddities) -> NDArray[np.object_]:
    """Return the geometries of WKT texts, None where there is none, `(n,)`; one that cannot be read is told."""
    texts = np.array([text or None for text in column.to_pylist()], dtype=object)
    unread: dict[int, str] = {}
    collections = []
    can_nest = pc.match_substring_regex(column, _CAN_NEST).fill_null(False)
    for index in np.flatnonzero(can_nest.to_numpy()).tolist():
        if "COLLECTION" in texts[index].upper():
            collections.append(index)
        elif _depth(texts[index]) > _MAX_DEPTH:
            unread[index] = "its brackets are nested too deep"
        else:
            continue
        texts[index] = None
    try:
        geometries = np.asarray(shapely.from_wkt(texts))
    except (shapely.errors.ShapelyError, NotImplementedError):
        geometries = np.empty(len(texts), dtype=object)
        for index, text in enumerate(texts):
            try:
                geometries[index] = shapely.from_wkt(text)
            except (shapely.errors.ShapelyError, NotImplementedError) as err:
                unread[index] = str(err).split(":", 1)[-1].strip()
    for index in sorted(unread):
        oddities.add_unread(index, unread[index])
    geometries[collections] = shapely.GeometryCollection()
    return geometries


def _depth(text: str) -> int:
    """Return how many brackets are open at most in a text."""
    steps = np.array([1 if sign == "(" else -1 for sign in re.findall(r"[()]", text)], dtype=int)
    return int(np.cumsum(steps).max(initial=0))


def _points(table: pa.Table, is_projected: bool, subject: str) -> NDArray[np.object_]:
    """Return the points of two columns of coordinates, None where one has no value, `(n,)`.

    Args:
        table: all columns, as texts.
        is_projected: True = the coordinates are no longitude and latitude: `x` and `y` are the best names.
        subject: of messages.
    """
    pairs = _COORDINATES[::-1] if is_projected else _COORDINATES
    names = [name.strip().lower() for name in table.column_names]
    pair = next((pair for pair in pairs if set(pair) <= set(names)), None)
    if pair is None:
        listed = " or ".join(f"{x!r} and {y!r}" for x, y in _COORDINATES)
        raise LayerError(f"{subject}: the CSV has no column 'WKT', and no columns {listed}")
    x, y = (_numbers(table.column(names.index(name)), name, subject) for name in pair)
    points = np.asarray(shapely.points(x, y), dtype=object)
    points[np.isnan(x) | np.isnan(y)] = None
    return points


def _numbers(column: pa.ChunkedArray, name: str, subject: str) -> NDArray[np.float64]:
    """Return coordinates, NaN where there is no value, `(n,)`."""
    texts = pc.utf8_trim_whitespace(column)
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid as err:
        wrong = next(index for index, text in enumerate(texts.to_pylist()) if text is not None and not _is_number(text))
        raise LayerError(
            f"{subject}: {name} of feature {wrong + 1} is {texts[wrong].as_py()[:40]!r}, no number"
        ) from err
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _is_number(text: str) -> bool:
    try:
        pa.array([text]).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of texts as numbers or booleans where each value is one, and none is changed by it."""
    if _all_match(column, _WHOLE):
        with suppress(pa.ArrowInvalid):  # a number does not fit
            return column.cast(pa.int64())
    if _all_match(column, _FRACTION):
        numbers = column.cast(pa.float64())
        return numbers if _is_exact(column, numbers) else column
    return column.cast(pa.bool_()) if _all_match(column, _BOOLEAN) else column


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=1).as_py())


def _is_exact(texts: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    """Return whether doubles, written with as many digits as their texts have, are the texts again."""
    is_unsafe = pc.greater(pc.binary_length(texts), _SAFE_LENGTH)
    for letter in "eE":
        is_unsafe = pc.or_(is_unsafe, pc.match_substring(texts, letter))
    unsafe, written = texts.filter(is_unsafe), numbers.filter(is_unsafe).cast(pa.string())
    is_other = pc.or_(pc.not_equal(unsafe, written), pc.invert(pc.match_substring(unsafe, ".")))
    return all(_comes_back(text) for text in unsafe.filter(is_other).to_pylist())


def _comes_back(text: str) -> bool:
    """Return whether a number is the same when read as a double; a whole one is where all its neighbours are too."""
    number = float(text)
    if not re.search(r"[.eE]", text):
        return abs(number) <= _MAX_WHOLE and int(number) == int(text)
    digits = len(re.sub(r"[eE].*|[-.]", "", text).lstrip("0"))
    return math.isfinite(number) and Decimal(f"{number:.{max(digits - 1, 0)}e}") == Decimal(text)
