"""The whole tool over HTTP with features, against a slow, independent reference: every row and every field."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from model_oracle import LinearNetwork, augmented
from rasters import NORTH_UP, SOUTH_UP, box_around, box_with_hole, make_raster, random_values, rotated, to_map
from service import link
from tool_oracle import CRS84, Feature, Request, Row, expected_rows, rectangles
from tool_service import (
    EXACT,
    GEOPACKAGE,
    MODELS,
    RESAMPLED,
    TABLE,
    Tool,
    in_crs84,
    request_body,
    start_tool,
    statuses,
)

UTM = "EPSG:32633"
WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return start_tool(tmp_path_factory.getbasetemp() / "tool")


@pytest.fixture
def folder(tool: Tool, request: pytest.FixtureRequest) -> Path:
    """Return a folder of this test's own for its images."""
    return tool.folder(f"{len(list(tool.imagery.iterdir()))}-{request.node.originalname}")


@pytest.fixture(scope="module")
def image(tool: Tool) -> Path:
    """Return an image of random cells, north-up, 64 x 48 cells of half a metre."""
    return make_raster(tool.imagery / "image.tif", width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def mosaic(tool: Tool) -> list[Path]:
    """Return three overlapping images with holes, whose grids differ: shifted by part of a cell, turned and coarser."""
    folder = tool.folder("mosaic")
    boxes = [(20, 10, 12, 9), (50, 0, 14, 48)]
    shifted = Affine(0.5, 0, NORTH_UP.c + 20.15, 0, -0.5, NORTH_UP.f - 3.3)
    return [
        make_raster(folder / "b.tif", width=WIDTH, height=HEIGHT, nodata=0, nodata_boxes=boxes, seed=1),
        make_raster(folder / "a.tif", width=40, height=40, transform=shifted, nodata=9, nodata_boxes=boxes[:1], seed=2),
        make_raster(folder / "c.tif", width=50, height=50, transform=rotated(30, 0.7), seed=3),
    ]


def random_shape(rng: np.random.Generator) -> BaseGeometry | None:
    """Return a geometry of any kind in pixel coordinates on or near the image; half of them on halves of cells."""
    x, y = rng.uniform(-7, [WIDTH + 7, HEIGHT + 7])
    w, h = rng.uniform(0.5, 22, 2)
    if rng.random() < 0.5:
        x, y, w, h = np.round([x, y, w, h]) + 0.5 * rng.integers(0, 2, 4)
    box = box_around(x, y, w, h)
    kinds: list[BaseGeometry | None] = [
        shapely.Point(x, y),
        shapely.MultiPoint([(x, y), (x + w, y - h)]),
        shapely.LineString([(x, y), (x + w, y + h / 3), (x, y + h)]),
        shapely.MultiLineString([[(x, y), (x + w, y)], [(x, y + h), (x + w, y + h)]]),
        box,
        box,
        shapely.Polygon([(x, y), (x + w, y + h / 2), (x - w / 3, y + h)]),
        box_with_hole(box, box_around(x, y, w / 2, h / 2)),
        shapely.MultiPolygon([box, box_around(x + w * 1.2, y, w / 2, h)]),
        box_around(x, y, 0.3, 0.2),
        box_around(x + 300, y, w, h),
    ]
    return kinds[int(rng.integers(len(kinds)))]


def random_features(
    seed: int, count: int = 20, crs: str = UTM, transform: Affine = NORTH_UP, image_crs: str = UTM
) -> list[Feature]:
    """Return features of all kinds, with attributes; among them one without a geometry and one that is empty."""
    rng = np.random.default_rng(seed)
    shapes = [random_shape(rng) for _ in range(count)] + [None, shapely.Polygon()]
    features = []
    for place, index in enumerate(rng.permutation(len(shapes))):
        shape = shapes[int(index)]
        geometry = None if shape is None else to_map(shape, transform)
        if geometry is not None and crs == CRS84:
            geometry = in_crs84(geometry, image_crs)
        own = {"zone": f"é{place}", "OBJECTID": 900 - place, "height": None if place % 5 == 0 else place / 3}
        features.append(Feature(100 + 3 * place, geometry, own))
    return features


def points(*places: tuple[float, float], transform: Affine = NORTH_UP) -> list[Feature]:
    """Return points in pixel coordinates as features without ids."""
    return [Feature(None, to_map(shapely.Point(place), transform), {"n": n}) for n, place in enumerate(places)]


def assert_option_matters(request: Request, plain: Request, model: str) -> None:
    """Assert that a service that ignored the option would give other rows."""
    assert _told(expected_rows(request, MODELS[model])) != _told(expected_rows(plain, MODELS[model]))


def _told(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return what a comparison would see, probabilities no finer than it sees them."""
    shown = []
    for row in rows:
        values = [round(v, 3) if isinstance(v, float) else v for v in row.properties.values()]
        shown.append((row.id, *row.properties, *values))
    return shown


# Options, each by itself


@pytest.mark.parametrize(("model", "size"), [("keras", 8), ("keras", "8"), ("keras", None), ("keras-black", None), ("shrinking", None)])  # fmt: skip
def test_chips_are_resampled_to_what_the_network_takes(
    tool: Tool, image: Path, model: str, size: int | str | None
) -> None:
    request = Request([image], random_features(8, 30), UTM, class_scores=True)
    sent = {"class_scores": True} | ({} if size is None else {"resampled_image_size": size})
    tool.check(request, model, EXACT, modelArguments=sent)


@pytest.mark.parametrize("cell_size", [None, 1.7])
def test_chips_are_resampled_as_the_package_says(tool: Tool, image: Path, cell_size: float | None) -> None:
    request = Request([image], random_features(13, 12), UTM, class_scores=True, cell_size=cell_size)
    for model in ("skimage-variable-black", "keras-variable-black", "pillow-smaller", "pillow-smaller-fixed"):
        tool.check(request, model)
    if cell_size is None:
        images = Request([image], None, class_scores=True)
        for model in ("skimage-variable", "keras-variable"):
            tool.check(request, model, EXACT)
            tool.check(images, model, EXACT)


def test_statistics_are_those_of_the_bands_that_the_package_or_the_image_names(tool: Tool, folder: Path) -> None:
    image = make_raster(folder / "three.tif", width=WIDTH, height=HEIGHT, descriptions=["Red", "Green", "Blue"])
    request = Request([image], random_features(9, 20), UTM, class_scores=True)
    tool.check(request, "stats-named", EXACT)
    tool.check(request, "stats-of-image", EXACT)
    other = make_raster(folder / "four.tif", bands=4, descriptions=["red", "green", "blue", "infrared"])
    response = tool.execute(request_body(replace(request, images=[other]), "stats-of-image"))
    assert response.status_code == 400
    assert "4 bands, the statistics of the model 'stats-of-image' have 3" in response.json["errors"][0]["detail"]
    missing = tool.execute(request_body(replace(request, images=[folder / "none.tif"]), "stats-of-image"))
    assert missing.status_code == 400
    assert len(missing.json["errors"]) == 1, "an image that is not there has no bands to complain of"


def test_another_size_than_the_network_takes_is_a_fault_of_the_argument(tool: Tool, image: Path) -> None:
    for model, size, detail in (
        ("keras", 64, "resampled_image_size is 64, the network takes 8"),
        ("keras", 8.5, "resampled_image_size is 8.5, not a whole number from 1 to 8192"),
        ("keras", 0, "resampled_image_size is 0, not a whole number from 1 to 8192"),
        ("fixed", 8, "there is no model argument 'resampled_image_size'"),
    ):
        body = request_body(Request([image], points((9, 9)), UTM), model)
        body["inputs"]["modelArguments"] = {"resampled_image_size": size}
        response = tool.execute(body)
        assert response.status_code == 400
        (fault,) = response.json["errors"]
        assert fault["pointer"] == "/inputs/modelArguments/resampled_image_size"
        assert detail in fault["detail"]


@pytest.mark.parametrize(
    ("model", "tolerance", "crs"),
    [
        *[("fixed", EXACT, UTM), ("tall", EXACT, UTM), ("black", EXACT, UTM), ("mean", EXACT, UTM)],
        *[("variable", RESAMPLED, UTM), ("black-box", RESAMPLED, UTM)],
        *[("fixed", EXACT, CRS84), ("black", EXACT, CRS84), ("variable", RESAMPLED, CRS84)],
    ],
)
def test_chips_of_one_image(tool: Tool, image: Path, model: str, tolerance: float, crs: str) -> None:
    request = Request([image], random_features(1, 30, crs), crs)
    rows = tool.check(request, model, tolerance)
    assert set(statuses(rows)) == {"ok", "outside-image", "empty-geometry"}


@pytest.mark.parametrize(("model", "tolerance"), [("fixed", EXACT), ("black", EXACT), ("variable", RESAMPLED)])
def test_mosaic_of_differing_grids_with_nodata(tool: Tool, mosaic: list[Path], model: str, tolerance: float) -> None:
    request = Request(mosaic, random_features(2, 40), UTM)
    rows = tool.check(request, model, tolerance)
    assert {"ok", "outside-image", "empty-geometry"} <= set(statuses(rows))
    assert_option_matters(request, replace(request, images=mosaic[::-1]), model)
    assert_option_matters(request, replace(request, images=mosaic[:1]), model)


def test_mosaic_of_nodata_only(tool: Tool, folder: Path) -> None:
    a = make_raster(folder / "a.tif", width=30, height=30, nodata=0, nodata_boxes=[(0, 0, 20, 30)])
    request = Request([a], points((8, 8), (22, 22), (17, 9), (29, 0), (40, 9)), UTM)
    assert statuses(tool.check(request, "fixed", EXACT)) == {"ok": 3, "nodata": 1, "outside-image": 1}


@pytest.mark.parametrize(
    ("transform", "model"),
    [
        (SOUTH_UP, "fixed"),
        (SOUTH_UP, "black-box"),
        (rotated(17), "black-box"),
        (rotated(200, 1.3), "fixed"),
        (Affine(0.4, 0, 5e5, 0, -1.1, 5e6), "fixed"),
        (Affine(0.4, 0, 5e5, 0, -1.1, 5e6), "black-box"),
    ],
)
def test_grids_that_are_not_north_up(tool: Tool, folder: Path, transform: Affine, model: str) -> None:
    path = make_raster(folder / "a.tif", width=WIDTH, height=HEIGHT, transform=transform)
    tool.check(Request([path], random_features(3, 30, UTM, transform), UTM), model)


@pytest.mark.parametrize(("cell_size", "model"), [(0.8, "fixed"), (0.2, "tall"), (3.1, "black"), (0.01, "fixed"), (1, "multi")])  # fmt: skip
def test_cell_size_of_fixed_chips(tool: Tool, mosaic: list[Path], cell_size: float, model: str) -> None:
    request = Request(mosaic, random_features(4), UTM, cell_size=cell_size)
    assert_option_matters(request, replace(request, cell_size=None), model)
    tool.check(request, model)


def test_cell_size_of_variable_chips_counts_for_points_alone(tool: Tool, image: Path) -> None:
    request = Request([image], random_features(5, 30), UTM, cell_size=0.9)
    plain = expected_rows(replace(request, cell_size=None), MODELS["variable"])
    other = tool.check(request, "variable")
    changed = [one for one, two in zip(other, plain, strict=True) if _told([one]) != _told([two])]
    assert changed
    assert all(isinstance(row.geometry, shapely.Point) for row in changed)


@pytest.mark.parametrize("model", ["fixed", "multi"])
@pytest.mark.parametrize("media_type", [None, TABLE, GEOPACKAGE])
def test_label_field_and_scores(tool: Tool, image: Path, model: str, media_type: str | None) -> None:
    request = Request([image], random_features(6), UTM, label_field="After_2", class_scores=True, score_threshold=0.6)
    rows = tool.check(request, model, EXACT, media_type)
    assert list(rows[0].properties)[3:] == [
        "After_2", "After_2_Value", "After_2_Confidence", "After_2_Status",
        "After_2_Score_oak", "After_2_Score_pine", "After_2_Score_birch",
    ]  # fmt: skip
    labels = {row.properties["After_2"] for row in rows}
    if model == "multi":
        assert {"", "oak", None} < labels
        assert any(";" in label for label in labels if label)
    else:
        assert statuses(rows, "After_2_Status")["below-threshold"] > 2


@pytest.mark.parametrize(
    ("model", "media_type", "changes"),
    [
        ("root", None, {}),
        ("root", GEOPACKAGE, {"class_scores": True}),
        ("root", TABLE, {"test_time_augmentation": True}),
        ("root", None, {"separate": True, "label_field": "After"}),
        ("root-multi", None, {}),
    ],
)
def test_object_without_finite_scores_has_a_status_and_costs_no_other_its_label(
    tool: Tool, image: Path, model: str, media_type: str | None, changes: dict[str, Any]
) -> None:
    rows = tool.check(Request([image], random_features(6), UTM, **changes), model, EXACT, media_type)
    counts = statuses(rows, "After_Status" if "label_field" in changes else "ClassStatus")
    assert min(counts["not-finite"], counts["ok"], counts["outside-image"]) >= 1


@pytest.mark.parametrize(
    ("model", "threshold"),
    [
        *[("fixed", None), ("fixed", 0.83), ("fixed", 1)],
        *[("multi", None), ("multi", 0), ("multi", 0.5), ("multi", 0.83), ("multi", 1)],
        *[("one-output", 0), ("one-output", 0.5), ("one-output", 0.83)],
    ],
)
def test_score_threshold(tool: Tool, image: Path, model: str, threshold: float | None) -> None:
    request = Request([image], random_features(7), UTM, score_threshold=threshold)
    if threshold == 0.83:
        assert_option_matters(request, replace(request, score_threshold=None), model)
    tool.check(request, model, EXACT)


def test_esris_arguments_do_what_they_do_there(tool: Tool, image: Path) -> None:
    request = Request([image], random_features(14), UTM, score_threshold=0.6, test_time_augmentation=True)
    assert_option_matters(request, replace(request, score_threshold=None), "map-space")
    sent = {"threshold": "0.6", "padding": "0", "explainability_map": "False", "test_time_augmentation": "True"}
    tool.check(request, "map-space", EXACT, modelArguments=sent | {"batch_size": "4"})
    body = request_body(request, "map-space")
    body["inputs"]["modelArguments"] = sent
    told = [warning for warning in tool.execute(body).json["summary"]["warnings"] if "no effect" in warning]
    assert told == ["the model arguments padding and explainability_map have no effect here"]


def test_definition_as_people_write_it_means_the_same(tool: Tool, image: Path) -> None:
    """Its augmentation is on, by the package's own default."""
    request = Request([image], random_features(15), UTM, test_time_augmentation=True, class_scores=True)
    assert_option_matters(request, replace(request, test_time_augmentation=False), "lenient")
    tool.check(request, "lenient", modelArguments={"class_scores": True})
    off = replace(request, test_time_augmentation=False)
    tool.check(off, "lenient", modelArguments={"class_scores": True, "test_time_augmentation": "f"})


def test_package_that_states_no_normalization_is_warned_of_everywhere(tool: Tool, image: Path) -> None:
    words = "states no Normalization and the network shows none"
    for model, is_warned in (("imagenet-not-esri", True), ("fixed", False), ("lenient", False), ("keras", False)):
        described = tool.client.execute("describe-model", {"model": model}).json.get("warnings", [])
        body = request_body(Request([image], points((9, 9)), UTM), model)
        for told in (described, tool.execute(body).json["summary"]["warnings"]):
            assert len([warning for warning in told if words in warning]) == is_warned, (model, told)


@pytest.mark.parametrize("model", ["map-space", "map-space-tall", "no-space", "fixed", "multi"])
def test_test_time_augmentation(tool: Tool, image: Path, model: str) -> None:
    request = Request([image], random_features(8), UTM, test_time_augmentation=True, class_scores=True)
    assert_option_matters(request, replace(request, test_time_augmentation=False), model)
    tool.check(request, model, EXACT)


@pytest.mark.parametrize(
    "model",
    [
        "multi-softmax", "found-softmax", "found-none", "none", "one-output", "imagenet", "imagenet-not-esri", "stats",
        "stats-ordered", "own-over-stats", "reordered",
    ],
)  # fmt: skip
def test_normalisation_and_activation(tool: Tool, folder: Path, model: str) -> None:
    # Values of this image are so dark that also a network without any normalisation is not sure of itself.
    values = random_values((3, HEIGHT, WIDTH), "uint8", 4) // (100 if model == "imagenet-not-esri" else 1)
    path = make_raster(folder / "a.tif", values=values)
    request = Request([path], random_features(9), UTM, class_scores=True)
    tool.check(request, model, EXACT)


def test_networks_of_these_tests_see_every_cell_band_and_turn() -> None:
    chip = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8, 8))
    network = MODELS["fixed"].network
    assert isinstance(network, LinearNetwork)
    views = [*augmented(chip, "MAP_SPACE"), chip[::-1], np.roll(chip, 1, axis=1), np.roll(chip, 1, axis=2)]
    outputs = network(np.stack(views))
    gaps = [abs(one - other).max() for one, other in itertools.combinations(outputs, 2)]
    assert min(gaps) > 0.05
    assert abs(network.weights).min(axis=1).max() > 0
    assert not (network.weights == 0).all(axis=1).any()


