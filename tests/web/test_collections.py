"""Finished results as collections of OGC API - Features: queries, pages, CRS, and how they go."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyproj
import pytest
import shapely
from msgspec import structs
from shapely.geometry import mapping, shape

from ogc_schemas import require_ogc
from processes.crs import parse_crs
from processes.features.serving.feature_index import write_index
from processes.features.serving.items import ItemQuery, find_items, item_texts
from processes.features.serving.stored_result import StoredResult, SummaryParts, store_result
from processes.features.writing.formats import FORMATS
from rasters import to_map
from service import Client, link
from tables import each_row

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
UTM = "http://www.opengis.net/def/crs/EPSG/0/32633"
COUNT = 60
TO_UTM = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True)


def features(ids: bool = True) -> dict[str, Any]:
    """Return triangles, points, one object without geometry; each attribute type, one of several types."""
    rng = random.Random(1)
    found = []
    for number in range(COUNT):
        column, row = rng.uniform(0, 60), rng.uniform(0, 44)
        polygon: Any = to_map(shapely.Polygon([(column, row), (column + 6, row), (column, row + 6)]))
        geometry = None if number == 7 else mapping(polygon.centroid if number % 5 == 0 else polygon)
        properties = {
            "n": number,
            "half": number / 2,
            "kind": ["oak", "elm"][number % 2],
            "tall": number % 3 == 0,
            "mixed": number if number % 2 else str(number),
            "nested": {"a": [number]},
            "ID": f"own {number}",
            "seen": f"2024-05-{1 + number % 28:02}",
        }
        member = {"id": f"t/{number}"} if ids else {}
        found.append({"type": "Feature", **member, "properties": properties, "geometry": geometry})
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "crs": crs, "features": found}


def classify(client: Client, home: Path, name: str, media_type: str = "application/geo+json", **more: Any) -> str:
    inputs = {"image": link(home / "imagery" / "a.tif"), "model": "brightness", "resultName": name, **more}
    outputs = {"classifiedObjects": {"format": {"mediaType": media_type}}}
    response = client.execute("classify-objects", inputs, outputs=outputs)
    assert response.status_code == 200, response.text
    return str(response.headers["Link"].partition(">")[0].removeprefix("<http://localhost"))


@pytest.fixture(scope="module")
def trees(client: Client, home: Path) -> str:
    """Return the path of a collection."""
    classify(client, home, "trees", features=features())
    return "/collections/trees"


@pytest.fixture(scope="module")
def every(client: Client, trees: str) -> list[dict[str, Any]]:
    """Return all features of the collection."""
    return list(get(client, f"{trees}/items?limit=1000")["features"])


def get(client: Client, path: str, status: int = 200) -> Any:
    response = client.http.get(path, buffered=True)
    assert response.status_code == status, response.text
    return response.json


def ids(document: Any) -> list[Any]:
    return [item["id"] for item in document["features"]]


def rel(document: Any, name: str) -> str | None:
    found = [item["href"] for item in document["links"] if item["rel"] == name]
    assert len(found) <= 1
    return found[0].removeprefix("http://localhost") if found else None


# what there is


def test_results_are_listed_as_collections(client: Client, home: Path, trees: str) -> None:
    listed = get(client, "/collections")
    mine = next(item for item in listed["collections"] if item["id"] == "trees")
    document = get(client, trees)
    assert document == mine
    assert document["itemType"] == "feature"
    assert (document["crs"], document["storageCrs"]) == ([CRS84, UTM], UTM)
    for item in document["links"]:
        path = item["href"].removeprefix("http://localhost")
        response = client.http.get(path, buffered=True)
        if not path.endswith((".qml", ".sld")):  # objects of several types share no symbol
            assert (response.status_code, response.mimetype) == (200, item["type"]), path


def test_collections_are_paged(client: Client, home: Path, trees: str) -> None:
    for name in ("one", "two"):
        classify(client, home, name, features=features())
    path, found = "/collections?limit=1", []
    while path:
        page = get(client, path)
        assert len(page["collections"]) == 1
        found.append(page["collections"][0]["id"])
        path = rel(page, "next") or ""
    assert [name for name in found if name in ("one", "two", "trees")] == ["two", "one", "trees"]


def test_the_extent_is_around_all_features(client: Client, trees: str, every: list[Any]) -> None:
    (box,) = get(client, trees)["extent"]["spatial"]["bbox"]
    shapes = [shape(item["geometry"]) for item in every if item["geometry"] is not None]
    assert box == pytest.approx(shapely.union_all(shapes).bounds)


def test_features_are_as_in_the_result(client: Client, trees: str, every: list[dict[str, Any]]) -> None:
    job = rel(get(client, trees), "via")
    result = get(client, f"{job}/results/classifiedObjects")["features"]
    assert len(every) == COUNT
    for item, wanted in zip(every, result, strict=True):
        properties = dict(item["properties"])
        assert properties.pop("id") == item["id"] == wanted["id"]
        properties["ID"] = properties.pop("ID_1")  # as in a GeoPackage: the id is an attribute too
        assert properties == wanted["properties"]
        assert item["geometry"] == wanted["geometry"]


def test_numbers_that_are_not_whole_have_a_decimal_point(client: Client, trees: str) -> None:
    text = client.http.get(f"{trees}/items?limit=3").text
    assert '"half":0.0' in text
    assert '"half":1.0' in text


@each_row(
    ("media_type",),
    [("application/json",), ("text/csv",), ("application/geopackage+sqlite3",)],
)
def test_a_result_of_any_format_is_a_collection(client: Client, home: Path, every: list[Any], media_type: str) -> None:
    name = media_type.partition("/")[2][:8]
    classify(client, home, name, media_type, features=features())
    document = get(client, f"/collections/{name}/items?limit=100")
    assert document["features"] == every
    assert get(client, f"/collections/{name}/items?limit=100&crs={UTM}")["numberReturned"] == COUNT


def test_images_that_are_objects_are_a_collection_and_tables_are_not(client: Client, home: Path) -> None:
    classify(client, home, "image")
    (item,) = get(client, "/collections/image/items")["features"]
    assert item["id"] == item["properties"]["id"] == 1
    assert item["properties"]["ImageID"] == "a.tif"
    assert get(client, "/collections/image/items/1")["geometry"] == item["geometry"]
    classify(client, home, "table", "application/json", image=link(home / "imagery" / "plain.png"))
    get(client, "/collections/table", 404)
    assert "table" not in [found["id"] for found in get(client, "/collections")["collections"]]


# queries


def test_pages_are_whole_and_in_order(client: Client, trees: str, every: list[Any]) -> None:
    path, found, pages = f"{trees}/items?limit=17&kind=oak", [], 0
    before: str | None = None
    while path:
        page = get(client, path)
        assert page["numberReturned"] == len(page["features"])
        assert page["numberMatched"] == COUNT / 2
        types = {item["rel"]: item["type"] for item in page["links"]}
        assert types["self"] == "application/geo+json"
        assert types["alternate"] == "text/html"
        assert types.get("next", "application/geo+json") == "application/geo+json"
        assert rel(page, "prev") == before
        before = rel(page, "self")
        found += page["features"]
        path, pages = rel(page, "next") or "", pages + 1
    assert pages == 2
    assert found == [item for item in every if item["properties"]["kind"] == "oak"]
    assert get(client, f"{trees}/items?offset=1000000")["features"] == []


@each_row(
    ("query", "test"),
    [
        ("n=12", lambda p: p["n"] == 12),
        ("half=6", lambda p: p["half"] == 6),
        ("half=6.5", lambda p: p["half"] == 6.5),
        ("kind=oak", lambda p: p["kind"] == "oak"),
        ("tall=true", lambda p: p["tall"]),
        ("mixed=12", lambda p: p["mixed"] == "12"),
        ("mixed=13", lambda p: p["mixed"] == 13),
        ("ID_1=own 5", lambda p: p["ID_1"] == "own 5"),
        ("id=t/9", lambda p: p["id"] == "t/9"),
        ("seen=2024-05-03", lambda p: p["seen"] == "2024-05-03"),
        ("ClassStatus=ok&tall=false", lambda p: p["ClassStatus"] == "ok" and not p["tall"]),
        ("ClassLabel=none", lambda p: False),
        ("ClassStatus=empty-geometry", lambda p: p["n"] == 7),
    ],
)
def test_features_are_found_by_their_attributes(
    client: Client, trees: str, every: list[Any], query: str, test: Any
) -> None:
    found = get(client, f"{trees}/items?limit=1000&{query}")
    assert ids(found) == [item["id"] for item in every if test(item["properties"])]
    assert found["numberMatched"] == len(found["features"])


def test_features_are_found_where_they_are(client: Client, trees: str, every: list[Any]) -> None:
    """A box around a triangle's empty corner does not touch the triangle; what lies nowhere is found anywhere."""
    west, south, east, north = get(client, trees)["extent"]["spatial"]["bbox"][0]
    shapes = [(item["id"], None if item["geometry"] is None else shape(item["geometry"])) for item in every]
    rng = random.Random(2)
    sizes = []
    for _ in range(40):
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        box = shapely.box(x, y, x + rng.uniform(0, (east - west) / 3), y + rng.uniform(0, (north - south) / 3))
        found = get(client, f"{trees}/items?limit=1000&bbox={','.join(map(repr, box.bounds))}")
        assert ids(found) == [name for name, item in shapes if item is None or item.intersects(box)]
        sizes.append(found["numberMatched"])
        six = [*box.bounds[:2], -5.0, *box.bounds[2:], 5.0]
        assert ids(get(client, f"{trees}/items?limit=1000&bbox={','.join(map(repr, six))}")) == ids(found)
    assert min(sizes) == 1 < max(sizes)
    assert ids(get(client, f"{trees}/items?bbox=170,-10,-170,10")) == ["t/7"]
    assert get(client, f"{trees}/items?bbox=10,-90,9,90")["numberMatched"] == COUNT
    assert get(client, f"{trees}/items?bbox=170,-10,-170,10&ClassStatus=ok")["features"] == []


