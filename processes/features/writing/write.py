"""Results to files: fitted to what the format can hold, then written. Rows stream, at most `ROWS_AT_ONCE` at a time."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyproj

from processes.features.writing.format import HEIGHTS, MEASURES, Format
from processes.features.writing.result import ResultLayer, RowBatch, with_attributes
from processes.features.writing.values import without_json_texts


def write_result(result: ResultLayer, output_format: Format, crs: pyproj.CRS | None, path: Path) -> dict[str, Any]:
    """Write a result to a new file and return its summary.

    Args:
        result: the result, not yet fitted to the format.
        output_format: the format.
        crs: CRS of the output; None = the result's own. A format that is CRS84 only has that.
        path: the file; its folder exists.
    """
    fitted = _fit(result, output_format)
    late_warnings = output_format.write(
        fitted if output_format.keeps_json_values else without_json_texts(fitted), crs, path
    )
    return fitted.summary(late_warnings)


def _fit(result: ResultLayer, output_format: Format) -> ResultLayer:
    """Return a result whose attributes have names that the format allows, with warnings of what it changes."""
    schema, warnings = rename_reserved(
        result.schema, output_format.reserved_names(result), is_caseless=output_format.is_caseless
    )
    style = result.style
    if style is not None:
        style = msgspec.structs.replace(style, label_field=schema.names[result.schema.names.index(style.label_field)])

    def rows() -> Iterator[RowBatch]:
        for batch in result.rows():
            yield with_attributes(batch, batch.attributes.columns, schema)

    return msgspec.structs.replace(
        result,
        schema=schema,
        rows=rows,
        style=style,
        warnings=(*warnings, *_left_out(output_format, result.iso_types)),
    )


def rename_reserved(schema: pa.Schema, reserved: Set[str], is_caseless: bool = False) -> tuple[pa.Schema, list[str]]:
    """Append a number to the names of attributes that are reserved, compared without case.

    Args:
        schema: of the attributes.
        reserved: names in lower case.
        is_caseless: True = of names that differ in case alone the format holds only one.

    Returns:
        The schema with the new names, and a warning for each.
    """
    used = {name.lower() for name in schema.names} | reserved
    fields, warnings, refused = [], [], set(reserved)
    for item in schema:
        name, number = item.name, 0
        while name.lower() in refused or (number and name.lower() in used):
            number += 1
            name = f"{item.name}_{number}"
        if number:
            used.add(name.lower())
            warnings.append(
                f"attribute {item.name!r} is named {name!r} in the result: the name is taken in this format"
            )
        if is_caseless:
            refused.add(name.lower())
        fields.append(item.with_name(name))
    return pa.schema(fields), warnings


def _left_out(output_format: Format, iso_types: frozenset[int]) -> list[str]:
    """Return a warning of the heights and measures that a format does not keep; none where it keeps all."""
    kept = output_format.kept_dimensions(iso_types)
    lost = [
        name
        for bit, name in ((HEIGHTS, "heights (Z)"), (MEASURES, "measures (M)"))
        if not kept & bit and any(iso_type // 1000 & bit for iso_type in iso_types)
    ]
    return [f"{' and '.join(lost)} of coordinates are left out: {output_format.why_left_out}"] if lost else []