@pytest.mark.parametrize(
    "inputs",
    [
        {"modelArguments": {"class_scores": True, "batch_size": 1}},
        {"modelArguments": {"class_scores": " Yes", "batch_size": "7", "score_threshold": "0"}},
        {"parallelProcessingFactor": "50%", "recycleInterval": 1, "retries": 3},
        {"parallelProcessingFactor": 0, "processorType": "CPU", "resultName": "Trees_2"},
        {"parallelProcessingFactor": "2", "processingMode": "mosaic"},
    ],
)
def test_how_the_work_is_done_does_not_change_the_answer(
    tool: Tool, mosaic: list[Path], inputs: dict[str, Any]
) -> None:
    request = Request(mosaic, random_features(15), UTM, class_scores="modelArguments" in inputs)
    tool.check(request, "variable", **inputs)


# DataRange


def ranged_image(path: Path, statistics: tuple[float, float] | None, dtype: str, seed: int, **options: Any) -> Path:
    values = np.random.default_rng(seed).uniform(1, 120, (3, 40, 40)).astype(dtype)
    return make_raster(path, values=values, statistics=statistics, nodata=0, nodata_boxes=[(10, 10, 9, 30)], **options)


@pytest.mark.parametrize("model", ["ranged", "ranged-black"])
def test_data_range_is_that_of_the_image_each_cell_comes_from(tool: Tool, folder: Path, model: str) -> None:
    beside = Affine(0.5, 0, NORTH_UP.c + 6, 0, -0.5, NORTH_UP.f - 3)
    one = ranged_image(folder / "a.tif", (0, 100), "uint8", 1)
    other = ranged_image(folder / "b.tif", (-400, 90), "uint8", 2, transform=beside)
    none = ranged_image(folder / "c.tif", None, "uint8", 2, transform=beside)
    boxes = [Feature(n, to_map(box_around(3 + 5 * n, 12 + n, 7, 6)), {}) for n in range(9)]
    request = Request([one, other], boxes, UTM)
    assert_option_matters(request, replace(request, images=[one, none]), model)
    for images in ([one, other], [other, one], [one, none], [none, one]):
        tool.check(replace(request, images=images), model, EXACT)


