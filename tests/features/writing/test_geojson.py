"""Features of GeoJSON as text: members in their order, and none that a feature does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from conftest import write_layer
from layers import BOX, ODD_NAMES, make_layer, typed_attributes, wkt
from processes.features.layer import JSON_TEXT, OMIT_NULLS
from processes.features.writing.geojson import GEOJSON, features_of, id_texts
from processes.features.writing.values import json_values

TEXT = pa.large_string()
GEOMETRIES = ["null", '{"type":"Point","coordinates":[1.0,2.0]}', '{"type":"Point","coordinates":[]}']


def row_by_row(ids: list[str | None], attributes: pa.RecordBatch) -> list[bytes]:
    """Return the texts of features, of a dictionary for each."""
    columns = [json_values(item, values) for item, values in zip(attributes.schema, attributes.columns, strict=True)]
    found = []
    for row, (identifier, geometry) in enumerate(zip(ids, GEOMETRIES, strict=True)):
        properties = {
            item.name: values[row]
            for item, values, own in zip(attributes.schema, columns, attributes.columns, strict=True)
            if own[row].is_valid or item.metadata is None
        }
        member = "" if identifier is None else f'"id": {identifier}, '
        text = f'{{"type": "Feature", {member}"geometry": {geometry}, "properties": '
        found.append(text.encode() + msgspec.json.encode(properties) + b"}")
    return found


def written(ids: list[str | None], attributes: pa.RecordBatch) -> list[bytes]:
    texts = features_of(pa.array(ids, TEXT), pa.array(GEOMETRIES, TEXT), attributes)
    texts.validate(full=True)
    return [text.encode() for text in texts.to_pylist()]


def batch(**columns: tuple[list[Any], Any]) -> pa.RecordBatch:
    fields = [
        pa.field(name, pa.int64() if metadata == OMIT_NULLS else TEXT, metadata=metadata)
        for name, (_, metadata) in columns.items()
    ]
    arrays = [pa.array(values, item.type) for item, (values, _) in zip(fields, columns.values(), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


@pytest.mark.parametrize(
    "attributes",
    [
        batch(),
        batch(a=(["x", None, "{,"], None)),
        batch(a=([1, None, 2], OMIT_NULLS), b=([None, None, 3], OMIT_NULLS)),
        batch(a=(["1", None, '{"a":\n[1, null]}'], JSON_TEXT), b=(["{,", "é", None], None)),
        batch(a=([None] * 3, OMIT_NULLS), b=([None, '"{,"', "null"], JSON_TEXT), c=([1, None, None], OMIT_NULLS)),
        batch(a=([1, 2, 3], OMIT_NULLS), b=([None] * 3, JSON_TEXT)),
        pa.RecordBatch.from_arrays([pa.array(["x", None, '"\n\\'], TEXT)] * len(ODD_NAMES), ODD_NAMES),
        typed_attributes().combine_chunks().to_batches()[0],
    ],
    ids=["none", "texts", "absent", "json", "first absent", "last absent", "odd names", "all types"],
)
@pytest.mark.parametrize("ids", [[None] * 3, ["1", None, '"a\\""'], ["1", "2", "3"]], ids=["none", "some", "all"])
def test_features_are_those_of_a_dictionary_for_each(ids: list[str | None], attributes: pa.RecordBatch) -> None:
    assert written(ids, attributes) == row_by_row(ids, attributes)


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        (None, [None] * 3),
        (pa.array([1, None, -3]), ["1", None, "-3"]),
        (pa.array(["b", None, 'a"\n']), ['"b"', None, '"a\\"\\n"']),
        (pa.array(["1", None, '"b"'], TEXT), ["1", None, '"b"']),
        (pa.array([1.5, None, float("nan")]), ["1.5", None, "null"]),
    ],
    ids=["none", "numbers", "texts", "json", "fractions"],
)
def test_ids_are_json_texts(ids: pa.Array | None, texts: list[str | None]) -> None:
    assert id_texts(ids, 3).to_pylist() == texts


@pytest.mark.parametrize("positions", [1, 6, 2**15])
def test_rows_stay_in_their_order_however_many_are_made_text_at_once(
    tmp_path: Path, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.features.writing.geojson._POSITIONS_AT_ONCE", positions)
    shapes = [None, BOX, wkt("POINT (500000 5500000)"), None, BOX, wkt("POINT EMPTY"), BOX, None]
    path, _ = write_layer(make_layer(shapes, ids=list("abcdefgh")), GEOJSON, tmp_path, rows_at_once=5)
    features = msgspec.json.decode(path.read_bytes())["features"]
    assert [(item["id"], item["properties"]["n"]) for item in features] == list(zip("abcdefgh", range(8), strict=True))
    kinds = [item["geometry"] and item["geometry"]["type"] for item in features]
    assert kinds == [None, "Polygon", "Point", None, "Polygon", "Point", "Polygon", None]
    assert path.read_bytes().count(b"\n") == 2 + len(shapes)
