"""A finished result in a file of its own, from which any format can be written later.

The file is Arrow's: it is read where it lies, a range of rows at a time. Its columns are the row's id, the position of
its feature, its geometry, then the attributes; what else a `ResultLayer` says is in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
from numpy.typing import NDArray

from processes.crs import CRS84, crs_from_text, crs_uri
from processes.features.writing.class_style import ClassStyle, Color, geometry_family
from processes.features.writing.format import Format
from processes.features.writing.formats import offered_formats
from processes.features.writing.label_fields import LabelFields, label_fields
from processes.features.writing.result import ResultLayer, RowBatch
from processes.features.writing.table import TABLE
from processes.features.writing.write import write_result

_ABOUT = b"result"
"""Key of the metadata that says what the rows are."""
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_POSITION, _ID, _GEOMETRY = "position", "id", "geometry"


class SummaryParts(msgspec.Struct, frozen=True):
    """What a summary says, whatever the format of the result."""

    counts: dict[str, Any]
    """The model, and counts."""
    warnings: list[str]
    """About the rows."""
    crs84_warnings: list[str]
    """About their coordinates in CRS84."""
    crs_warnings: list[str]
    """About their coordinates in the CRS that the client wants."""
    software: str

    def summary(
        self, layer_crs: pyproj.CRS | None, output_format: Format, crs: pyproj.CRS | None, warnings: Sequence[str]
    ) -> dict[str, Any]:
        """Return the summary of a result.

        Args:
            layer_crs: of the rows; None = the result is a table.
            output_format: the format.
            crs: CRS of the output; None = that of the rows, CRS84 in GeoJSON.
            warnings: of the writing.
        """
        shifts = self.crs84_warnings if output_format.is_crs84_only else self.crs_warnings
        return {
            **self.counts,
            **_crs_member(layer_crs, output_format, crs),
            "warnings": [*self.warnings, *shifts, *warnings],
            "software": self.software,
        }


def _crs_member(layer_crs: pyproj.CRS | None, output_format: Format, crs: pyproj.CRS | None) -> dict[str, str]:
    """Return the member `crs` of a summary, a URI; nothing for a table, and where no URI means the CRS."""
    if layer_crs is None or output_format is TABLE:
        return {}
    uri = CRS84 if output_format.is_crs84_only else crs_uri(crs or layer_crs)
    return {} if uri is None else {"crs": uri}


class _About(msgspec.Struct, frozen=True):
    """What the metadata says of a result."""

    name: str
    crs: str | None
    """As PROJJSON, as the next one; None = a table."""
    output_crs: str | None
    """The CRS that the client wants; None = that of the rows."""
    geometry_type: str
    iso_types: list[int]
    key: str
    ids_ascend: bool
    early_times: list[int]
    label_field: str
    classes: list[tuple[str, Color | None]]
    parts: SummaryParts


def store_result(
    result: ResultLayer, style: ClassStyle, parts: SummaryParts, crs: pyproj.CRS | None, path: Path
) -> None:
    """Write a result to a new file.

    Args:
        result: the result, not fitted to a format.
        style: of its classes.
        parts: of its summary.
        crs: the CRS that the client wants; None = that of the rows.
        path: the file.
    """
    about = _About(
        name=result.name,
        crs=None if result.crs is None else result.crs.to_json(),
        output_crs=None if crs is None else crs.to_json(),
        geometry_type=result.geometry_type,
        iso_types=sorted(result.iso_types),
        key=result.key,
        ids_ascend=bool(result.ids_ascend),
        early_times=sorted(result.early_times),
        label_field=style.label_field,
        classes=list(style.classes),
        parts=parts,
    )
    fields = [pa.field(_POSITION, pa.int64())]
    if result.id_type is not None:
        fields.append(pa.field(_ID, result.id_type))
    if result.crs is not None:
        fields.append(pa.field(_GEOMETRY, pa.large_binary()))
    schema = pa.schema([*fields, *result.schema], metadata={_ABOUT: msgspec.json.encode(about)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for rows in result.rows():
            columns = [pa.array(rows.positions)]
            if rows.ids is not None:
                columns.append(rows.ids)
            if result.crs is not None:
                columns.append(_wkb(rows))
            writer.write_batch(pa.RecordBatch.from_arrays([*columns, *rows.attributes.columns], schema=schema))


def _wkb(rows: RowBatch) -> pa.Array:
    if rows.geometry is None:
        return pa.nulls(rows.attributes.num_rows, pa.large_binary())
    return rows.geometry.cast(pa.large_binary())


class StoredResult:
    """A result that `store_result` wrote, opened. Several threads may read it at the same time.

    Args:
        path: the file; it may be removed once this is made.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:  # a copy, as GDAL writes into the geometries that it reads
            self._source = pa.py_buffer(mmap(file.fileno(), 0, access=ACCESS_COPY))
        reader = pa.ipc.open_file(self._source)
        schema, self.blocks = reader.schema, reader.num_record_batches
        self.block_rows = reader.get_batch(0).num_rows if self.blocks else 0
        """Rows of each record batch, of which the last one may have fewer; `blocks` says how many there are."""
        last = reader.get_batch(self.blocks - 1).num_rows if self.blocks else 0
        self.count = max(0, self.blocks - 1) * self.block_rows + last
        """Number of rows."""
        self._about = msgspec.json.decode(schema.metadata[_ABOUT], type=_About)
        self.has_ids = _ID in schema.names[1:2]
        self.crs = None if self._about.crs is None else crs_from_text(self._about.crs)
        """Of the geometry in the rows; None = a table without geometry."""
        self.output_crs = None if self._about.output_crs is None else crs_from_text(self._about.output_crs)
        """The CRS that the client wants; None = that of the rows."""
        self._first = 1 + self.has_ids + (self.crs is not None)
        self.schema = pa.schema(list(schema)[self._first :])
        """Of the attributes, the added fields behind those of the input."""
        self._id_type = schema.field(1).type if self.has_ids else None

    @property
    def name(self) -> str:
        """Return the name of the result."""
        return self._about.name

    @property
    def family(self) -> int | None:
        """Return the family that all geometries are of; None = several, or unknown."""
        return geometry_family(frozenset(self._about.iso_types), self._about.geometry_type)

    @property
    def style(self) -> ClassStyle:
        """How a map shows the classes."""
        return ClassStyle(self._about.label_field, tuple(self._about.classes))

    @property
    def label_fields(self) -> LabelFields:
        """Return the names of the fields of the label."""
        return label_fields(self._about.label_field)

    @property
    def counts(self) -> Mapping[str, Any]:
        """The model and the counts, as the summary has them."""
        return self._about.parts.counts

    def table(self) -> pa.Table:
        """Return all rows as they lie in the file; what is not read uses no memory."""
        return pa.ipc.open_file(self._source).read_all()

    def block(self, number: int) -> RowBatch:
        """Return the rows of a record batch."""
        return self.rows(pa.ipc.open_file(self._source).get_batch(number))

    def take(self, rows: NDArray[np.int64]) -> RowBatch:
        """Return some rows.

        Args:
            rows: their indices, ascending, `(n,)`.
        """
        reader = pa.ipc.open_file(self._source)
        if not len(rows):
            return self.rows(pa.RecordBatch.from_pylist([], schema=reader.schema))
        blocks, starts = np.unique(rows // self.block_rows, return_index=True)
        parts = [
            reader.get_batch(block).take(pa.array(own - block * self.block_rows))
            for block, own in zip(blocks.tolist(), np.split(rows, starts[1:]), strict=True)
        ]
        return self.rows(parts[0] if len(parts) == 1 else pa.concat_batches(parts))

    def geometries(self, rows: NDArray[np.int64]) -> pa.Array:
        """Return the WKB of the geometries of some rows of a result that has them.

        Args:
            rows: their indices, ascending, `(n,)`.
        """
        reader = pa.ipc.open_file(self._source)
        if not len(rows):
            return pa.array([], pa.large_binary())
        blocks, starts = np.unique(rows // self.block_rows, return_index=True)
        return pa.concat_arrays(
            reader.get_batch(block).column(self._first - 1).take(pa.array(own - block * self.block_rows))
            for block, own in zip(blocks.tolist(), np.split(rows, starts[1:]), strict=True)
        )

    def row_of(self, identifier: str) -> int | None:
        """Return the index of the first row of an id, or whose feature has this position and no id; None = none has."""
        table = self.table()
        number = int(identifier) if _WHOLE.fullmatch(identifier) else None
        if self._id_type is not None:
            for value in _as_ids(identifier, number, self._id_type):
                found = pc.index(table.column(1), pa.scalar(value, self._id_type)).as_py()
                if found >= 0:
                    return int(found)
        if number is None:
            return None
        found = pc.index(table.column(0), number).as_py()
        has_id = found >= 0 and self.has_ids and table.column(1)[found].as_py() not in (None, "null")
        return None if found < 0 or has_id else int(found)

    def geometry_at(self, row: int) -> bytes | None:
        """Return the WKB of a row's geometry; None = it has none."""
        if self.crs is None:
            return None
        value: bytes | None = self.table().column(self._first - 1)[row].as_py()
        return value

    def rows(self, batch: pa.RecordBatch) -> RowBatch:
        """Return rows of the table, in any order, as those of a result."""
        attributes = pa.RecordBatch.from_arrays(batch.columns[self._first :], schema=self.schema)
        return RowBatch(
            ids=batch.column(1) if self.has_ids else None,
            positions=batch.column(0).to_numpy(),
            geometry=None if self.crs is None else batch.column(self._first - 1),
            attributes=attributes if attributes.num_columns else batch.select([]),
        )

    def layer(self, output_format: Format) -> ResultLayer:
        """Return the result as a layer, to be written in a format."""
        about = self._about
        crs = None if output_format.is_crs84_only else self.output_crs

        def all_rows() -> Iterator[RowBatch]:
            reader = pa.ipc.open_file(self._source)
            for index in range(reader.num_record_batches):
                yield self.rows(reader.get_batch(index))

        return ResultLayer(
            name=about.name,
            crs=self.crs,
            geometry_type=about.geometry_type,
            iso_types=frozenset(about.iso_types),
            key=about.key,
            id_type=self._id_type,
            ids_ascend=about.ids_ascend,
            schema=self.schema,
            rows=all_rows,
            make_summary=lambda warnings: about.parts.summary(self.crs, output_format, crs, warnings),
            style=self.style,
            early_times=frozenset(about.early_times),
        )

    def write(self, output_format: Format, path: Path) -> dict[str, Any]:
        """Write the result in a format to a new file, and return its summary."""
        crs = None if output_format.is_crs84_only else self.output_crs
        return write_result(self.layer(output_format), output_format, crs, path)

    def why_not(self, output_format: Format) -> str | None:
        """Return why the result cannot have a format; None = it can."""
        if output_format.needs_geometry and self.crs is None:
            endings = ", ".join(item.ending for item in offered_formats(is_table=True))
            return f"images without a spatial reference give a table, which can have the endings {endings}"
        columns = len(self.schema) + 3
        if output_format.max_columns is not None and columns > output_format.max_columns:
            return f"a {output_format.name} has at most {output_format.max_columns} columns, this result {columns}"
        return None

    def content_crs(self, output_format: Format) -> str | None:
        """Return the URI of the CRS that the result has in a format; None = it has none."""
        return _crs_member(self.crs, output_format, self.output_crs).get("crs")


def _as_ids(identifier: str, number: int | None, dtype: pa.DataType) -> list[Any]:
    """Return the values of a type that stand for an id in an address."""
    if pa.types.is_integer(dtype):
        return [] if number is None else [number]
    if pa.types.is_large_string(dtype):  # JSON texts
        return [msgspec.json.encode(identifier).decode(), identifier]
    return [identifier]
