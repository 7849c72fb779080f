"""The page of sources is a test subject: each link of its tables is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from linked_images import asset, give, item, items, opened
from rasters import make_raster
from service import ROOT
from told_host import ToldHost, told_host

PAGE = (ROOT / "docs" / "imagery.md").read_text()
EXAMPLE = "https://data.example.org"


def links(heading: str) -> list[str]:
    """Return what the table below a heading of the page has in its second column."""
    table = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [link for row in rows for link in re.findall(r"`(\{.*?\}|https:[^`]*)`", row[1])]


IMAGES = links("Images")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToldHost]:
    folder = tmp_path_factory.mktemp("host")
    with told_host() as told:
        _give_catalog(told, folder)
        yield told


def _give_catalog(host: ToldHost, folder: Path) -> None:
    for name in ("visual", "nir", "red", "green"):
        give(host, f"/stac/{name}.tif", make_raster(folder / f"{name}.tif", bands=3 if name == "visual" else 1))
    bands = {name: asset(f"{name}.tif", "data") for name in ("nir", "red", "green")}
    scenes = [item(name, visual=asset("/stac/visual.tif", "visual"), **bands) for name in ("one", "two", "three")]
    give(host, "/stac/scene.json", scenes[0])
    give(host, "/stac/items.json", items(*scenes))
    following = {"rel": "next", "href": "/search?collections=town&limit=2&page=2"}
    give(host, "/search?collections=town&limit=2", items(*scenes[:2], links=[following], numberMatched=3))
    give(host, following["href"], items(scenes[2], numberMatched=3))
    collection: dict[str, Any] = {"type": "Collection", "stac_version": "1.0.0", "id": "town"}
    give(host, "/stac/collection.json", collection | {"links": [{"rel": "item", "href": "scene.json"}]})


@pytest.mark.parametrize("link", IMAGES)
def test_images_of_the_page_are_opened(host: ToldHost, tmp_path: Path, link: str) -> None:
    value = json.loads(link) if link.startswith("{") else {"href": link}
    value["href"] = value["href"].replace(EXAMPLE, host.url)
    images = opened(value, host, tmp_path)
    assert images
    assert all(image.is_georeferenced for image in images)


def test_the_page_has_links() -> None:
    assert len(IMAGES) >= 6