def test_coordinates_and_boxes_can_be_in_the_results_crs(client: Client, trees: str, every: list[Any]) -> None:
    response = client.http.get(f"{trees}/items?limit=1000&crs={UTM}")
    assert response.headers["Content-Crs"] == f"<{UTM}>"
    given = [item["geometry"] for item in features()["features"]]
    for item, wanted in zip(response.json["features"], given, strict=True):
        assert (item["geometry"] is None) == (wanted is None)
        if wanted is not None:
            assert shape(item["geometry"]).equals_exact(shape(wanted), 1e-9)
    box = shape(given[1]).bounds
    query = f"bbox={','.join(map(repr, box))}&bbox-crs={UTM}&limit=1000"
    expected = [f"t/{n}" for n, item in enumerate(given) if not item or shape(item).intersects(shapely.box(*box))]
    assert ids(get(client, f"{trees}/items?{query}")) == expected
    assert client.http.get(f"{trees}/items").headers["Content-Crs"] == f"<{CRS84}>"


def test_coordinates_have_the_order_of_their_authority(client: Client, home: Path, every: list[Any]) -> None:
    """Latitude is first in EPSG:4258; Part 2 has it so, unlike files."""
    uri = "http://www.opengis.net/def/crs/EPSG/0/4258"
    classify(client, home, "north", "application/geopackage+sqlite3", features=features(), outputCrs="EPSG:4258")
    found = get(client, f"/collections/north/items?limit=1000&crs={uri}")["features"]
    x, y = shape(every[1]["geometry"]).centroid.coords[0]
    other = shape(found[1]["geometry"]).centroid.coords[0]
    assert other == pytest.approx((y, x))
    west, south, east, north = shape(every[1]["geometry"]).bounds
    query = f"bbox={south},{west},{north},{east}&bbox-crs={uri}"
    assert "t/1" in ids(get(client, f"/collections/north/items?limit=1000&{query}"))


