"""The main job over HTTP on real imagery: the labels expected by a slow, independent reference."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import rasterio

from result_readers import FORMATS, read_result
from service import Client, link

FIXED_TOLERANCE, RESAMPLED_TOLERANCE = 1e-4, 2e-4


def compare(rows: list[dict[str, Any]], expected: Path, key: str, tolerance: float) -> None:
    with expected.open() as file:
        wanted = {row[key]: row for row in csv.DictReader(file)}
    assert {str(row[key]) for row in rows} == set(wanted)
    assert len(rows) == len(wanted)
    for row in rows:
        assert row["ClassLabel"] == wanted[str(row[key])]["ClassLabel"], row
        assert row["Confidence"] == pytest.approx(float(wanted[str(row[key])]["Confidence"]), abs=tolerance), row
        assert row["ClassStatus"] == "ok"


@pytest.mark.parametrize("zone", [26910, 26911])
def test_naip_trees(shipped: Client, shared_data: Path, zone: int) -> None:
    folder = shared_data / "naip_trees"
    images = []
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as dataset:
            if dataset.crs.to_epsg() == zone:
                images.append(path)
    inputs = {
        "image": [link(path) for path in images],
        "features": link(folder / f"objects_{zone}.geojson"),
        "model": "urban-tree-naip",
    }
    response = shipped.execute("classify-objects", inputs)
    assert response.status_code == 200, response.text
    assert response.mimetype == "application/geo+json"
    rows = [feature["properties"] for feature in response.json["features"]]
    assert [row["OBJECTID"] for row in rows] == sorted(row["OBJECTID"] for row in rows)
    compare(rows, folder / f"expected_{zone}.csv", "OBJECTID", FIXED_TOLERANCE)


@pytest.mark.parametrize("media_type", FORMATS)
def test_every_format_holds_the_expected_labels(
    shipped: Client, shared_data: Path, tmp_path: Path, media_type: str
) -> None:
    folder = shared_data / "naip_trees"
    objects = folder / "objects_26910.geojson"
    inputs = {"image": link(folder / "chico_2020_0.tif"), "features": link(objects), "model": "urban-tree-naip"}
    form = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    response = shipped.execute("classify-objects", inputs, outputs=form)
    assert response.status_code == 200, response.text
    found = read_result(media_type, response.data, tmp_path)
    rows = [row | {"Confidence": float(row["Confidence"])} for row in found.rows]
    given = [feature["properties"]["OBJECTID"] for feature in json.loads(objects.read_text())["features"]]
    assert [str(row["OBJECTID"]) for row in rows] == list(map(str, given))
    compare(rows, folder / "expected_26910.csv", "OBJECTID", FIXED_TOLERANCE)


@pytest.mark.parametrize(
    ("model", "tolerance"), [("tree-leaf-crown", FIXED_TOLERANCE), ("tree-leaf-box", RESAMPLED_TOLERANCE)]
)
def test_neon_crowns_on_a_mosaic_of_plots_900_km_apart(
    shipped: Client, shared_data: Path, model: str, tolerance: float
) -> None:
    folder = shared_data / "neon_crowns"
    inputs = {"image": link(folder), "features": link(folder / "crowns_test_32617.geojson"), "model": model}
    response = shipped.execute("classify-objects", inputs)
    assert response.status_code == 200, response.text
    rows = [feature["properties"] for feature in response.json["features"]]
    compare(rows, folder / f"expected_{model}.csv", "OBJECTID", tolerance)


def test_images_without_a_reference_give_a_table(shipped: Client, shared_data: Path) -> None:
    folder = shared_data / "neon_crown_images"
    response = shipped.execute("classify-objects", {"image": link(folder), "model": "tree-leaf-box"})
    assert response.status_code == 200, response.text
    assert response.mimetype == "application/json"
    assert response.json["schema"]["primaryKey"] == ["ImageID"]
    rows = response.json["data"]
    assert [row["ImageID"] for row in rows] == sorted(row["ImageID"] for row in rows)
    compare(rows, folder / "expected_tree-leaf-box.csv", "ImageID", RESAMPLED_TOLERANCE)


def test_georeferenced_images_without_features_give_their_extents(shipped: Client, shared_data: Path) -> None:
    folder = shared_data / "neon_crowns"
    response = shipped.execute("classify-objects", {"image": link(folder), "model": "tree-leaf-box"})
    assert response.status_code == 200, response.text
    features = response.json["features"]
    assert [feature["properties"]["ImageID"] for feature in features] == sorted(
        path.name for path in folder.glob("*.tif")
    )
    assert all(feature["geometry"]["type"] == "Polygon" for feature in features)