@pytest.mark.parametrize(
    ("dtype", "separate"),
    [
        *[("uint8", False), ("int16", False), ("uint16", True), ("int32", False), ("float32", True)],
        *[("float32", False), ("float64", True), ("uint8", True)],
    ],
)
def test_data_range_of_dtypes(tool: Tool, folder: Path, dtype: str, separate: bool) -> None:
    statistics = (-20.5, 140.25) if dtype.startswith("float") else None
    path = ranged_image(folder / "a.tif", statistics, dtype, 3)
    if dtype == "int16":
        with_own = make_raster(folder / "b.tif", values=random_values((3, 40, 40), dtype, 5))
        tool.check(Request([with_own], points((9, 9), (20, 30)), UTM), "ranged", EXACT)
    tool.check(Request([path], points((4, 4), (12, 12), (30, 30), (39, 0)), UTM, separate=separate), "ranged", EXACT)


def test_floats_without_statistics_have_no_range(tool: Tool, folder: Path) -> None:
    path = ranged_image(folder / "a.tif", None, "float32", 3)
    response = tool.execute(request_body(Request([path], points((9, 9)), UTM), "ranged"))
    assert response.status_code == 400, response.text


def test_bands_are_found_by_name_in_each_image_of_a_mosaic(tool: Tool, folder: Path) -> None:
    beside = Affine(0.5, 0, NORTH_UP.c + 6, 0, -0.5, NORTH_UP.f)
    one = make_raster(
        folder / "a.tif", bands=4, width=16, height=30, descriptions=["red", "Green", "x", "NearInfrared"]
    )
    other = make_raster(
        folder / "b.tif", bands=4, width=30, height=30, transform=beside, seed=1,
        descriptions=["NEARINFRARED", "blue", "green", "RED"],
    )  # fmt: skip
    request = Request([one, other], points((5, 9), (15, 9), (30, 20)), UTM)
    found = _told(tool.check(request, "named", EXACT))
    with rasterio.open(other, "r+") as image:
        image.descriptions = ("red", "green", "x", "nearinfrared")
    assert _told(expected_rows(request, MODELS["named"])) != found


