"""The map of a result over HTTP: what it needs, its tiles, and who gets them."""

from __future__ import annotations

import base64
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from features.serving.vector_tiles import read_tile
from processes.crs.web_mercator import TileAddress, to_world
from rasters import make_raster, random_values
from service import Client, configure, link, load_application
from web.test_chips import layer

BOXES = [(20.0, 16.0, 8.0, 8.0), (40.0, 30.0, 12.0, 6.0), (500.0, 500.0, 4.0, 4.0)]


def classify(client: Client, image: Any, **more: Any) -> str:
    """Return the path of a job."""
    inputs = {"image": image, "model": "brightness", "features": layer(BOXES), **more}
    response = client.execute("classify-objects", {key: value for key, value in inputs.items() if value is not None})
    assert response.status_code == 200, response.text
    return str(response.headers["Link"].partition(">")[0].removeprefix("<http://localhost"))


@pytest.fixture(scope="module")
def job(client: Client, home: Path) -> str:
    return classify(client, link(home / "imagery" / "a.tif"))


def address(document: Any, zoom: int) -> TileAddress:
    west, south, east, north = document["bounds"]
    ((x, y),) = to_world(np.array([[(west + east) / 2, (south + north) / 2]])).tolist()
    return TileAddress(zoom, int(x * 2**zoom), int(y * 2**zoom))


def tile(document: Any, source: str, zoom: int) -> str:
    (template,) = document["style"]["sources"][source]["tiles"]
    place = address(document, zoom)
    path = str(template).removeprefix("http://localhost")
    return path.replace("{z}", str(zoom)).replace("{x}", str(place.column)).replace("{y}", str(place.row))


def get(client: Client, path: str, status: int = 200, etag: str = '"none"') -> Any:
    response = client.http.get(path, buffered=True, headers={"If-None-Match": etag})
    assert response.status_code == status, response.text
    return response


def test_the_map_has_objects_over_imagery(client: Client, job: str, tmp_path: Path) -> None:
    document = get(client, f"{job}/map").json
    assert document["objects"] == 3
    assert [item["id"] for item in document["style"]["layers"]][:2] == ["imagery", "squares"]
    assert "problem" not in document
    objects = get(client, tile(document, "objects", 12))
    assert objects.mimetype == "application/vnd.mapbox-vector-tile"
    found = read_tile(objects.data, tmp_path)["objects"]
    assert [row for row, _, _ in found] == [0, 1, 2]
    assert {values.get("ClassLabel") for _, _, values in found} - {None} <= {"dark", "bright"}
    imagery = get(client, tile(document, "imagery", document["style"]["sources"]["imagery"]["maxzoom"] - 1))
    assert imagery.mimetype == "image/webp"
    picture = np.asarray(PillowImage.open(io.BytesIO(imagery.data)))
    assert picture.shape == (512, 512, 4)
    assert 0 < (picture[:, :, 3] > 0).mean() < 1


def test_a_tile_without_imagery_is_no_content(client: Client, job: str) -> None:
    assert get(client, f"{job}/map/imagery/3/0/0.webp", 204).data == b""


def test_a_tile_that_the_client_has_is_not_made_again(client: Client, job: str) -> None:
    document = get(client, f"{job}/map").json
    for path in (tile(document, "objects", 14), tile(document, "imagery", 14)):
        etag = get(client, path).headers["ETag"]
        assert get(client, path, 304, etag).data == b""
        assert get(client, path).data
    path = tile(document, "objects", 14)
    assert get(client, f"{path}?class=dark").headers["ETag"] != get(client, path).headers["ETag"]


def test_tiles_are_filtered(client: Client, job: str, tmp_path: Path) -> None:
    document = get(client, f"{job}/map").json
    path = tile(document, "objects", 12)
    for query in ("status=ok", "status=outside-image", "minConfidence=0.999", "class=dark&maxConfidence=0.9"):
        listed = get(client, f"{job}/review?limit=100&{query}").json["objects"]
        found = read_tile(get(client, f"{path}?{query}").data, tmp_path).get("objects", [])
        assert sorted(row for row, _, _ in found) == sorted(item["row"] for item in listed), query
    assert "minConfidence" in get(client, f"{path}?minConfidence=2", 400).json["detail"]


def test_an_object_of_a_tile_is_found_by_its_row(client: Client, job: str) -> None:
    (found,) = get(client, f"{job}/review?row=1").json["objects"]
    assert (found["id"], found["row"]) == ("a/1", 1)
    assert get(client, f"{job}/review?row=99").json["objects"] == []
    assert 'row is "x"' in get(client, f"{job}/review?row=x", 400).json["detail"]


@pytest.mark.parametrize("place", ["3/8/0", "3/0/8", "25/0/0", "-1/0/0", "x/0/0"])
def test_there_is_no_tile_beyond_the_world(client: Client, job: str, place: str) -> None:
    get(client, f"{job}/map/objects/{place}.mvt", 404)
    get(client, f"{job}/map/imagery/{place}.webp", 404)