def test_a_feature_is_had_by_its_id(client: Client, home: Path, trees: str, every: list[Any]) -> None:
    for number, path in ((3, "t/3"), (59, "t%2F59")):
        response = client.http.get(f"{trees}/items/{path}")
        assert response.mimetype == "application/geo+json"
        document = response.json
        assert {name: document[name] for name in every[number]} == every[number]
        assert rel(document, "collection") == trees
        assert client.http.get(rel(document, "self") or "").json["id"] == document["id"]
    assert get(client, f"{trees}/items/t/3?crs={UTM}")["geometry"]["coordinates"][0][0][0] > 1000
    get(client, f"{trees}/items/t/60", 404)
    get(client, f"{trees}/items/4", 404)
    classify(client, home, "nameless", features=features(ids=False))
    assert get(client, "/collections/nameless/items/4")["properties"]["n"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=x", "limit=-1", "offset=-1", "bbox=1,2,3", "bbox=1,2,3,x", "bbox=1,3,2,2", "bbox=nan,1,2,3",
        "bbox=1,2,3,4&bbox-crs=EPSG:32633", "crs=http://www.opengis.net/def/crs/EPSG/0/3857", "f=xml", "unknown=1",
        "N=1", "datetime=yesterday", "n=one", "half=x", "tall=1", f"bbox=2,1,1,2&bbox-crs={UTM}",
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_by_name(client: Client, trees: str, query: str) -> None:
    document = get(client, f"{trees}/items?{query}", 400)
    assert document["type"] == "InvalidParameterValue"
    assert document["detail"]


def test_unknown_parameters_are_refused_everywhere(client: Client, trees: str) -> None:
    for path in ("/collections", trees, f"{trees}/items", f"{trees}/items/t/3"):
        assert "no parameter" in get(client, f"{path}?other=1", 400)["errors"][0]["detail"]
    for path in ("/collections/none", "/collections/none/items", "/collections/none/items/1"):
        get(client, path, 404)
    for method, path in (("POST", f"{trees}/items"), ("DELETE", f"{trees}/items/t/3"), ("PUT", f"{trees}/items/t/3")):
        assert client.http.open(path, method=method, json={}).status_code == 405


def test_a_limit_above_the_maximum_is_the_maximum(client: Client, trees: str) -> None:
    assert get(client, f"{trees}/items?limit=99999999")["numberReturned"] == COUNT
    assert get(client, f"{trees}/items?datetime=2020-01-01T00:00:00Z/..")["numberMatched"] == COUNT


def test_pages_for_people(client: Client, trees: str) -> None:
    for path in ("/collections", trees, f"{trees}/items", f"{trees}/items/t/3"):
        page = client.http.get(f"{path}?f=html")
        assert page.mimetype == "text/html", path
        assert "trees" in page.text
        assert client.http.get(path, headers={"Accept": "text/html"}).mimetype == "text/html"
        known = {"If-None-Match": client.http.get(path).headers["ETag"]}
        assert client.http.get(path, headers=known).status_code == 304


# how they go


def test_collections_go_with_their_results(client: Client, home: Path) -> None:
    job = classify(client, home, "short", features=features())
    get(client, "/collections/short/items?bbox=-180,-90,180,90")
    client.http.delete(job)
    for path in ("/collections/short", "/collections/short/items", "/collections/short/items/t/3"):
        get(client, path, 404)
    assert "short" not in str(get(client, "/collections"))


def test_what_the_service_conforms_to(client: Client) -> None:
    declared = get(client, "/conformance")["conformsTo"]
    for name in ("1/1.0/conf/core", "1/1.0/conf/geojson", "1/1.0/conf/html", "1/1.0/conf/oas30", "2/1.0/conf/crs"):
        assert f"http://www.opengis.net/spec/ogcapi-features-{name}" in declared
    landing = get(client, "/")
    require_ogc(landing, "landingPage.yaml")
    assert rel(landing, "data") == "/collections"
    assert rel(landing, "service-desc") == "/openapi"
    document = get(client, "/openapi")
    assert document["components"]["parameters"]["limit"]["schema"]["maximum"] == 10_000
    names = [
        document["components"]["parameters"][item["$ref"].rpartition("/")[2]]["name"]
        for item in document["paths"]["/collections/{collectionId}/items"]["get"]["parameters"]
    ]
    assert {"limit", "offset", "bbox", "bbox-crs", "crs", "datetime"} <= set(names)


def test_large_geometries_make_shorter_pages(
    client: Client, trees: str, every: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.features.serving.items._PAGE_BYTES", 500)
    found: list[Any] = []
    path, pages = f"{trees}/items?limit=1000", 0
    while path:
        page = get(client, path)
        found, path, pages = found + page["features"], rel(page, "next") or "", pages + 1
    assert found == every
    assert pages > 5


def test_rows_of_all_blocks_are_found(client: Client, every: list[dict[str, Any]], tmp_path: Path) -> None:
    """A block has 16,384 rows; smaller ones here, written anew."""
    job = client.intake.store.layer("trees")
    assert job is not None
    stored = client.intake.forms.stored(job)
    layer = stored.layer(FORMATS[0])
    small = structs.replace(
        layer,
        rows=lambda: (stored.take(np.arange(n, min(n + 7, COUNT))) for n in range(0, COUNT, 7)),
    )
    parts = SummaryParts({}, [], [], [], "")
    store_result(small, stored.style, parts, None, tmp_path / "small.arrow")
    write_index(tmp_path / "small.arrow", tmp_path / "index.arrow")
    again = StoredResult(tmp_path / "small.arrow")
    assert (again.count, again.blocks, again.block_rows) == (COUNT, 9, 7)
    crs = parse_crs("OGC:CRS84")
    for equal, offset, limit in itertools.product(({}, {"kind": "oak"}), (0, 5, 6, 7, 20, 59, 60), (1, 7, 8, 100)):
        found = find_items(again, None, ItemQuery(None, crs, False, equal), limit, offset)
        wanted = [item for item in every if all(item["properties"][name] == text for name, text in equal.items())]
        texts = [msgspec.json.decode(text) for text in item_texts(again, found.rows, crs, False)]
        assert texts == wanted[offset : offset + limit]
        assert (found.matched, found.has_more) == (len(wanted), offset + limit < len(wanted))


@each_row(
    ("name", "schema"),
    [
        ("limit", {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 10}),
        ("bbox", {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}}),
        ("datetime", {"type": "string"}),
    ],
)
def test_parameters_are_told_as_part_1_has_them(client: Client, name: str, schema: dict[str, Any]) -> None:
    """Requirements 21, 23 and 25, word for word: OGC's suite compares them."""
    document = get(client, "/openapi")
    parameters = document["components"]["parameters"]
    used = document["paths"]["/collections/{collectionId}/items"]["get"]["parameters"]
    (found,) = [item for item in (parameters[ref["$ref"].rpartition("/")[2]] for ref in used) if item["name"] == name]
    assert {key: found[key] for key in ("in", "required", "style", "explode", "schema")} == {
        "in": "query",
        "required": False,
        "style": "form",
        "explode": False,
        "schema": schema,
    }
