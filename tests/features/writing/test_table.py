"""The table document: a Table Schema as `pandas.read_json(…, orient="table")` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from conftest import write_layer
from layers import BOX, ODD_NAMES, TYPES, make_layer, make_table, typed_attributes
from processes.features.layer import Layer
from processes.features.reading.geojson import read_geojson
from processes.features.writing.table import TABLE
from processes.settings import Limits
from tables import each_row


def from_geojson(features: list[dict[str, Any]]) -> Layer:
    items = [{"type": "Feature", "geometry": None, "properties": {"a": 1}} | item for item in features]
    return read_geojson(json.dumps({"type": "FeatureCollection", "features": items}).encode(), "layer", Limits())


def document_of(layer: Layer, folder: Path) -> dict[str, Any]:
    path, _ = write_layer(layer, TABLE, folder)
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_table_is_a_table_schema_document(tmp_path: Path) -> None:
    document = document_of(make_layer([BOX] * 3, typed_attributes()), tmp_path)
    assert list(document) == ["schema", "data", "summary"]
    schema = document["schema"]
    assert schema["primaryKey"] == ["id"]
    assert schema["pandas_version"] == "1.4.0"
    assert schema["fields"][0] == {"name": "id", "type": "string"}
    integer, boolean = {"type": "integer", "extDtype": "Int64"}, {"type": "boolean", "extDtype": "boolean"}
    kinds = {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in schema["fields"]}
    assert kinds["flag"] == boolean
    assert kinds["short"] == kinds["long"] == integer
    assert kinds["single"] == kinds["double"] == kinds["money"] == {"type": "number"}
    assert kinds["date"] == kinds["local"] == {"type": "datetime"}
    assert kinds["instant"] == kinds["nanos"] == {"type": "datetime", "tz": "UTC"}
    assert all(kinds[name] == {"type": "string"} for name in ("text", "clock", "blob", "list", "unsigned", "category"))
    assert [list(row) for row in document["data"]] == [["id", *TYPES, "ClassStatus"]] * 3
    assert [row["id"] for row in document["data"]] == ["1", "2", "3"]
    first, second, _ = document["data"]
    assert (first["flag"], first["long"], first["double"], first["money"]) == (True, 2**62 + 1, 0.1 + 0.2, 1234.5)
    assert (first["date"], first["instant"]) == ("2024-02-29", "2024-02-29T12:30:01.500000Z")
    assert set(second.values()) == {"2", None, "ok"}
    assert document["summary"] == {"counts": {"é": 1}, "warnings": []}


def test_pandas_reads_values_types_and_nulls(tmp_path: Path, pandas: Any) -> None:
    path, _ = write_layer(make_layer([BOX] * 3, typed_attributes(), ["b", None, "a"]), TABLE, tmp_path)
    table = pandas.read_json(path, orient="table")
    assert table.index.name == "id"
    assert table.index.tolist() == ["b", "2", "a"]
    first = table.iloc[0]
    assert (first["flag"], first["short"], first["double"], first["text"]) == (True, -3, 0.1 + 0.2, TYPES["text"][1])
    for name in ("instant", "nanos", "local"):
        assert first[name].isoformat().startswith("2024-02-29T12:30:01.5")
    assert (
        table.dtypes.astype(str).to_dict() | {"short": "Int64", "flag": "boolean"} == table.dtypes.astype(str).to_dict()
    )
    assert str(table["instant"].dtype) == "datetime64[ns, UTC]"
    assert table.iloc[1].drop("ClassStatus").isna().all()


def test_pandas_reads_a_table_without_rows_and_one_with_odd_names(tmp_path: Path, pandas: Any) -> None:
    path, _ = write_layer(make_layer([], typed_attributes().slice(0, 0)), TABLE, tmp_path)
    assert list(pandas.read_json(path, orient="table").columns) == [*TYPES, "ClassStatus"]
    attributes = pa.table({name: [number] for number, name in enumerate([*ODD_NAMES, "Name", "name"])})
    path, _ = write_layer(make_layer([BOX], attributes), TABLE, tmp_path)
    table = pandas.read_json(path, orient="table")
    assert list(table.columns) == [*ODD_NAMES, "Name", "name", "ClassStatus"]
    assert table.iloc[0].drop("ClassStatus").tolist() == list(range(len(ODD_NAMES) + 2))


@each_row(
    ("ids", "expected"),
    [
        ([7, 3], ["7", "3"]),
        (["b", "a"], ["b", "a"]),
        ([1, "a", None], ["1", "a", "3"]),
        ([None, "b"], ["1", "b"]),
        ([None, None], ["1", "2"]),
        ([2**70, 1], [str(2**70), "1"]),
    ],
    ids=str,
)
def test_ids_of_a_table_are_texts_and_the_position_where_there_is_none(
    tmp_path: Path, ids: list[Any], expected: list[str]
) -> None:
    rows = document_of(from_geojson([{"id": item} for item in ids]), tmp_path)["data"]
    assert [row["id"] for row in rows] == expected


def test_table_without_ids_counts_its_rows(tmp_path: Path) -> None:
    rows = document_of(make_table(pa.table({"n": pa.array([1, None], pa.int64()), "s": ["x", None]})), tmp_path)["data"]
    assert rows == [
        {"id": "1", "n": 1, "s": "x", "ClassStatus": "ok"},
        {"id": "2", "n": None, "s": None, "ClassStatus": "ok"},
    ]


def test_values_that_not_all_features_have_keep_their_type(tmp_path: Path) -> None:
    rows = [
        {"n": None, "x": 1, "s": None, "v": "a"},
        {},
        {"n": 5, "x": 0.5, "s": "null", "v": [1]},
        {"x": None, "v": None},
    ]
    document = document_of(from_geojson([{"properties": properties} for properties in rows]), tmp_path)
    assert [item["type"] for item in document["schema"]["fields"]] == [
        "string",
        "integer",
        "number",
        "string",
        "string",
        "string",
    ]
    values = [[row[name] for name in "nxsv"] for row in document["data"]]
    assert values == [[None, 1, None, "a"], [None] * 4, [5, 0.5, "null", "[1]"], [None] * 4]


def test_attribute_id_of_a_table_is_renamed_and_nested_values_are_texts(tmp_path: Path) -> None:
    layer = from_geojson([{"properties": {"ID": 5, "nested": {"a": [1]}}}, {"properties": {}}])
    document = document_of(layer, tmp_path)
    assert [item["name"] for item in document["schema"]["fields"]] == ["id", "ID_1", "nested", "ClassStatus"]
    assert document["data"] == [
        {"id": "1", "ID_1": 5, "nested": '{"a":[1]}', "ClassStatus": "ok"},
        {"id": "2", "ID_1": None, "nested": None, "ClassStatus": "ok"},
    ]
    assert len(document["summary"]["warnings"]) == 1
