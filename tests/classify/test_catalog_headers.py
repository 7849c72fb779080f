"""What a catalog says of where its images lie: the headers of those that no object touches are not asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from msgspec.structs import replace
from pyproj import Transformer

from conftest import MakePackage
from linked_images import asset, item, items
from processes.allowed_hosts import AllowedHost
from processes.classify.downloads import FRAME, download_links
from processes.classify.process import ClassifyObjects
from processes.model.catalog import Catalog
from processes.ogc.execution import Execution
from processes.ogc.request import read_request
from processes.settings import Settings
from processes.sources.ranges import PIECE_BYTES
from range_host import RangeHost, range_host
from rasters import make_raster
from service import link, models_checked_here

SIDE, COUNT = 256, 100
X, Y = 500_000, 5_000_000
TO_DEGREES = Transformer.from_crs(32633, 4326, always_xy=True)
ALL = {f"{number:02}.tif" for number in range(COUNT)}


@pytest.fixture(scope="module")
def imagery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a row of images, side by side."""
    folder = tmp_path_factory.mktemp("row") / "imagery"
    folder.mkdir()
    for number in range(COUNT):
        options: dict[str, Any] = {"width": SIDE, "height": SIDE, "blocksize": 64, "compress": "deflate"}
        make_raster(folder / f"{number:02}.tif", transform=place(number), seed=number, **options)
    return folder


@pytest.fixture
def host(imagery: Path) -> Iterator[RangeHost]:
    with range_host(imagery) as running, models_checked_here():
        yield running


@pytest.fixture
def allowed(settings: Settings, imagery: Path, host: RangeHost, make_package: MakePackage) -> Settings:
    make_package("fixed")
    return replace(settings, imagery=(imagery,), hosts=(AllowedHost.parse(host.host),))


def place(number: int, cell: float = 1) -> Affine:
    return Affine(cell, 0, X + number * SIDE, 0, -cell, Y)


def scene(number: int, form: str, *, moved_m: float = 0, name: str | None = None, cell: float = 1) -> dict[str, Any]:
    """Return an item that says where its image lies, in a form of the extension; `moved_m` = it says so wrongly."""
    transform = Affine.translation(moved_m, 0) @ place(number, cell)
    left, top = transform.c, transform.f
    west, south, east, north = TO_DEGREES.transform_bounds(left, top - SIDE * cell, left + SIDE * cell, top)
    members: dict[str, Any] = {"proj:shape": [SIDE, SIDE], "proj:transform": list(transform)[:6]}
    found = item(f"scene-{number}", visual=asset(name or f"{number:02}.tif", "visual"))
    match form:
        case "1.0":  # the CRS in the item, the rest in the asset
            found["stac_version"] = "1.0.0"
            found["properties"]["proj:epsg"] = 32633
            found["assets"]["visual"] |= members
        case "1.1":
            members |= {"proj:code": "EPSG:32633", "proj:transform": [*transform], "bands": [{}, {}, {}]}
            found["assets"]["visual"] |= members
        case "of the item":
            found["properties"] |= members | {"proj:code": "EPSG:32633"}
    return {**found, "bbox": [west, south, east, north]}


def classified(
    settings: Settings, images: list[dict[str, str]], folder: Path, shapes: list[Any], crs: int = 32633, **inputs: Any
) -> list[dict[str, Any]]:
    """Return the rows of objects."""
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    name = {"type": "name", "properties": {"name": f"EPSG:{crs}"}}
    collection = {"type": "FeatureCollection", "crs": name, "features": features}
    body = json.dumps({"inputs": {"image": images, "features": collection, "model": "fixed"} | inputs}).encode()
    process = ClassifyObjects(settings, Catalog.from_settings(settings), 2)
    folder.mkdir()
    output = process.execute(Execution.read("classify-objects", body, process.describe(), result_name="a"), folder)
    content = output.content if isinstance(output.content, bytes) else output.content.read_bytes()
    return [feature["properties"] for feature in json.loads(content)["features"]]


def local(imagery: Path, numbers: list[int]) -> list[dict[str, str]]:
    return [link(imagery / f"{number:02}.tif") for number in numbers]


def give(host: RangeHost, *scenes: dict[str, Any]) -> list[dict[str, str]]:
    (host.folder / "items.json").write_text(json.dumps(items(*scenes)))
    return [{"href": host.link("items.json")}]


def scattered(numbers: list[int]) -> list[Any]:
    return [
        shapely.Point(X + number * SIDE + 60.0 + 3 * step, Y - 60.0 - 5 * step)
        for number in numbers
        for step in range(20)
    ]


def headers(host: RangeHost) -> Counter[str]:
    """Return how often the first bytes of each image were asked for."""
    return Counter(name for name, start, _ in host.ranges if start == 0 and name.endswith(".tif"))


