"""OGC API - Features: what OGC's suite (ets-ogcapi-features10) asks of Part 1 and Part 2, test by abstract test.

The suite finds everything by links and by the OpenAPI document, as this does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyproj
import pytest
import shapely
from shapely.geometry import shape

from ogc_schemas import require_ogc
from service import Client, link
from web.test_collections import features

GEOJSON, HTML, JSON = "application/geo+json", "text/html", "application/json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
UTM = "http://www.opengis.net/def/crs/EPSG/0/32633"
BOXES = [
    (-1.5, 50.0, 1.5, 53.0),
    (-80.0, -5.0, -70.0, 5.0),
    (177.0, 65.0, -177.0, 70.0),
    (-180.0, 85.0, 180.0, 90.0),
    (-180.0, -90.0, 180.0, -85.0),
]
"""Over the meridian of Greenwich, the equator, the antimeridian and both poles."""


def ask(client: Client, url: str, accept: str, status: int = 200, **parameters: Any) -> Any:
    path = url.removeprefix("http://localhost")
    response = client.http.get(path, query_string=parameters or None, headers={"Accept": accept}, buffered=True)
    assert response.status_code == status, response.text
    return response


def linked(document: Any, rel: str, media_type: str) -> str:
    """Return the address of the one link of a kind; all links have a kind and a type."""
    assert all(item["rel"] and item["type"] and item["href"] for item in document["links"])
    found = [item["href"] for item in document["links"] if (item["rel"], item["type"]) == (rel, media_type)]
    assert len(found) == 1, (rel, media_type)
    return str(found[0])


@pytest.fixture(scope="module", autouse=True)
def _results(client: Client, home: Any) -> None:
    """Have results in CRS of their own, one of them with latitude first, and one in CRS84."""
    for name, crs in (("metres", "EPSG:32633"), ("latitudes", "EPSG:4258"), ("longitudes", "OGC:CRS84")):
        inputs = {"image": link(home / "imagery" / "a.tif"), "model": "brightness", "features": features()}
        outputs = {"classifiedObjects": {"format": {"mediaType": "application/geopackage+sqlite3"}}}
        done = client.execute("classify-objects", inputs | {"resultName": name, "outputCrs": crs}, outputs=outputs)
        assert done.status_code == 200, done.text


@pytest.fixture(scope="module")
def landing(client: Client) -> Any:
    return ask(client, "/", JSON).json


@pytest.fixture(scope="module")
def listed(client: Client, landing: Any) -> list[Any]:
    found: list[Any] = ask(client, linked(landing, "data", JSON), JSON).json["collections"]
    assert {item["id"] for item in found} >= {"metres", "latitudes", "longitudes"}
    return found


@pytest.fixture(params=["metres", "latitudes", "longitudes"])
def collection(listed: list[Any], request: pytest.FixtureRequest) -> Any:
    return next(item for item in listed if item["id"] == request.param)


@pytest.fixture
def items(collection: Any) -> str:
    return linked(collection, "items", GEOJSON)


def all_pages(client: Client, url: str, accept: str = GEOJSON, **parameters: Any) -> Iterator[Any]:
    page = ask(client, url, accept, **parameters).json
    yield page
    while any(item["rel"] == "next" for item in page["links"]):
        page = ask(client, linked(page, "next", GEOJSON), accept).json
        yield page


# Part 1


def test_the_definition_of_the_api_is_linked_and_valid(client: Client, landing: Any) -> None:
    """Abstract tests 3 to 6."""
    require_ogc(landing, "landingPage.yaml")
    definition = ask(client, linked(landing, "service-desc", OPENAPI), OPENAPI)
    assert definition.mimetype == "application/vnd.oai.openapi+json"
    for path in ("/conformance", "/collections", "/collections/{collectionId}", "/collections/{collectionId}/items"):
        assert definition.json["paths"][path]["get"]["responses"]["200"]
    ask(client, linked(landing, "service-doc", HTML), HTML)
    assert ask(client, linked(landing, "conformance", JSON), JSON).json["conformsTo"]


def test_collections_are_described_alike_in_the_list_and_alone(client: Client, landing: Any, collection: Any) -> None:
    """Abstract tests 9 to 15."""
    page = ask(client, linked(landing, "data", JSON), JSON).json
    linked(page, "self", JSON)
    ask(client, linked(page, "alternate", HTML), HTML)
    alone = ask(client, linked(collection, "self", JSON), JSON).json
    for name in ("id", "title", "description", "extent", "itemType", "crs", "storageCrs"):
        assert alone[name] == collection[name]
    for media_type in (GEOJSON, HTML):
        assert ask(client, linked(collection, "items", media_type), media_type).mimetype == media_type
    box = shapely.box(*collection["extent"]["spatial"]["bbox"][0])
    shapes = [
        found["geometry"]
        for page in all_pages(client, linked(collection, "items", GEOJSON))
        for found in page["features"]
    ]
    assert all(box.covers(shape(item)) for item in shapes if item is not None)


def test_features_come_in_pages(client: Client, collection: Any, items: str) -> None:
    """Abstract tests 17, 22, 23, 26 to 30."""
    pages = list(all_pages(client, items, limit=25))
    for page in pages:
        assert page["type"] == "FeatureCollection"
        assert page["numberReturned"] == len(page["features"]) <= 25
        assert page["numberMatched"] == sum(len(each["features"]) for each in pages)
        linked(page, "self", GEOJSON)
        ask(client, linked(page, "alternate", HTML), HTML)
        require_in_crs84(page)
    assert len(ask(client, items, GEOJSON, limit=1).json["features"]) == 1


def require_in_crs84(page: Any) -> None:
    world = shapely.box(-180, -90, 180, 90)
    assert all(world.covers(shape(item["geometry"])) for item in page["features"] if item["geometry"] is not None)


def test_a_box_finds_what_it_touches_and_what_lies_nowhere(client: Client, collection: Any, items: str) -> None:
    """Abstract tests 18 and 19, in the places that the suite takes."""
    (own,) = collection["extent"]["spatial"]["bbox"]
    nowhere = ["t/7"]
    for box in (own, *BOXES):
        page = ask(client, items, GEOJSON, bbox=",".join(map(str, box))).json
        require_in_crs84(page)
        found = [item["id"] for item in page["features"]]
        assert found[:8] == [f"t/{number}" for number in range(8)] if box is own else found == nowhere
    west, south, east, north = own
    six = f"{west},{south},-10,{east},{north},10"
    assert ask(client, items, GEOJSON, bbox=six).json["numberMatched"] == 60


def test_times_match_features_that_have_none(client: Client, items: str) -> None:
    """Abstract tests 20 and 21."""
    for time in ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z/2021-01-01T00:00:00Z", "../2021-01-01T00:00:00Z"):
        assert ask(client, items, GEOJSON, datetime=time).json["numberMatched"] == 60


@pytest.mark.parametrize("wrong", [{"limit": "unlimited"}, {"unknownQueryParameter12345": 1}])
def test_wrong_parameters_are_a_400(client: Client, items: str, wrong: dict[str, Any]) -> None:
    """Abstract tests 24 and 25."""
    assert "errors" in ask(client, items, GEOJSON, 400, **wrong).json


def test_a_feature_is_had_alone(client: Client, collection: Any, items: str) -> None:
    """Abstract tests 31 to 33; the suite puts the id behind the address as it is."""
    first = ask(client, items, GEOJSON).json["features"][0]
    found = ask(client, f"{items}/{first['id']}", GEOJSON).json
    assert (found["type"], found["geometry"], found["properties"]) == (
        "Feature",
        first["geometry"],
        first["properties"],
    )
    assert ask(client, linked(found, "self", GEOJSON), GEOJSON).json == found
    ask(client, linked(found, "alternate", HTML), HTML)
    assert ask(client, linked(found, "collection", JSON), JSON).json["id"] == collection["id"]


# Part 2


def test_crs_are_listed_with_the_default_first(collection: Any) -> None:
    """Abstract tests 1 to 3."""
    assert collection["crs"][0] == CRS84
    assert collection["storageCrs"] in collection["crs"]
    assert len(collection["crs"]) == (1 if collection["id"] == "longitudes" else 2)


def test_coordinates_come_in_every_crs_that_is_listed(client: Client, collection: Any, items: str) -> None:
    """Abstract tests 4, 6 and 7."""
    plain = ask(client, items, GEOJSON)
    assert plain.headers["Content-Crs"] == f"<{CRS84}>"
    wanted = [shape(item["geometry"]) for item in plain.json["features"] if item["geometry"] is not None]
    for crs in collection["crs"]:
        answer = ask(client, items, GEOJSON, crs=crs)
        assert answer.headers["Content-Crs"] == f"<{crs}>"
        back = pyproj.Transformer.from_crs(crs, CRS84)  # the order of the authority, as Part 2 has it
        shapes = [shape(item["geometry"]) for item in answer.json["features"] if item["geometry"] is not None]
        for found, expected in zip(shapes, wanted, strict=True):
            moved = shapely.get_coordinates(found)
            moved[:, 0], moved[:, 1] = back.transform(*moved.T)
            assert moved == pytest.approx(shapely.get_coordinates(expected), abs=1e-8)
        alone = ask(client, f"{items}/t/0", GEOJSON, crs=crs)
        assert alone.headers["Content-Crs"] == f"<{crs}>"
        assert alone.json["geometry"] == answer.json["features"][0]["geometry"]


@pytest.mark.parametrize(
    "crs", ["http://www.opengis.net/def/crs/0/unsupported", "EPSG:32633", "", UTM.replace("3263", "2583")]
)
def test_a_crs_that_is_not_listed_is_a_400(client: Client, items: str, crs: str) -> None:
    """Abstract tests 5 and 9."""
    ask(client, items, GEOJSON, 400, crs=crs)
    ask(client, f"{items}/t/0", GEOJSON, 400, crs=crs)
    ask(client, items, GEOJSON, 400, **{"bbox": "5,49,6,50", "bbox-crs": crs})


def test_a_box_can_be_in_every_crs_that_is_listed(client: Client, collection: Any, items: str) -> None:
    """Abstract tests 8 and 10."""
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    plain = ask(client, items, GEOJSON, bbox=f"{west},{south},{east},{north}", limit=100).json
    for crs in collection["crs"]:
        to = pyproj.Transformer.from_crs(CRS84, crs)
        box = ",".join(map(repr, to.transform_bounds(west, south, east, north)))
        found = ask(client, items, GEOJSON, **{"bbox": box, "bbox-crs": crs, "limit": 100}).json
        assert found["features"] == plain["features"]