def test_a_table_has_no_map(client: Client, home: Path) -> None:
    table = classify(client, link(home / "imagery" / "plain.png"), features=None)
    for path in ("map", "map/objects/0/0/0.mvt"):
        assert "no map" in get(client, f"{table}/{path}", 404).json["detail"]
    assert 'id="map"' not in get(client, f"{table}/results?f=html").text


def test_imagery_that_came_with_the_request_is_not_shown(client: Client, tmp_path: Path) -> None:
    value = base64.b64encode(make_raster(tmp_path / "a.tif", tiled=False).read_bytes()).decode()
    inline = classify(client, {"value": value, "encoding": "base64", "mediaType": "image/tiff"})
    document = get(client, f"{inline}/map").json
    assert "came with the request" in document["problem"]
    assert list(document["style"]["sources"]) == ["objects"]
    assert document["bounds"]


def test_imagery_is_shown_as_long_as_it_is_there_unchanged_and_allowed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "imagery").mkdir()
    (tmp_path / "elsewhere").mkdir()
    image = make_raster(tmp_path / "imagery" / "mine.tif")
    settings: dict[str, Any] = {"models": [home / "models"]}
    client = Client(load_application(configure(tmp_path, imagery=[tmp_path / "imagery"], **settings)))
    job = classify(client, link(image))
    document = get(client, f"{job}/map").json
    path = tile(document, "imagery", 14)
    assert get(client, path).data
    strict = Client(load_application(configure(tmp_path, imagery=[tmp_path / "elsewhere"], **settings)))
    for told in (get(strict, f"{job}/map").json["problem"], get(strict, path, 403).json["detail"]):
        assert "does not allow any more" in told
        assert str(tmp_path) not in told
    assert get(strict, tile(document, "objects", 14)).data
    shutil.copy(make_raster(tmp_path / "other.tif", seed=9, width=70), image)
    assert "changed" in get(client, f"{job}/map").json["problem"]
    get(client, path, 410)
    image.unlink()
    assert "mine.tif" in get(client, path, 410).json["detail"]
    client.http.delete(job)
    for gone in ("map", "map/objects/0/0/0.mvt", "map/imagery/0/0/0.webp"):
        get(client, f"{job}/{gone}", 410)


def test_a_result_that_goes_while_it_is_looked_at_is_gone(client: Client, home: Path) -> None:
    job = classify(client, link(home / "imagery" / "a.tif"), resultName="going")
    document = get(client, f"{job}/map").json
    paths = [
        tile(document, "objects", 12),
        tile(document, "imagery", 14),
        f"{job}/map",
        f"{job}/review",
        f"{job}/objects/a%2F1/chip.png",
        f"{job}/results/classifiedObjects.gpkg",
        f"{job}/results/style.qml",
        "/collections/going",
        "/collections/going/items?bbox=-180,-90,180,90",
    ]

    def look(path: str) -> list[int]:
        """Ask until it is gone."""
        statuses = [200]
        while statuses[-1] == 200:
            statuses.append(client.http.application.test_client().get(path, buffered=True).status_code)
        return statuses

    with ThreadPoolExecutor(len(paths)) as viewers:
        looks = viewers.map(look, paths)
        client.http.delete(job)
        assert {statuses[-1] for statuses in looks} == {404, 410}


def test_bands_of_several_files_are_shown_as_those_of_one(tmp_path: Path, home: Path) -> None:
    values = random_values((3, 48, 64), seed=3)
    whole = make_raster(tmp_path / "whole.tif", values=values, overviews=(2, 4))
    bands = {
        name: make_raster(tmp_path / f"{name}.tif", values=values[place : place + 1], overviews=(2, 4))
        for place, name in enumerate("abc")
    }
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "stack",
        "geometry": None,
        "properties": {},
        "links": [],
    }
    assets = {name: {"href": path.name, "type": "image/tiff; application=geotiff"} for name, path in bands.items()}
    (tmp_path / "item.json").write_text(json.dumps(item | {"assets": assets}))
    client = Client(load_application(configure(tmp_path, models=[home / "models"], imagery=[tmp_path])))
    stacked = classify(client, {"href": f"{(tmp_path / 'item.json').as_uri()}#assets=a,b,c"})
    single = classify(client, link(whole))
    document = get(client, f"{stacked}/map").json
    assert "problem" not in document
    last = document["style"]["sources"]["imagery"]["maxzoom"]
    for zoom in (last - 1, last - 3):
        path = tile(document, "imagery", zoom)
        assert get(client, path).data == get(client, path.replace(stacked, single)).data
    bands["b"].unlink()
    assert "'stack'" in get(client, path, 410).json["detail"]
