"""Models as STAC items of MLM 1.6: sound by STAC's and MLM's schemas, and with nothing that nobody has said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator, FormatChecker
from onnx import TensorProto
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry
from referencing.jsonschema import DRAFT7
from stac_model.schema import MLModelProperties

from conftest import MakePackage
from model_networks import THREE, band_means, save_network
from processes.describe_model import model_info
from processes.model.catalog import Catalog, Model
from processes.model.mlm import stac_item
from processes.programs.cli import main
from pth_files import pth
from pth_networks import mobilenet_weights, state_dict
from service import ROOT, Client, models_checked_here
from tables import each_row

SCHEMA = json.loads((ROOT / "tests" / "schemas" / "mlm_1_6_items.json").read_text())
_CLASS = {
    "type": "object",
    "required": ["value", "name"],
    "properties": {
        "value": {"type": "integer"},
        "description": {"type": "string"},
        "name": {"type": "string", "pattern": "^[0-9A-Za-z-_]+$"},
        "color_hint": {"type": "string", "pattern": "^([0-9A-Fa-f]{6})$"},
    },
}
_STAC = "https://stac-extensions.github.io"
OTHERS: Mapping[str, Any] = {
    f"{_STAC}/classification/v1.1.0/schema.json": {
        "definitions": {
            "fields": {
                "properties": {
                    "classification:classes": {"type": "array", "uniqueItems": True, "minItems": 1, "items": _CLASS}
                }
            }
        }
    },
    f"{_STAC}/processing/v1.1.0/schema.json": {
        "definitions": {
            "fields": {
                "properties": {
                    "processing:expression": {
                        "type": "object",
                        "required": ["format", "expression"],
                        "properties": {"format": {"type": "string"}},
                    }
                }
            }
        }
    },
    f"{_STAC}/raster/v1.1.0/schema.json": {
        "definitions": {
            "bands": {"items": {"properties": {"data_type": {"enum": ["uint8", "float16", "float32", "float64"]}}}}
        }
    },
}
"""What the extension takes of others, in their words; of classes by version 2, which is stricter."""
CARD: Mapping[str, Any] = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "stac_extensions": [f"{_STAC}/mlm/v1.5.0/schema.json"],
    "id": "another",
    "geometry": {"type": "Polygon", "coordinates": [[[-10, 40], [30, 40], [30, 60], [-10, 60], [-10, 40]]]},
    "bbox": [-10, 40, 30, 60],
    "properties": {
        "datetime": "2024-05-01T00:00:00Z",
        "title": "Roofs",
        "license": "CC-BY-4.0",
        "providers": [{"name": "A survey", "roles": ["producer"]}],
        "mlm:name": "another",
        "mlm:architecture": "ResNet",
        "mlm:framework": "PyTorch",
        "mlm:framework_version": "2.8.0",
        "mlm:total_parameters": 11_000_000,
        "mlm:hyperparameters": {"epochs": 40},
        "mlm:input": "of no meaning here",
        "mlm:output": [{"classification:classes": [{"value": 1, "name": "other"}]}],
        "sha256": "0" * 64,
        "bands": [{"name": "SWIR"}],
    },
    "links": [],
    "assets": {},
}


@pytest.fixture(autouse=True)
def checked_here() -> Iterator[None]:
    with models_checked_here():
        yield


def require_sound(item: Mapping[str, Any]) -> None:
    """Hold an item against the schemas, without a network, and read it with the libraries."""
    schemas = {**get_local_schema_cache(), **OTHERS}
    registry: Any = Registry().with_resources((uri, DRAFT7.create_resource(text)) for uri, text in schemas.items())
    core = next(text for uri, text in schemas.items() if uri.endswith("/item.json"))
    for schema in (core, SCHEMA):
        errors = Draft7Validator(schema, registry=registry, format_checker=FormatChecker()).iter_errors(item)
        assert not [f"{error.json_path}: {error.message[:200]}" for error in errors]
    read = pystac.Item.from_dict(dict(item))
    properties = {name.removeprefix("mlm:"): value for name, value in read.properties.items() if "mlm:" in name}
    MLModelProperties(**properties)


def model(folder: Path, name: str = "brightness") -> Model:
    return Catalog((folder / "models",), folder / "state", 2**26).model(name)


def shipped() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "models").glob("*/*.emd"))


def test_items_of_the_shipped_models_are_sound(tmp_path: Path) -> None:
    models = Catalog((ROOT / "models",), tmp_path / "state", 2**26)
    for name in shipped():
        require_sound(stac_item(models.model(name)))


ODD: list[dict[str, Any]] = [
    {"Normalization": "none", "Activation": "none"},
    {"MetaDataMode": "MultiLabeled_Tiles", "Activation": None},
    {"DataRange": [0, 1]},
    {"ExtractBands": ["Red", "NearInfrared", "Red"]},
    {"CropSizeFixed": 0, "BatchSize": 7, "Framework": "Keras"},
    {"Framework": "arcgis.learn.models._inferencing", "Normalization": None},
    {"Classes": [{"Value": 1, "Name": "Eiche, grün"}, {"Value": -2, "Name": "Eiche  grün"}], "Activation": "sigmoid"},
]


@pytest.mark.parametrize("changes", ODD)
def test_items_of_other_packages_are_sound(tmp_path: Path, make_package: MakePackage, changes: dict[str, Any]) -> None:
    make_package(**changes)
    require_sound(stac_item(model(tmp_path)))


@pytest.mark.parametrize("name", ["a", "ü", "7", "é.v2", "-", "trees of the north.", "x" * 200])
def test_every_id_makes_a_sound_item(tmp_path: Path, make_package: MakePackage, name: str) -> None:
    make_package(name)
    item = stac_item(model(tmp_path, name))
    require_sound(item)
    assert item["id"] == name


def test_item_says_what_the_package_says(tmp_path: Path, make_package: MakePackage) -> None:
    make_package(BatchSize=7)
    found = model(tmp_path)
    item = stac_item(found)
    properties = item["properties"]
    (taken,), (given,) = properties["mlm:input"], properties["mlm:output"]
    assert taken["input"] == {"shape": [-1, 3, 8, 8], "dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"}  # fmt: skip
    assert taken["resize_type"] == "crop"
    assert [scaling["type"] for scaling in taken["value_scaling"]] == ["z-score"] * 3
    cells = np.array([[0.0, 100, 255]] * 3)
    scaled = [(row - part["mean"]) / part["stddev"] for row, part in zip(cells, taken["value_scaling"], strict=True)]
    np.testing.assert_allclose(scaled, cells / 255 - 0.5, atol=1e-6)
    assert given["result"] == {"shape": [-1, 2], "dim_order": ["batch", "class"], "data_type": "float32"}
    assert given["classification:classes"] == [
        {"value": 10, "name": "dark", "description": "dark", "color_hint": "000000"},
        {"value": 20, "name": "bright", "description": "bright", "color_hint": "FFFFFF"},
    ]
    assert given["post_processing_function"]["expression"].endswith("Softmax.html")
    assert (properties["sha256"], properties["mlm:batch_size_suggestion"]) == (found.sha256, 7)
    assert item["assets"]["model"]["href"] == "net.onnx"


def test_what_nobody_says_is_left_out(tmp_path: Path, make_package: MakePackage) -> None:
    make_package(Framework=None, Normalization="none")
    item = stac_item(model(tmp_path))
    assert (item["geometry"], "bbox" in item) == (None, False)
    assert set(item["properties"]) == {
        *("datetime", "start_datetime", "end_datetime", "sha256"),
        *("mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"),
    }
    assert item["properties"]["mlm:architecture"] == "unknown"
    assert None not in item["properties"]["mlm:input"][0].values()
    assert "value_scaling" not in item["properties"]["mlm:input"][0]


def test_network_of_bytes_whose_bands_come_last_is_told_so(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package(Classes=THREE, Activation="softmax", Normalization=None)
    save_network(folder / "net.onnx", band_means((1, 2), cast=True), shape=(4, 8, 8, 3), element=TensorProto.UINT8)
    item = stac_item(model(tmp_path))
    require_sound(item)
    assert item["properties"]["mlm:input"][0]["input"] == {
        "shape": [4, 8, 8, 3],
        "dim_order": ["batch", "height", "width", "channel"],
        "data_type": "uint8",
    }


def test_network_of_pytorch_is_told_as_such(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package(
        ModelFile="net.pth", ModelParameters={"backbone": "mobilenet_v2"}, ImageHeight=32, ImageWidth=32
    )
    (folder / "net.pth").write_bytes(pth(state_dict(mobilenet_weights(3, 2))))
    item = stac_item(model(tmp_path))
    require_sound(item)
    assert item["properties"]["mlm:architecture"] == "mobilenet_v2"
    assert (item["assets"]["model"]["href"], item["assets"]["model"]["mlm:artifact_type"]) == ("net.pth", "torch.save")


def test_card_of_a_package_is_shown_and_changes_nothing_else(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package(BatchSize=7, Framework=None)
    before = model(tmp_path)
    plain, told = stac_item(before), model_info(before)
    (folder / "card.json").write_text(json.dumps(CARD))
    after = model(tmp_path)
    assert (after.sha256, after.definition, after.activation) == (before.sha256, before.definition, before.activation)
    item = stac_item(after)
    require_sound(item)
    assert (item["geometry"]["type"], item["bbox"]) == ("Polygon", [-10, 40, 30, 60])
    taken = {name: CARD["properties"][name] for name in ("datetime", "title", "license", "providers", "mlm:architecture", "mlm:framework", "mlm:framework_version", "mlm:total_parameters", "mlm:hyperparameters")}  # fmt: skip
    assert {name: item["properties"][name] for name in taken} == taken
    for name in ("mlm:name", "mlm:input", "mlm:output", "sha256", "mlm:batch_size_suggestion"):
        assert item["properties"][name] == plain["properties"][name]
    assert "bands" not in item["properties"]
    assert model_info(after)["card"] == taken
    assert [warning[:40] for warning in model_info(after)["warnings"]] == ["the model card has the classes 'other', "]
    assert "card" not in told


def test_definition_wins_over_the_card(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package(Framework="Keras", ModelParameters={"backbone": "vgg16"})
    (folder / "card.json").write_text(json.dumps(CARD))
    properties = stac_item(model(tmp_path))["properties"]
    assert (properties["mlm:framework"], properties["mlm:architecture"]) == ("Keras", "vgg16")


def of_card(found: Model) -> list[str]:
    return [warning for warning in found.warnings if "the model card" in warning]


@pytest.mark.parametrize("changes", ODD)
def test_card_that_says_what_the_package_says_gives_no_warning(
    tmp_path: Path, make_package: MakePackage, changes: dict[str, Any]
) -> None:
    folder = make_package(**changes)
    (folder / "card.json").write_text(json.dumps(stac_item(model(tmp_path))))
    assert of_card(model(tmp_path)) == []


CLASSES_WARNING = "the model card has the classes {}, the .emd has 'dark', 'bright', which count: one of them is wrong"
BANDS_WARNING = "the model card says that the network takes 4 bands, but it takes 3"
SWAPPED = [{"value": 10, "name": "bright"}, {"value": 20, "name": "dark"}]
CARDS: Mapping[str, tuple[list[dict[str, Any]], tuple[list[int], list[str]], list[str]]] = {
    "others": (
        [{"value": 0, "name": "ash"}, {"value": 1, "name": "oak"}],
        ([-1, 3, 8, 8], ["batch", "bands", "height", "width"]),
        [CLASSES_WARNING.format("'ash', 'oak'")],
    ),
    "swapped": (SWAPPED, ([-1, -1, 8, 8], ["batch", "bands", "height", "width"]), [CLASSES_WARNING.format("'bright', 'dark'")]),
    "more": (
        [{"value": value, "name": f"{'n' * 50}{value}"} for value in range(7)],
        ([3], ["batch", "channel"]),
        [CLASSES_WARNING.format(f"{', '.join([repr('n' * 40)] * 5)} and 2 more")],
    ),
    "bands": (
        [{"value": 0, "name": "Dark"}, {"value": 1, "name": "no-2", "description": "bright"}],
        ([-1, 8, 8, 4], ["batch", "height", "width", "channel"]),
        [BANDS_WARNING],
    ),
    "odd": ([{"value": "x", "name": ["dark"]}], ([4, 4], ["bands", "channel"]), []),
}  # fmt: skip


@each_row("row", CARDS)
def test_card_that_contradicts_the_package_gives_a_warning(row: str, tmp_path: Path, make_package: MakePackage) -> None:
    classes, (shape, axes), expected = CARDS[row]
    folder = make_package(row, tmp_path / "models")
    stated = {
        "mlm:input": [{"name": "chips", "input": {"shape": shape, "dim_order": axes}}],
        "mlm:output": [{"classification:classes": classes}, {"name": "of no classes"}],
    }
    (folder / "card.json").write_text(json.dumps({**CARD, "properties": stated}))
    assert of_card(model(tmp_path, row)) == expected


WRONG: Mapping[str, Any] = {
    "no JSON": "{",
    "another type": {**CARD, "type": "Collection"},
    "no extension": {**CARD, "stac_extensions": []},
    "no properties": {**CARD, "properties": None},
    "types": {**CARD, "properties": {name: [] for name in CARD["properties"]}},
    "time": {**CARD, "properties": {"datetime": "yesterday"}},
    "half an interval": {**CARD, "properties": {"start_datetime": "2024-05-01T00:00:00Z"}},
    "geometry": {**CARD, "geometry": {"type": "Polygon", "coordinates": "here"}},
    "geometry of another type": {**CARD, "geometry": {"type": "Sphere"}},
    "hyperparameters": {**CARD, "properties": {"mlm:hyperparameters": {"not allowed!": 1}}},
    "version": {**CARD, "properties": {"mlm:framework_version": "two"}},
    "deep": "[" * 100_000,
}


@each_row("row", WRONG)
def test_card_that_is_none_harms_nothing(row: str, tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package(row.replace(" ", "-"), tmp_path / "models")
    card = WRONG[row]
    (folder / "card.json").write_text(card if isinstance(card, str) else json.dumps(card))
    found = model(tmp_path, folder.name)
    require_sound(stac_item(found))
    model_info(found)


def test_command_prints_the_item(tmp_path: Path) -> None:
    given = ["model", "show", str(ROOT / "models" / "roof-damage")]
    as_json = json.loads(CliRunner().invoke(main, given, catch_exceptions=False).output)
    as_stac = json.loads(CliRunner().invoke(main, [*given, "--stac"], catch_exceptions=False).output)
    require_sound(as_stac)
    assert as_json["sha256"] == as_stac["properties"]["sha256"]
    missing = CliRunner().invoke(main, ["model", "show", "nonesuch"])
    assert (missing.exit_code, "there is no model 'nonesuch'" in missing.output) == (1, True)


def test_process_gives_the_item_where_it_is_asked_for(shipped: Client) -> None:
    def ask(headers: Any = None, **members: Any) -> Any:
        return shipped.execute("describe-model", {"model": "roof-damage"}, headers, **members)

    def wanted(media_type: str) -> dict[str, Any]:
        return {"modelInfo": {"format": {"mediaType": media_type}}}

    mlm = "application/geo+json; profile=mlm"
    for accept in (mlm, 'application/geo+json;profile="mlm"', "application/geo+json", "application/*;q=0.1, application/geo+json"):  # fmt: skip
        answer = ask({"Accept": accept})
        assert (answer.status_code, answer.content_type) == (200, mlm)
        require_sound(answer.json if answer.is_json else json.loads(answer.data))
    for media_type in (mlm, "application/geo+json", "Application/GEO+JSON; PROFILE=MLM"):
        assert ask(outputs=wanted(media_type)).content_type == mlm
        document = ask(outputs=wanted(media_type), response="document").json["modelInfo"]
        assert document["mediaType"] == mlm
        require_sound(document["value"])
    for headers in (None, {"Accept": "application/json"}, {"Accept": "*/*"}, {"Accept": "application/*"}):
        assert ask(headers).content_type == "application/json"
        assert ask(headers, outputs=wanted("application/json")).json["id"] == "roof-damage"
    refused = ask(outputs=wanted("text/csv"))
    assert (refused.status_code, "the formats are application/json, application/geo+json" in refused.text) == (
        400,
        True,
    )
    assert ask({"Accept": "text/csv"}).status_code == 406
    described = shipped.http.get("/processes/describe-model").json["outputs"]["modelInfo"]["schema"]["oneOf"]
    assert [item["contentMediaType"] for item in described] == ["application/json", mlm]