@pytest.mark.parametrize("form", ["1.0", "1.1", "of the item"])
def test_a_hundred_items_cost_what_the_touched_ones_cost(
    form: str, allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    touched = [3, 50, 51, 99]
    shapes = scattered(touched)
    images = give(host, *(scene(number, form) for number in range(COUNT)))
    found = classified(allowed, images, tmp_path / "remote", shapes)
    assert found == classified(allowed, local(imagery, list(range(COUNT))), tmp_path / "local", shapes)
    assert len({row["Confidence"] for row in found}) > 60
    names = {f"{number:02}.tif" for number in touched}
    assert headers(host) == dict.fromkeys(names, 1)
    assert {name for name, _, _ in host.ranges} == {"items.json", *names}
    document, size = (host.folder / "items.json").stat().st_size, (imagery / "03.tif").stat().st_size
    assert host.sent_bytes <= document + PIECE_BYTES + len(touched) * (PIECE_BYTES + size)
    host.forget()
    one = [scene(number, form) for number in touched]
    assert classified(allowed, give(host, *one), tmp_path / "touched", shapes) == found
    alone = Counter(name for name, _, _ in host.ranges)
    host.forget()
    give(host, *(scene(number, form) for number in range(COUNT)))
    classified(allowed, images, tmp_path / "again", shapes)
    assert Counter(name for name, _, _ in host.ranges) - alone == {"items.json": 1}  # the document is longer


def test_without_what_it_says_every_header_is_read(
    allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    shapes = scattered([3, 50])
    images = give(host, *(scene(number, "none") for number in range(COUNT)))
    found = classified(allowed, images, tmp_path / "remote", shapes)
    assert headers(host) == dict.fromkeys(ALL, 1)
    assert found == classified(allowed, local(imagery, list(range(COUNT))), tmp_path / "local", shapes)


@pytest.mark.parametrize("case", ["moved", "another CRS", "another shape"])
def test_a_catalog_that_is_found_to_be_wrong_is_not_believed(
    case: str, allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    """The objects lie in the images 3 and 4; the catalog has 4 elsewhere, and what it says of 3 is wrong too."""
    shapes = scattered([3, 4])
    scenes = [scene(number, "1.1", moved_m=20_000 if number == 4 else 0) for number in range(10)]
    match case:
        case "moved":
            scenes[3] = scene(3, "1.1", moved_m=3)
        case "another CRS":
            scenes[3]["assets"]["visual"]["proj:code"] = "EPSG:25833"
        case "another shape":
            scenes[3]["assets"]["visual"]["proj:shape"] = [SIDE, SIDE + 1]
    found = classified(allowed, give(host, *scenes), tmp_path / "remote", shapes)
    assert found == classified(allowed, local(imagery, list(range(10))), tmp_path / "local", shapes)
    assert headers(host) == {f"{number:02}.tif": 1 for number in range(10)}


def test_the_box_of_an_item_is_a_second_opinion(
    allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    wrong = scene(4, "1.1", moved_m=20_000) | {"bbox": scene(4, "1.1")["bbox"]}
    scenes = [scene(3, "1.1"), wrong, scene(9, "1.1")]
    shapes = scattered([4])
    found = classified(allowed, give(host, *scenes), tmp_path / "remote", shapes)
    assert found == classified(allowed, local(imagery, [3, 4, 9]), tmp_path / "local", shapes)


@pytest.mark.parametrize(
    "members",
    [
        {"proj:shape": [SIDE]},
        {"proj:shape": ["256", SIDE]},
        {"proj:transform": [1, 0, 0, 0, 0, 0]},
        {"proj:transform": None},
        {"proj:shape": [10**400, SIDE]},
        {"proj:shape": [1e300, SIDE], "proj:transform": [1e300, 0, 0, 0, -1, 0]},
        {"proj:code": "LOCAL:1"},
        {"proj:code": None},
        {"type": "image/tiff; application=geotiff"},
    ],
)
def test_what_is_no_statement_costs_the_header(
    members: dict[str, Any], allowed: Settings, host: RangeHost, tmp_path: Path
) -> None:
    odd = scene(9, "1.1")
    odd["assets"]["visual"] |= members
    assert classified(allowed, give(host, scene(3, "1.1"), odd), tmp_path / "work", scattered([3]))
    assert headers(host) == {"03.tif": 1, "09.tif": 1}


def test_objects_that_no_image_holds_are_told_of_all_of_them(
    allowed: Settings, host: RangeHost, tmp_path: Path
) -> None:
    found = classified(allowed, give(host, scene(3, "1.1"), scene(9, "1.1")), tmp_path / "work", scattered([50]))
    assert {row["ClassStatus"] for row in found} == {"outside-image"}
    assert headers(host) == {"03.tif": 1, "09.tif": 1}


def test_cells_of_a_chip_come_from_images_without_objects(
    allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    shapes = [shapely.Point(X + 4 * SIDE - shift, Y - 100) for shift in (0.0, 1.0, 2.0, 3.0)]  # in image 3, at its edge
    images = give(host, *(scene(number, "1.1") for number in range(8)))
    found = classified(allowed, images, tmp_path / "remote", shapes)
    assert found == classified(allowed, local(imagery, list(range(8))), tmp_path / "local", shapes)
    assert headers(host) == {"03.tif": 1, "04.tif": 1}


def test_a_chip_of_large_cells_reaches_farther_than_the_small_ones_say(
    allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    """The chip of the first image, whose cells have 40 m, takes cells of an image that begins 60 m beside the object."""
    coarse = make_raster(
        host.folder / "coarse.tif",
        width=4,
        height=64,
        blocksize=16,
        transform=Affine(40, 0, X + 60 * SIDE - 160, 0, -40, Y),
    )
    shapes = [shapely.Point(X + 60 * SIDE - 60, Y - 100)]
    images = [link(coarse), *give(host, *(scene(number, "1.1") for number in (2, 60, 99)))]
    found = classified(allowed, images, tmp_path / "remote", shapes)
    assert found == classified(allowed, [link(coarse), *local(imagery, [2, 60, 99])], tmp_path / "local", shapes)
    assert headers(host) == {"60.tif": 1}
    coarse.unlink()


def test_a_rotated_image_lies_where_its_corners_are(
    allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    turned = Affine.translation(X - 5000, Y) @ Affine.rotation(40) @ Affine.scale(1, -1)
    rotated = make_raster(host.folder / "rotated.tif", width=SIDE, height=SIDE, blocksize=64, transform=turned)
    odd = scene(3, "1.1", name="rotated.tif")
    odd["assets"]["visual"]["proj:transform"] = list(turned)
    corners = [TO_DEGREES.transform(*(turned @ corner)) for corner in ((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE))]
    odd["bbox"] = [*shapely.MultiPoint(corners).bounds]
    images = give(host, odd, *(scene(number, "1.1") for number in range(4, 9)))
    shapes = [shapely.Point(turned @ place) for place in ((5, 5), (SIDE - 5, 5), (SIDE - 5, SIDE - 5), (5, SIDE - 5))]
    found = classified(allowed, images, tmp_path / "remote", shapes)
    assert found == classified(allowed, [link(rotated), *local(imagery, [4, 5, 6, 7, 8])], tmp_path / "local", shapes)
    assert {row["ClassStatus"] for row in found} == {"ok"}
    assert headers(host) == {"rotated.tif": 1}
    rotated.unlink()


def test_objects_in_degrees_an_extent_and_images_one_by_one(
    allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path
) -> None:
    shapes = [shapely.Point(*TO_DEGREES.transform(shape.x, shape.y)) for shape in scattered([3, 50])]
    turned = [shapely.Point(shape.x - 360, shape.y) for shape in shapes]
    images = give(host, *(scene(number, "1.1") for number in range(COUNT)))
    for number, objects in enumerate((shapes, turned)):
        host.forget()
        found = classified(allowed, images, tmp_path / f"{number}", objects, 4326, processingMode="separate")
        assert {row["ImageID"] for row in found} == {"scene-3", "scene-50"}
        assert headers(host) == {"03.tif": 1, "50.tif": 1}
    host.forget()
    extent = {"bbox": [X + 50 * SIDE, Y - SIDE, X + 51 * SIDE, Y], "crs": "EPSG:32633"}
    assert len(classified(allowed, images, tmp_path / "extent", shapes, 4326, extent=extent)) == 20
    assert headers(host) == {"50.tif": 1}


def test_many_objects_are_looked_at_together(allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = rng.choice([3, 50, 51, 90], 700) * SIDE + rng.uniform(40, SIDE - 40, 700)
    shapes = [
        shapely.Point(X + column, Y - row) for column, row in zip(columns, rng.uniform(0, SIDE, 700), strict=True)
    ]
    images = give(host, *(scene(number, "1.0") for number in range(COUNT)))
    found = classified(allowed, images, tmp_path / "remote", shapes)
    assert found == classified(allowed, local(imagery, list(range(COUNT))), tmp_path / "local", shapes)
    assert headers(host) == {"03.tif": 1, "50.tif": 1, "51.tif": 1, "90.tif": 1}


def test_names_are_those_of_all_items(allowed: Settings, imagery: Path, host: RangeHost, tmp_path: Path) -> None:
    scenes = [scene(number, "1.1") | {"id": "same"} for number in (2, 9, 30)]
    found = classified(allowed, give(host, *scenes), tmp_path / "work", scattered([9]), processingMode="separate")
    assert {row["ImageID"] for row in found} == {"same-2"}
    assert headers(host) == {"09.tif": 1}


def test_the_download_before_the_work_leaves_the_headers_to_it(
    allowed: Settings, host: RangeHost, tmp_path: Path
) -> None:
    images = give(host, *(scene(number, "1.1" if number else "none") for number in range(5)))
    for inputs, expected in (({"features": {"href": "file:///x"}}, {"00.tif"}), ({}, {f"0{i}.tif" for i in range(5)})):
        host.forget()
        request = read_request(json.dumps({"inputs": {"image": images, **inputs}}).encode(), FRAME)
        folder = tmp_path / f"{len(inputs)}"
        folder.mkdir()
        download_links(request, allowed, folder)
        assert set(headers(host)) == expected
