"""The demo's scene: the same bytes by the same seed, and the labels that its model was shipped for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from scene import make_scene, write_scene
from service import Client, link

SEED, SIZE_PX, HOUSES = 301, 1600, 40


def test_a_scene_is_the_same_every_time(tmp_path: Path) -> None:
    hashes = set()
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        write_scene(make_scene(5, 800, 8), folder)
        hashes.add(
            hashlib.sha256((folder / "scene.tif").read_bytes() + (folder / "houses.geojson").read_bytes()).hexdigest()
        )
    assert len(hashes) == 1


def test_roof_damage_knows_houses_that_it_has_not_seen(tmp_path: Path, shipped: Client) -> None:
    write_scene(make_scene(SEED, SIZE_PX, HOUSES), tmp_path)
    inputs = {
        "image": link(tmp_path / "scene.tif"),
        "features": link(tmp_path / "houses.geojson"),
        "model": "roof-damage",
    }
    response = shipped.execute("classify-objects", inputs)
    assert response.status_code == 200, response.text
    features = json.loads(response.data)["features"]
    assert [feature["id"] for feature in features] == list(range(1, HOUSES + 1))
    right = sum(feature["properties"]["ClassLabel"] == feature["properties"]["truth"] for feature in features)
    assert right / HOUSES > 0.85
