"""The list of formats, and a format that is not in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyproj
import pytest
import shapely

from conftest import write_layer
from layers import make_layer, make_table, wkt
from processes.features.writing import formats
from processes.features.writing.format import HEIGHTS, Format
from processes.features.writing.formats import FORMATS, format_of_ending, format_of_media_type, offered_formats
from processes.features.writing.geometry import late_warnings, output_transform
from processes.features.writing.result import ResultLayer
from processes.ogc.results import results_document


def write_lines(result: ResultLayer, crs: pyproj.CRS | None, path: Path) -> Sequence[str]:
    """Write a line of WKT per row, after the attributes' names."""
    transform = output_transform(result.crs, crs)
    with path.open("x") as file:
        file.write(",".join(f"{item.name}:{item.type}" for item in result.schema) + "\n")
        for rows in result.rows():
            assert transform is not None
            shapes = transform.apply(rows.geometry, rows.attributes.num_rows)
            file.writelines(f"{text}\n" for text in shapely.to_wkt(shapes, output_dimension=3))
    return late_warnings(transform)


TOY = Format(
    media_type="text/x-lines",
    name="Lines",
    ending=".lines",
    schema={"type": "string", "title": "Lines of WKT"},
    write=write_lines,
    needs_geometry=True,
    is_caseless=True,
    reserved_names=lambda result: {"line"} if result.id_type is None else {"line", "id"},
    kept_dimensions=lambda _: HEIGHTS,
    why_left_out="lines have none",
)


def test_a_new_format_is_written_by_what_it_says_of_itself(tmp_path: Path) -> None:
    attributes = pa.table({"Line": [1], "a": [2], "A": [3], "ID": [4]})
    path, warnings = write_layer(make_layer([wkt("POINT ZM (500000 1 2 3)")], attributes), TOY, tmp_path)
    assert path.suffix == ".lines"
    assert path.read_text() == "Line_1:int64,a:int64,A_1:int64,ID:int64,ClassStatus:string\nPOINT Z (500000 1 2)\n"
    assert warnings == [
        "attribute 'Line' is named 'Line_1' in the result: the name is taken in this format",
        "attribute 'A' is named 'A_1' in the result: the name is taken in this format",
        "measures (M) of coordinates are left out: lines have none",
    ]


def test_a_new_format_is_offered_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS[:-1], TOY, FORMATS[-1]))
    assert offered_formats(is_table=False)[-1] is TOY
    assert TOY not in offered_formats(is_table=True)
    assert format_of_media_type("text/x-lines") is format_of_ending(".LINES") is TOY


def test_the_first_offer_is_the_default() -> None:
    assert offered_formats(is_table=False)[0].name == "GeoJSON"
    assert offered_formats(is_table=True)[0].name == "table"


def test_no_two_formats_share_a_media_type_or_an_ending() -> None:
    assert len({item.media_type for item in FORMATS}) == len({item.ending for item in FORMATS}) == len(FORMATS)
    assert format_of_ending(".shp") is None


@pytest.mark.parametrize("output_format", [*FORMATS, TOY], ids=lambda item: item.ending)
def test_a_results_document_holds_a_format_as_its_schema_says(output_format: Format) -> None:
    document = json.loads(b"".join(results_document("a", output_format.media_type, iter([b"{}"]))))["a"]
    is_binary = output_format.schema.get("format") == "binary"
    assert document.get("encoding") == ("base64" if is_binary else None)
    assert isinstance(document["value"], dict) == (output_format.schema["type"] == "object")
    assert document["mediaType"] == output_format.media_type


@pytest.mark.parametrize("output_format", FORMATS, ids=lambda item: item.ending)
def test_a_table_is_written_in_every_format_that_needs_no_geometry(tmp_path: Path, output_format: Format) -> None:
    if not output_format.needs_geometry:
        path, warnings = write_layer(make_table(pa.table({"n": [1]})), output_format, tmp_path)
        assert path.stat().st_size
        assert warnings == []
