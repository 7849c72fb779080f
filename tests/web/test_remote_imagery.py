"""Images that lie elsewhere, looked at after the work: chips and maps are those of the same image on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from esri_services import ImageServer
from range_host import RangeHost, range_host
from rasters import make_raster, random_values
from service import Client, configure, link, load_application
from told_host import ToldHost, told_host
from web.test_chips import chip
from web.test_result_map import classify, get, tile

SIDE = 600


@pytest.fixture(scope="module")
def ranges(home: Path) -> Iterator[RangeHost]:
    with range_host(home / "imagery") as host:
        yield host


@pytest.fixture(scope="module")
def told() -> Iterator[ToldHost]:
    with told_host() as host:
        yield host


@pytest.fixture(scope="module")
def hosts(ranges: RangeHost, told: ToldHost) -> str:
    return f"{ranges.host},{told.authority}"


@pytest.fixture(scope="module")
def looking(home: Path, hosts: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = tmp_path_factory.mktemp("looking")
    return Client(
        load_application(configure(folder, models=[home / "models"], imagery=[home / "imagery"], hosts=hosts))
    )


@pytest.fixture(scope="module")
def image(home: Path) -> Path:
    """Return an image of many blocks, whose overviews GDAL reads as we do: they have the nearest cells."""
    values = np.repeat(np.repeat(random_values((3, SIDE // 8, SIDE // 8), seed=2), 8, axis=1), 8, axis=2)
    return make_raster(
        home / "imagery" / "far.tif", values=values, blocksize=128, nodata=7, compress="deflate", overviews=(2, 4, 8)
    )


def links_to(image: Path, ranges: RangeHost, told: ToldHost) -> dict[str, str]:
    told.services["/arcgis/rest/services/Town/ImageServer"] = ImageServer([image])
    return {"ranges": ranges.link(image.name), "service": f"{told.url}/arcgis/rest/services/Town/ImageServer"}


@pytest.mark.parametrize("kind", ["ranges", "service"])
def test_chips_and_maps_are_those_of_the_local_image(
    kind: str, looking: Client, image: Path, ranges: RangeHost, told: ToldHost
) -> None:
    href = links_to(image, ranges, told)[kind]
    local, remote = classify(looking, link(image)), classify(looking, {"href": href})
    for name in ("a%2F0", "a%2F1"):
        name = name.replace("%2F", "/")
        assert (chip(looking, remote, name) == chip(looking, local, name)).all()
    document = get(looking, f"{remote}/map").json
    assert "problem" not in document
    source = document["style"]["sources"]["imagery"]
    for zoom in range(max(source["minzoom"], source["maxzoom"] - 3), source["maxzoom"] + 1):
        path = tile(document, "imagery", zoom)
        found, expected = (picture(get(looking, name).data) for name in (path, path.replace(remote, local)))
        assert expected.shape == found.shape
        near = np.abs(found.astype(int) - expected.astype(int)).max(axis=2) <= 24  # WebP has losses
        assert near.mean() > (0.97 if zoom >= source["maxzoom"] - 1 else 0.6), zoom


def picture(content: bytes) -> NDArray[Any]:
    import io

    from PIL import Image as PillowImage

    return np.asarray(PillowImage.open(io.BytesIO(content)).convert("RGBA"))


def test_hosts_that_are_not_allowed_any_more_are_not_asked(
    home: Path, tmp_path: Path, image: Path, ranges: RangeHost, told: ToldHost, hosts: str
) -> None:
    folders: dict[str, Any] = {"models": [home / "models"], "imagery": [home / "imagery"]}
    client = Client(load_application(configure(tmp_path, hosts=hosts, **folders)))
    jobs = [classify(client, {"href": href}) for href in links_to(image, ranges, told).values()]
    document = get(client, f"{jobs[0]}/map").json
    strict = Client(load_application(configure(tmp_path, **folders)))
    ranges.forget()
    told.asked.clear()
    for job in jobs:
        assert "does not allow links" in get(strict, f"{job}/objects/a/0/chip.png", 403).json["detail"]
        get(strict, tile(document, "imagery", 15).replace(jobs[0], job), 403)
    assert not ranges.ranges
    assert not told.asked
