"""Chips of objects as pictures: what the model saw, as long as the images can be read."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

import processes.classify.stored_chips
from conftest import definition, save_mean_network
from rasters import box_around, make_raster, random_values, to_map
from service import Client, configure, link, load_application

MODELS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "blackened": {"BlackenAroundFeature": 1},
    "variable": {"CropSizeFixed": 0},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "imagery").mkdir()
    for name, changes in MODELS.items():
        (home / "models" / name).mkdir(parents=True)
        save_mean_network(home / "models" / name / "net.onnx", 3, None)
        (home / "models" / name / "m.emd").write_bytes(msgspec.json.encode(definition(**changes)))
    make_raster(home / "imagery" / "a.tif")
    make_raster(home / "imagery" / "deep.tif", dtype="uint16", seed=5)
    make_raster(home / "imagery" / "plain.png", width=8, height=8, crs=None, driver="PNG", seed=7)
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Client:
    return Client(load_application(configure(home, models=[home / "models"], imagery=[home / "imagery"])))


def layer(boxes: list[tuple[float, float, float, float]], ids: bool = True) -> dict[str, Any]:
    features = []
    for number, box in enumerate(boxes):
        polygon: Any = to_map(box_around(*box))
        geometry = {"type": "Polygon", "coordinates": [[list(xy) for xy in polygon.exterior.coords]]}
        member = {"id": f"a/{number}"} if ids else {}
        features.append({"type": "Feature", **member, "properties": {}, "geometry": geometry})
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}


def job_of(client: Client, image: Any, model: str, features: Any = None, **more: Any) -> str:
    inputs = {"image": image, "model": model, **({} if features is None else {"features": features}), **more}
    response = client.execute("classify-objects", inputs)
    assert response.status_code == 200, response.text
    return str(response.headers["Link"].partition(">")[0].removeprefix("<http://localhost"))


def chip(client: Client, job: str, identifier: str) -> NDArray[Any]:
    """Return a chip, `(height, width, bands)`."""
    response = client.http.get(f"{job}/objects/{identifier}/chip.png", buffered=True)
    assert (response.status_code, response.mimetype) == (200, "image/png"), response.text
    return np.asarray(PillowImage.open(io.BytesIO(response.data)))


def status(client: Client, job: str, identifier: str) -> tuple[int, str]:
    response = client.http.get(f"{job}/objects/{identifier}/chip.png", buffered=True)
    return response.status_code, response.json["detail"]


def cells(column: int, row: int) -> NDArray[np.uint8]:
    """Return the cells of a window of 8 x 8 of the image, 0 beyond it."""
    image = np.pad(random_values((3, 48, 64)), ((0, 0), (8, 8), (8, 8)))
    return image[:, row + 8 : row + 16, column + 8 : column + 16].transpose(1, 2, 0)


def test_a_chip_is_what_the_model_saw(client: Client, home: Path) -> None:
    """The window of a chip has its origin at the centre less half its size."""
    job = job_of(client, link(home / "imagery" / "a.tif"), "fixed", layer([(20, 16, 4, 4), (2, 2, 4, 4)]))
    np.testing.assert_array_equal(chip(client, job, "a/0"), cells(16, 12))
    np.testing.assert_array_equal(chip(client, job, "a%2F1"), cells(-2, -2))
    etag = client.http.get(f"{job}/objects/a/0/chip.png").headers["ETag"]
    known = {"If-None-Match": etag}
    assert client.http.get(f"{job}/objects/a/0/chip.png", headers=known).status_code == 304


def test_a_blackened_chip_is_black_around_its_object(client: Client, home: Path) -> None:
    job = job_of(client, link(home / "imagery" / "a.tif"), "blackened", layer([(20, 16, 4, 4)], ids=False))
    expected = cells(16, 12).copy()
    expected[:2] = expected[-2:] = expected[:, :2] = expected[:, -2:] = 0
    np.testing.assert_array_equal(chip(client, job, "1"), expected)


def test_a_chip_of_variable_size_is_resampled(client: Client, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(client, link(home / "imagery" / "a.tif"), "variable", layer([(24, 24, 16, 16)], ids=False))
    found = chip(client, job, "1").astype(float)
    window = random_values((3, 48, 64))[:, 16:32, 16:32].transpose(1, 2, 0)
    expected = np.asarray(PillowImage.fromarray(window).resize((8, 8), PillowImage.Resampling.BILINEAR))
    np.testing.assert_allclose(found, expected, atol=1)
    monkeypatch.setattr(processes.classify.stored_chips, "_QUICK_CELLS", 0)  # a process of its own reads a large one
    np.testing.assert_array_equal(chip(client, job, "1"), found)


def test_cells_of_more_than_a_byte_are_scaled(client: Client, home: Path) -> None:
    job = job_of(client, link(home / "imagery" / "deep.tif"), "fixed", layer([(20, 16, 4, 4)], ids=False))
    window = random_values((3, 48, 64), "uint16", 5)[:, 12:20, 16:24].transpose(1, 2, 0)
    np.testing.assert_array_equal(chip(client, job, "1"), np.rint(window / 65535 * 255))


def test_an_image_that_is_an_object_has_a_chip(client: Client, home: Path) -> None:
    job = job_of(client, link(home / "imagery" / "plain.png"), "fixed")
    expected = random_values((3, 8, 8), seed=7).transpose(1, 2, 0)
    np.testing.assert_array_equal(chip(client, job, "1"), expected)


def test_chips_of_pairs_are_of_their_images(client: Client, home: Path) -> None:
    images = [link(home / "imagery" / name) for name in ("a.tif", "deep.tif")]
    boxes = layer([(20, 16, 4, 4)])
    job = job_of(client, images[:1], "fixed", boxes, processingMode="separate")
    np.testing.assert_array_equal(chip(client, job, "a/0:a.tif"), cells(16, 12))


def test_objects_without_a_chip_are_not_found(client: Client, home: Path) -> None:
    job = job_of(client, link(home / "imagery" / "a.tif"), "fixed", layer([(20, 16, 4, 4), (500, 500, 4, 4)]))
    assert status(client, job, "a/1") == (404, "object 'a/1' has no chip: it touches no image")
    for name in ("3", "other", "a", "-1", "1"):
        assert status(client, job, name)[0] == 404
    assert status(client, f"{job[:-4]}0000", "a/0")[0] == 404


def test_chips_go_with_their_images(client: Client, home: Path) -> None:
    image = home / "imagery" / "b.tif"
    shutil.copy(home / "imagery" / "a.tif", image)
    job = job_of(client, link(image), "fixed", layer([(20, 16, 4, 4)]))
    chip(client, job, "a/0")
    make_raster(image, seed=3, width=100)
    assert status(client, job, "a/0") == (
        410,
        "the chip of object 'a/0' is gone: 'b.tif' was changed after the request was accepted",
    )
    image.unlink()
    assert status(client, job, "a/0")[0] == 410
    client.http.delete(job)
    assert status(client, job, "a/0") == (410, f"the job {job.rpartition('/')[2]} was dismissed")


def test_images_of_the_request_are_not_kept(client: Client, home: Path) -> None:
    content = base64.b64encode((home / "imagery" / "plain.png").read_bytes()).decode()
    image = {"value": content, "encoding": "base64", "mediaType": "image/png"}
    job = job_of(client, image, "fixed")
    code, detail = status(client, job, "1")
    assert code == 410
    assert "came with the request" in detail