# Extent, with features


def _transform(crs: str, target: str, xy: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    transformer = Transformer.from_crs(crs, target, always_xy=True)
    return [transformer.transform(x, y) for x, y in xy]


GERMANY = Affine(0.5, 0, 500_000, 0, -0.5, 5_500_000)
"""Of an image in EPSG:32632, at 9 degrees east."""

EXTENT_FORMS: list[tuple[str, str | None, bool, bool]] = [
    # name, crs as sent, whether northing or latitude comes first, whether heights are there
    ("CRS84 by default", None, False, False),
    ("CRS84 by default, with heights", None, False, True),
    ("CRS84 as URI", "http://www.opengis.net/def/crs/OGC/1.3/CRS84", False, False),
    ("EPSG:4326 is x, y", "EPSG:4326", False, False),
    ("EPSG:4326 as URI is lat, lon", "http://www.opengis.net/def/crs/EPSG/0/4326", True, False),
    ("EPSG:4326 as URN is lat, lon, with heights", "urn:ogc:def:crs:EPSG::4326", True, True),
    ("EPSG:32632", "EPSG:32632", False, False),
    ("EPSG:32632 as URI", "http://www.opengis.net/def/crs/EPSG/0/32632", False, True),
    ("EPSG:31467 is x, y", "EPSG:31467", False, False),
    ("EPSG:31467 as URI is northing, easting", "http://www.opengis.net/def/crs/EPSG/0/31467", True, False),
    ("EPSG:3035 as URI is northing, easting", "http://www.opengis.net/def/crs/EPSG/0/3035", True, True),
]


def extent_around(
    corners: Sequence[tuple[float, float]], crs: str, name: str | None, north_first: bool, heights: bool
) -> dict[str, Any]:
    """Return the extent, in any form, whose corners are these in a CRS."""
    (x0, y0), (x1, y1) = _transform(crs, name or CRS84, corners)
    low, high = sorted([x0, x1]), sorted([y0, y1])
    pairs = [(low[0], high[0]), (low[1], high[1])]
    if north_first:
        pairs = [(y, x) for x, y in pairs]
    bbox = [*pairs[0], -1e6, *pairs[1], 1e6] if heights else [*pairs[0], *pairs[1]]
    return {"bbox": bbox, **({"crs": name} if name else {})}


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        ({"bbox": [1, 2, 3, 4]}, [(1, 2, 3, 4)]),
        ({"bbox": [1, 2, -5, 3, 4, 5]}, [(1, 2, 3, 4)]),
        ({"bbox": [1, 2, 3, 4], "crs": "EPSG:4326"}, [(1, 2, 3, 4)]),
        ({"bbox": [1, 2, 3, 4], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}, [(1, 2, 3, 4)]),
        ({"bbox": [2, 1, 4, 3], "crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}, [(1, 2, 3, 4)]),
        ({"bbox": [2, 1, 0, 4, 3, 9], "crs": "urn:ogc:def:crs:EPSG::4326"}, [(1, 2, 3, 4)]),
        ({"bbox": [1, 2, 3, 4], "crs": "EPSG:31467"}, [(1, 2, 3, 4)]),
        ({"bbox": [2, 1, 4, 3], "crs": "http://www.opengis.net/def/crs/EPSG/0/31467"}, [(1, 2, 3, 4)]),
        ({"bbox": [1, 2, 3, 4], "crs": "http://www.opengis.net/def/crs/EPSG/0/32633"}, [(1, 2, 3, 4)]),
        ({"bbox": [170, 2, -170, 4]}, [(170, 2, 180, 4), (-180, 2, -170, 4)]),
        ({"bbox": [2, 170, 4, -170], "crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}, [(170, 2, 180, 4), (-180, 2, -170, 4)]),
    ],
)  # fmt: skip
def test_the_reference_reads_extents_as_they_are_written(
    extent: dict[str, Any], expected: list[tuple[float, ...]]
) -> None:
    assert rectangles(extent)[1] == expected


@pytest.mark.parametrize(
    ("name", "north_first", "heights"), [row[1:] for row in EXTENT_FORMS], ids=[row[0] for row in EXTENT_FORMS]
)
def test_extent_keeps_the_features_that_it_touches(
    tool: Tool, folder: Path, name: str | None, north_first: bool, heights: bool
) -> None:
    crs = CRS84 if heights else "EPSG:32632"
    path = make_raster(folder / "a.tif", width=WIDTH, height=HEIGHT, crs="EPSG:32632", transform=GERMANY)
    corners = [(500_008.2, 5_499_980.3), (500_023.1, 5_499_995.7)]
    extent = extent_around(corners, "EPSG:32632", name, north_first, heights)
    features = random_features(10, 30, crs, GERMANY, "EPSG:32632")
    rows = tool.check(Request([path], features, crs, extent=extent), "fixed", EXACT)
    assert 5 < len(rows) < 25
    assert "empty-geometry" not in statuses(rows)
    assert [row.id for row in rows] == sorted(int(row.id or 0) for row in rows)


def test_extent_of_another_crs_is_its_rectangle_not_a_box_around_it(tool: Tool, folder: Path) -> None:
    # Away from the middle of its zone UTM's grid is turned against the meridians: here by about 2 degrees.
    transform = Affine(0.5, 0, 700_000, 0, -0.5, 5_000_000)
    path = make_raster(folder / "a.tif", width=WIDTH, height=HEIGHT, transform=transform)
    extent = extent_around([(700_002, 4_999_978), (700_030, 4_999_998)], UTM, None, False, False)
    grid = [
        Feature(f"{x}/{y}", to_map(shapely.Point(x, y), transform)) for x in range(0, 64, 4) for y in range(1, 48, 2)
    ]
    rows = tool.check(Request([path], grid, UTM, extent=extent), "mean", EXACT)
    minx, miny, maxx, maxy = extent["bbox"]
    box = shapely.box(*shapely.bounds(shapely.Polygon(
        _transform(CRS84, UTM, [(minx, miny), (minx, maxy), (maxx, maxy), (maxx, miny)])
    )))  # fmt: skip
    around = [feature for feature in grid if feature.geometry is not None and box.intersects(feature.geometry)]
    assert 0 < len(rows) < len(around) - 4


def test_extent_touched_at_its_edge_or_in_a_hole(tool: Tool, image: Path) -> None:
    x, y = NORTH_UP.c, NORTH_UP.f
    extent = {"bbox": [x + 8, y - 16, x + 16, y - 8], "crs": UTM}
    shapes: Mapping[str, tuple[BaseGeometry, bool]] = {
        "point on the edge": (shapely.Point(16, 20), True),
        "point on the corner": (shapely.Point(32, 32), True),
        "point outside": (shapely.Point(15.99, 20), False),
        "box that shares an edge": (shapely.box(4, 20, 16, 24), True),
        "box around it all": (shapely.box(1, 1, 60, 40), True),
        "box whose hole it lies in": (box_with_hole(shapely.box(1, 1, 60, 40), shapely.box(10, 10, 40, 40)), False),
        "box of which only the box touches": (shapely.Polygon([(10, 40), (40, 10), (40, 40), (10, 42)]), True),
        "line round the corner": (shapely.LineString([(10, 14), (10, 40), (34, 40)]), False),
        "part": (shapely.MultiPoint([(0, 0), (20, 20)]), True),
    }
    features = [Feature(name, to_map(shape)) for name, (shape, _) in shapes.items()]
    rows = tool.check(Request([image], features, UTM, extent=extent), "fixed", EXACT)
    assert [row.id for row in rows] == [name for name, (_, is_kept) in shapes.items() if is_kept]


def test_extent_that_no_feature_touches_gives_no_rows(tool: Tool, image: Path) -> None:
    request = Request([image], random_features(11), UTM, extent={"bbox": [-10, -10, -9, -9]})
    assert tool.check(request, "fixed", EXACT) == []


ACROSS: list[dict[str, Any]] = [
    {"bbox": [179.9996, -17.0005, -179.9996, -17.0]},
    {"bbox": [179.9996, -17.0005, 0, -179.9996, -17.0, 9], "crs": "EPSG:4326"},
    {"bbox": [-17.0005, 179.9996, -17.0, -179.9996], "crs": "http://www.opengis.net/def/crs/EPSG/0/4326"},
]


@pytest.mark.parametrize(
    ("crs", "extent"),
    [
        *[("EPSG:32660", extent) for extent in ACROSS],
        *[("EPSG:32701", ACROSS[0]), ("EPSG:3832", ACROSS[0]), ("EPSG:3832", ACROSS[2])],
    ],
)
def test_extent_across_the_antimeridian(tool: Tool, folder: Path, extent: dict[str, Any], crs: str) -> None:
    ((x, y),) = _transform(CRS84, crs, [(180, -17)])
    transform = Affine(2, 0, x - 100, 0, -2, y + 30)
    path = make_raster(folder / "a.tif", width=100, height=60, crs=crs, transform=transform)
    places = [(-180 + 0.0002 * step if step >= 0 else 180 + 0.0002 * step, -17.0002) for step in range(-4, 5)]
    features = [Feature(n, shapely.Point(place)) for n, place in enumerate([*places, (180, -17.0001), (0, -17.0002)])]
    rows = tool.check(Request([path], features, extent=extent), "fixed", EXACT)
    assert [row.id for row in rows] == [2, 3, 4, 5, 6, 9]
    assert statuses(rows)["ok"] == 6


@pytest.mark.parametrize(
    "extent",
    [
        {"bbox": [500_010, 0, 500_000, 9], "crs": UTM},
        {"bbox": [14, 46, 16, 44]},
        {"bbox": [14, 44, 16]},
        {"bbox": [14, 44, 16, 46, 48]},
        {"bbox": [14, 44, 16, "46"]},
        {"bbox": [14, 44, 16, 46], "crs": "EPSG:0"},
        {"bbox": [14, 44, 16, 46], "srs": "EPSG:4326"},
        {"crs": "EPSG:4326"},
        [14, 44, 16, 46],
    ],
)
def test_extents_that_are_none(tool: Tool, image: Path, extent: Any) -> None:
    body = request_body(Request([image], points((9, 9)), UTM), "fixed")
    body["inputs"]["extent"] = extent
    response = tool.execute(body)
    assert response.status_code == 400, response.text
    assert response.json["errors"][0]["pointer"].startswith("/inputs/extent")


# Longitudes are circular (case antimeridian, 0.3.0)


def across(cell: float) -> list[Feature]:
    """Return objects of all kinds around the antimeridian, in CRS84; most of them are cut there, as RFC 7946 wants."""

    def box(west: float, south: float, east: float, north: float) -> shapely.Polygon:
        turns = 360 if west < -180 else -360 if east > 180 else 0
        return shapely.box(west + turns, south, east + turns, north)

    def cut(west: float, south: float, east: float, north: float) -> BaseGeometry:
        return shapely.MultiPolygon([box(west, south, 180, north), shapely.box(-180, south, east - 360, north)])

    c = cell
    shapes: list[BaseGeometry] = [
        shapely.Point(-180 + 5.3 * c, 1.2 * c),
        shapely.Point(180 - 5.3 * c, -2.2 * c),
        shapely.Point(180, 3 * c),
        shapely.Point(-180, 3 * c),
        shapely.Point(180 + 4.4 * c, 0.3 * c),  # as some programs write it
        shapely.Point(-180 - 6.6 * c, 0.3 * c),
        cut(180 - 4.2 * c, -4 * c, 180 + 3.1 * c, 4.4 * c),
        cut(180 - 0.4 * c, -6 * c, 180 + 8 * c, 2.5 * c),
        shapely.MultiLineString([[(180 - 3 * c, 0), (180, c)], [(-180, c), (-180 + 2.5 * c, 3 * c)]]),
        shapely.MultiPoint([(-180 + 2.2 * c, 0), (180 - 1.7 * c, c)]),
        shapely.box(-180 + 3 * c, -3 * c, -180 + 6.6 * c, c),
        shapely.Point(180 - 900 * c, 0) if c < 0.01 else shapely.Point(180 - 8 * c, 89),
    ]
    return [Feature(number, shape) for number, shape in enumerate(shapes)]


def images_around(folder: Path, cell: float, kind: str) -> list[Path]:
    def at(name: str, west: float, width: int, seed: int = 0) -> Path:
        transform = Affine(cell, 0, west, 0, -cell, 20 * cell)
        return make_raster(folder / name, width=width, height=40, crs="EPSG:4326", transform=transform, seed=seed)

    match kind:
        case "beyond":
            return [at("beyond.tif", 180 - 24 * cell, 64)]
        case "other side":
            return [at("other.tif", -180 - 24 * cell, 64)]
        case "both sides":
            return [at("east.tif", 180 - 30 * cell, 30, 1), at("west.tif", -180, 30, 2)]
        case "both sides, west first":
            return [at("west.tif", -180 + 1.3 * cell, 30, 2), at("east.tif", 180 - 30.3 * cell, 33, 1)]
        case _:
            return [at("world.tif", 0 if kind == "from 0 to 360" else -180, round(360 / cell), 3)]


@pytest.mark.parametrize("model", ["fixed", "variable", "black"])
@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("beyond", 1e-4),
        ("other side", 1e-4),
        ("both sides", 1e-4),
        ("both sides, west first", 1e-4),
        ("from 0 to 360", 2.5),
        ("from -180 to 180", 2.5),
    ],
)
def test_longitudes_are_taken_modulo_360(tool: Tool, folder: Path, model: str, kind: str, cell: float) -> None:
    rows = tool.check(Request(images_around(folder, cell, kind), across(cell)), model, RESAMPLED)
    assert statuses(rows)["ok"] >= 11


@pytest.mark.parametrize("kind", ["beyond", "both sides, west first"])
def test_longitudes_are_circular_for_images_one_by_one_and_extents(tool: Tool, folder: Path, kind: str) -> None:
    images, cell = images_around(folder, 1e-4, kind), 1e-4
    rows = tool.check(Request(images, across(cell), separate=True), "black", RESAMPLED)
    assert statuses(rows)["ok"] >= 11
    for bbox in (
        [180, -1, 180 + 5 * cell, 1],
        [-180, -1, -180 + 5 * cell, 1],
        [180 - 3 * cell, -1, -180 + 3 * cell, 1],
    ):
        rows = tool.check(Request(images, across(cell), extent={"bbox": bbox}), "fixed", EXACT)
        assert 5 < len(rows) < 11
        assert tool.check(Request(images, extent={"bbox": bbox}), "mean", RESAMPLED)


# Separate


@pytest.fixture(scope="module")
def series(tool: Tool) -> list[Path]:
    """Return images of one place of different CRS, cell, size, dtype, band count and order, some of one name."""
    before, after = tool.folder("before"), tool.folder("after")
    ((lon, lat),) = _transform(UTM, CRS84, [(NORTH_UP.c - 3, NORTH_UP.f + 2)])
    ((x, y),) = _transform(UTM, "EPSG:3857", [(NORTH_UP.c + 6, NORTH_UP.f - 5)])
    degrees, mercator = Affine(6e-6, 0, lon, 0, -5e-6, lat), Affine(0.9, 0.2, x, 0.2, -0.9, y)
    far = Affine(0.5, 0, 900_000, 0, -0.5, 5_000_000)
    names = ("green", "RED", "NearInfrared")
    mixed = ("Red", "Blue", "nearinfrared", "GREEN", "RedEdge")
    return [
        make_raster(before / "a.tif", width=WIDTH, height=HEIGHT, seed=1, descriptions=names),
        make_raster(before / "far.tif", transform=far, descriptions=names),
        make_raster(before / "b.tif", width=70, height=60, crs="EPSG:4326", transform=degrees, descriptions=mixed, bands=5),
        make_raster(after / "a.tif", width=30, height=40, crs="EPSG:3857", transform=mercator, dtype="int16",
                    values=random_values((3, 40, 30), "uint8", 6).astype("int16"), descriptions=names,
                    nodata=-1, nodata_boxes=[(0, 0, 15, 30)]),
        make_raster(after / "b.tif", width=64, height=30, seed=7, descriptions=names, alpha=True),
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["named", "variable", "black", "multi"])
@pytest.mark.parametrize("crs", [UTM, CRS84])
def test_separate_gives_a_row_per_feature_and_image(tool: Tool, series: list[Path], model: str, crs: str) -> None:
    request = Request(series, random_features(12, 30, crs), crs, separate=True, class_scores=True)
    rows = tool.check(request, model)
    counts = statuses(rows)
    assert set(counts) == {"ok", "nodata", "outside-image", "empty-geometry"} or model != "black"
    assert {row.properties["ImageID"] for row in rows} == {"a.tif", "b.tif", "a.tif-2", "b.tif-2", None}
    assert len(rows) > 60
    alone = [row for row in rows if row.properties["ImageID"] is None]
    assert {row.properties["ClassStatus"] for row in alone} == {"outside-image", "empty-geometry"}
    response = tool.execute(request_body(replace(request, separate=False), model))
    assert response.status_code == 400, "as a mosaic they don't fit together"


def test_separate_counts_features_without_an_id_by_their_position(tool: Tool, series: list[Path]) -> None:
    features = points((10, 10), (-300, 10), (62, 47), (30, 20))
    features.insert(1, Feature("own", to_map(shapely.Point(20, 20)), {"n": 9}))
    request = Request(series[:2] + series[3:], features, UTM, separate=True)
    rows = tool.check(request, "fixed", EXACT)
    assert [row.id for row in rows][:3] == ["1:a.tif", "1:b.tif", "own:a.tif"]
    assert "3" in [row.id for row in rows]
    x, y = NORTH_UP.c, NORTH_UP.f
    extent = {"bbox": [x + 12, y - 24, x + 50, y], "crs": UTM}
    rows = tool.check(replace(request, extent=extent), "fixed", EXACT)
    assert {str(row.id).split(":")[0] for row in rows} == {"4", "5"}


@pytest.mark.parametrize("media_type", [TABLE, GEOPACKAGE])
def test_separate_in_other_formats(tool: Tool, series: list[Path], media_type: str) -> None:
    request = Request(series, random_features(13), UTM, separate=True, label_field="Then", class_scores=True)
    tool.check(request, "fixed", EXACT, media_type)


def test_separate_with_extent_and_cell_size(tool: Tool, series: list[Path]) -> None:
    extent = extent_around([(500_004, 4_999_982), (500_018, 4_999_996)], UTM, None, False, False)
    images = [series[0], series[1]]
    request = Request(images, random_features(14, 30), UTM, extent=extent, separate=True, cell_size=0.7)
    for plain in (replace(request, extent=None), replace(request, separate=False), replace(request, cell_size=None)):
        assert_option_matters(request, plain, "fixed")
    tool.check(request, "fixed")
    tool.check(replace(request, images=[series[0], *series[3:]]), "named")


def test_separate_tests_the_geometry_against_the_footprint_not_a_box(tool: Tool, folder: Path) -> None:
    turned = make_raster(folder / "turned.tif", width=40, height=40, transform=rotated(45))
    whole = make_raster(folder / "whole.tif", width=WIDTH, height=HEIGHT)
    ring = box_with_hole(box_around(20, 20, 60, 60), box_around(20, 20, 44, 44))
    shapes = {
        "middle": to_map(shapely.Point(20, 20), rotated(45)),
        "in the box only": to_map(shapely.Point(-5, 20), rotated(45)),
        "on the edge": to_map(shapely.Point(0, 20), NORTH_UP),
        "around it": to_map(ring, rotated(45)),
        "line past the corner": to_map(shapely.LineString([(-2, 10), (10, -13)]), rotated(45)),
        "line over the corner": to_map(shapely.LineString([(-2, 1), (1, -2)]), rotated(45)),
        "line into it": to_map(shapely.LineString([(-30, 10), (2, 10)]), rotated(45)),
    }
    features = [Feature(name, shape) for name, shape in shapes.items()]
    rows = tool.check(Request([turned, whole], features, UTM, separate=True), "variable")
    found = [row.id for row in rows]
    assert "middle:turned.tif" in found
    assert "around it:turned.tif" not in found
    assert "line over the corner:turned.tif" not in found
    assert "line into it:turned.tif" in found
    assert "on the edge:whole.tif" in found


# Options together

PAIRS: Mapping[str, Sequence[Any]] = {
    "model": ["fixed", "variable", "black", "black-box", "multi", "map-space-tall"],
    "images": [1, 3],
    "crs": [UTM, CRS84],
    "extent": [None, UTM, CRS84],
    "separate": [False, True],
    "cell_size": [None, 0.8, 0.3],
    "label_field": ["ClassLabel", "Then"],
    "class_scores": [False, True],
    "score_threshold": [None, 0.6],
    "test_time_augmentation": [False, True],
    "media_type": [None, TABLE, GEOPACKAGE],
}


def pairwise_cases() -> Iterator[dict[str, Any]]:
    """Return combinations in which every pair of values of two options occurs."""
    rng = np.random.default_rng(0)
    names = list(PAIRS)
    missing = {
        ((one, i), (other, j))
        for one, other in itertools.combinations(names, 2)
        for i in range(len(PAIRS[one]))
        for j in range(len(PAIRS[other]))
    }
    while missing:
        tries = [{name: int(rng.integers(len(PAIRS[name]))) for name in names} for _ in range(60)]
        covered = [set(itertools.combinations(case.items(), 2)) & missing for case in tries]
        best = int(np.argmax([len(pairs) for pairs in covered]))
        if covered[best]:
            missing -= covered[best]
            yield {name: PAIRS[name][index] for name, index in tries[best].items()}


CASES = list(pairwise_cases())


@pytest.mark.parametrize("case", CASES, ids=["-".join(map(str, case.values())).replace("/", " ") for case in CASES])
def test_options_together(tool: Tool, mosaic: list[Path], case: dict[str, Any]) -> None:
    corners = [(500_004.2, 4_999_981.6), (500_024.1, 4_999_997.3)]
    options = {
        name: value for name, value in case.items() if name not in ("model", "images", "crs", "extent", "media_type")
    }
    extent = case["extent"] and extent_around(corners, UTM, None if case["extent"] == CRS84 else UTM, False, False)
    seed = CASES.index(case)
    request = Request(mosaic[: case["images"]], random_features(seed, 14, case["crs"]), case["crs"], extent, **options)
    assert tool.check(request, case["model"], RESAMPLED, case["media_type"])


def test_classes_whose_names_differ_in_case_alone_have_their_scores(tool: Tool, image: Path, tmp_path: Path) -> None:
    client = tool.client
    inputs = {"image": link(image), "model": "two-cases", "modelArguments": {"class_scores": True}}
    (feature,) = client.execute("classify-objects", inputs).json["features"]
    assert feature["properties"]["Score_Oak"] + feature["properties"]["Score_oak"] == pytest.approx(1, abs=1e-5)
    form = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
    answer = client.execute("classify-objects", inputs, outputs=form)
    (tmp_path / "a.gpkg").write_bytes(answer.data)
    assert {"Score_Oak", "Score_oak_1"} <= set(pyogrio.read_info(tmp_path / "a.gpkg", layer=0)["fields"])
