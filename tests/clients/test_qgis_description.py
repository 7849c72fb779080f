"""What the QGIS plugin makes of descriptions, formats and errors, without QGIS."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ogcapi_processes.description import InputKind, OutputKind, ProcessInput, read_process
from ogcapi_processes.formats import best, ending, media_type_of
from ogcapi_processes.problems import input_of, read_problem
from processes import __version__
from processes.classify.description import describe
from service import ROOT

PLUGIN = ROOT / "clients" / "qgis" / "ogcapi_processes"
WITHOUT_QGIS = ("__init__", "description", "formats", "problems")
STANDARD = json.loads((Path(__file__).parent / "echo_process.json").read_text())
"""The example of OGC API - Processes - Part 1 (18-062r2, OGC Document License), with some of its outputs."""


def inputs_of(document: Any) -> dict[str, ProcessInput]:
    return {given.id: given for given in read_process(document).inputs}


def an_input(schema: Any, name: str = "x", **entry: Any) -> ProcessInput:
    return inputs_of({"id": "p", "inputs": {name: {"schema": schema, **entry}}})[name]


def test_null_says_as_much_as_nothing() -> None:
    members = ("title", "description", "keywords", "links", "jobControlOptions", "outputs")
    entry = {"schema": {"type": "string"}}
    of_input = ("title", "description", "minOccurs", "maxOccurs")
    nulls = {"id": "p", **dict.fromkeys(members), "inputs": {"x": {**entry, **dict.fromkeys(of_input)}}}
    assert read_process(nulls) == read_process({"id": "p", "inputs": {"x": entry}})
    assert read_process({"id": "p", "inputs": None}) == read_process({"id": "p"})


def test_inputs_of_this_service_are_what_a_person_gives() -> None:
    process = read_process(describe(["roof-damage", "trees"]))
    kinds = {given.id: given.kind for given in process.inputs}
    assert kinds == {
        "image": InputKind.RASTER,
        "features": InputKind.VECTOR,
        "model": InputKind.CHOICE,
        "modelArguments": InputKind.JSON,
        "classLabelField": InputKind.TEXT,
        "processingMode": InputKind.CHOICE,
        "resultName": InputKind.TEXT,
        "extent": InputKind.EXTENT,
        "cellSize": InputKind.NUMBER,
        "parallelProcessingFactor": InputKind.TEXT,
        "processorType": InputKind.CHOICE,
        "recycleInterval": InputKind.INTEGER,
        "retries": InputKind.INTEGER,
        "outputCrs": InputKind.CRS,
    }
    shown = [given.id for given in process.inputs if not given.advanced]
    assert shown == ["image", "features", "model", "extent"]
    assert [given.id for given in process.inputs if given.required] == ["image", "model"]
    assert [given.id for given in process.inputs if given.takes_link] == ["image", "features"]
    known = {given.id: given for given in process.inputs}
    assert known["image"].multiple
    assert not known["image"].always_list
    assert known["model"].choices == ("roof-damage", "trees")
    assert (known["retries"].minimum, known["retries"].maximum, known["retries"].default) == (0, 10, 0)
    assert known["features"].media_types == ("application/geo+json",)
    (output,) = process.outputs
    assert output.kind is OutputKind.VECTOR
    assert output.media_types[:2] == ("application/geo+json", "application/geopackage+sqlite3")
    assert (process.sync, process.job) == (True, True)


def test_a_description_that_does_not_say_how_it_runs_may_run_both_ways() -> None:
    ways = {
        (): (True, True),
        ("sync-execute",): (True, False),
        ("async-execute",): (False, True),
        ("sync-execute", "dismiss"): (True, False),
    }
    for options, expected in ways.items():
        process = read_process({"id": "p", "jobControlOptions": list(options)})
        assert (process.sync, process.job) == expected
    assert (read_process({"id": "p"}).sync, read_process({"id": "p"}).job) == (True, True)


def test_inputs_of_the_standard_s_example() -> None:
    process = read_process(STANDARD)
    kinds = {given.id: (given.kind, given.multiple, given.always_list) for given in process.inputs}
    assert kinds == {
        "stringInput": (InputKind.CHOICE, False, False),
        "measureInput": (InputKind.JSON, False, False),
        "dateInput": (InputKind.DATE_TIME, False, False),
        "doubleInput": (InputKind.NUMBER, False, False),
        "arrayInput": (InputKind.INTEGER, True, True),
        "complexObjectInput": (InputKind.JSON, False, False),
        "geometryInput": (InputKind.GEOMETRY, True, False),
        "boundingBoxInput": (InputKind.EXTENT, False, False),
        "imagesInput": (InputKind.RASTER, True, False),
        "featureCollectionInput": (InputKind.VECTOR, False, False),
    }
    assert {output.id: output.kind for output in process.outputs} == {
        "stringOutput": OutputKind.FILE,
        "doubleOutput": OutputKind.FILE,
        "geometryOutput": OutputKind.VECTOR,
        "boundingBoxOutput": OutputKind.FILE,
        "imagesOutput": OutputKind.RASTER,
        "featureCollectionOutput": OutputKind.VECTOR,
    }


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "boolean"}, InputKind.BOOLEAN),
        ({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}, InputKind.LITERAL),
        ({"oneOf": [{"type": "number"}, {"type": "null"}]}, InputKind.NUMBER),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, InputKind.TEXT),
        ({"type": "string", "contentEncoding": "base64"}, InputKind.FILE),
        ({"type": "object", "properties": {"href": {"type": "string"}}}, InputKind.FILE),
        ({"$ref": "http://schemas.opengis.net/ogcapi/processes/part1/1.0/openapi/schemas/bbox.yaml"}, InputKind.EXTENT),
        ({"type": "string", "contentMediaType": "application/vnd.google-earth.kml+xml"}, InputKind.VECTOR),
        ({"type": "string", "contentMediaType": "application/x-netcdf"}, InputKind.RASTER),
        ({"type": "string", "contentMediaType": "text/xml"}, InputKind.TEXT),
        ({}, InputKind.JSON),
    ],
)
def test_a_schema_says_what_a_person_gives(schema: Any, kind: InputKind) -> None:
    assert an_input(schema).kind is kind


def test_names_say_what_a_schema_does_not() -> None:
    assert an_input({"type": "string"}, "targetSrs").kind is InputKind.CRS
    assert an_input({"type": "string"}, "t", title="Target CRS").kind is InputKind.CRS
    assert an_input({"type": "string"}, "discrete").kind is InputKind.TEXT
    box = an_input({"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}, "bbox")
    assert (box.kind, box.plain_box, box.multiple, box.always_list) == (InputKind.EXTENT, True, False, False)


def test_occurrences_and_lists() -> None:
    several = an_input({"type": "string"}, maxOccurs="unbounded")
    assert (several.multiple, several.always_list) == (True, False)
    one_or_more = an_input({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    assert (one_or_more.kind, one_or_more.multiple, one_or_more.always_list) == (InputKind.TEXT, True, False)
    wkt_or_geojson = {"oneOf": [{"type": "string"}, {"$ref": "https://example.org/geometryGeoJSON.yaml"}]}
    shapes = an_input({"type": "array", "items": wkt_or_geojson})
    assert (shapes.kind, shapes.always_list) == (InputKind.GEOMETRY, True)


def test_a_default_makes_an_input_optional() -> None:
    assert not an_input({"type": "number", "default": 5}).required
    assert an_input({"type": "number"}).required
    assert not an_input({"type": "number"}, minOccurs=0).required


def test_texts_in_several_languages_and_lists_of_inputs_are_read() -> None:
    document = {
        "id": "p",
        "title": {"fr": "Bonjour", "en": "Hello"},
        "inputs": [{"id": "a", "title": {"fr": "Nom"}, "schema": {"type": "string"}}],
    }
    process = read_process(document)
    assert (process.title, process.inputs[0].title) == ("Hello", "Nom")
    with pytest.raises(ValueError, match="without an id"):
        read_process({"title": "no process"})


def test_formats_fit_the_file_that_is_wanted() -> None:
    offered = ("application/geo+json", "application/geopackage+sqlite3", "application/vnd.apache.parquet", "text/csv")
    assert best(offered, ".GPKG") == "application/geopackage+sqlite3"
    assert best(offered, ".csv") == "text/csv"
    assert best(offered, ".shp") == "application/geopackage+sqlite3"  # keeps most, and can be read
    assert best(("application/json", "text/plain"), ".pdf") == "application/json"
    assert best((), ".json") is None
    assert ending("image/tiff; application=geotiff") == ".tif"
    assert ending("application/vnd.example+json") == ".json"
    assert media_type_of(".fgb") == "application/vnd.flatgeobuf"
    assert media_type_of(".xyz") is None


def test_faults_lead_to_their_inputs() -> None:
    problem = {
        "type": "InvalidParameterValue",
        "title": "Bad Request",
        "detail": "all",
        "errors": [
            {"pointer": "/inputs/image/0/href", "detail": "not here"},
            {"pointer": "#/inputs/a~1b~0c", "detail": "no"},
            {"pointer": "/outputs", "detail": "none"},
        ],
    }
    error = read_problem(400, json.dumps(problem).encode())
    assert (str(error), error.status) == ("all", 400)
    assert [(fault.input_id, fault.detail) for fault in error.faults] == [
        ("image", "not here"),
        ("a/b~c", "no"),
        (None, "none"),
    ]
    assert str(read_problem(500, b"<html>")) == "The server answered with status 500"
    assert str(read_problem(404, b'{"code": "x", "description": "no such process"}')) == "no such process"
    assert str(read_problem(502, b"[1]")) == "The server answered with status 502"
    assert input_of("/inputs") is None


def test_modules_are_short_and_import_what_qgis_brings() -> None:
    for path in sorted(PLUGIN.glob("*.py")):
        text = path.read_text()
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {
            name.split(".")[0]
            for node in nodes
            if not (isinstance(node, ast.ImportFrom) and node.level)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names]
            )
        }
        allowed = set() if path.stem in WITHOUT_QGIS else {"qgis", "osgeo"}
        assert names - sys.stdlib_module_names <= allowed, path.name
        assert text.count("\n") <= 350, path.name
        assert "PyQt5" not in text, path.name


def test_the_package_is_what_qgis_installs(tmp_path: Path) -> None:
    target = tmp_path / "plugin.zip"
    subprocess.run([sys.executable, ROOT / "clients" / "qgis" / "package.py", target], check=True)
    with zipfile.ZipFile(target) as package:
        names = package.namelist()
        metadata = package.read("ogcapi_processes/metadata.txt").decode()
    assert {name.split("/")[0] for name in names} == {"ogcapi_processes"}
    assert {"ogcapi_processes/__init__.py", "ogcapi_processes/icon.svg", "ogcapi_processes/LICENSE"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    assert re.search(r"^version=(.*)$", metadata, re.MULTILINE)[1] == __version__  # type: ignore[index]
    assert re.search(r"^hasProcessingProvider=yes$", metadata, re.MULTILINE)
    assert target.read_bytes() == rebuilt(tmp_path)


def rebuilt(folder: Path) -> bytes:
    """Return the package, made a second time."""
    subprocess.run([sys.executable, ROOT / "clients" / "qgis" / "package.py", folder / "again.zip"], check=True)
    return (folder / "again.zip").read_bytes()
