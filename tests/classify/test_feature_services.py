"""Layers of services: Esri's, by a double of its documentation, and WFS, of MapServer and of odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esri_services import FeatureServer
from linked_layers import read_layer as read
from mapserver import wfs_of
from processes.errors import LayerError, LimitError, RequestError, ServiceError
from processes.features.layer import Layer
from told_host import Answer, ToldHost, told_host

COUNT = 25
IDS = [number * 3 + 1 for number in range(COUNT)]
"""Rows were deleted."""
LAYER = "/arcgis/rest/services/Trees/FeatureServer/0"


@pytest.fixture
def host() -> Iterator[ToldHost]:
    with told_host() as told:
        yield told


def fault(link: str | dict[str, str], host: ToldHost, folder: Path, **limits: int) -> ServiceError:
    with pytest.raises(RequestError) as caught:
        read(link, host, folder, **limits)
    (found,) = caught.value.faults
    assert found.pointer == "/inputs/features/href"
    assert str(folder) not in found.detail
    return found.error


def point(number: int) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [10 + number / 100, 50 - number / 100]}


def trees(count: int = COUNT) -> list[dict[str, Any]]:
    return [
        {
            "type": "Feature",
            "id": number,
            "geometry": point(number),
            "properties": {"OBJECTID": number, "name": "oak" if number % 2 else "pine"},
        }
        for number in IDS[:count]
    ]


def ids(layer: Layer) -> list[Any]:
    assert layer.ids is not None
    found: list[Any] = layer.ids.to_pylist()
    return found


@pytest.mark.parametrize("ending", ["", "/", "/query", "?f=html"])
@pytest.mark.parametrize("in_properties", [True, False])
def test_all_of_an_esri_layer_is_read(host: ToldHost, tmp_path: Path, ending: str, in_properties: bool) -> None:
    service = host.services[LAYER] = FeatureServer(trees(), in_properties=in_properties)
    layer = read(f"{host.url}{LAYER}{ending}", host, tmp_path)
    assert ids(layer) == IDS
    assert layer.attributes.column("OBJECTID").to_pylist() == IDS
    assert [(shape.x, shape.y) for shape in layer.geometries(24, 25)] == [(10.73, 49.27)]
    assert layer.warnings == ()
    assert [query.get("resultOffset") for query in service.asked] == [None, "0", "10", "20"]


def test_an_esri_layer_that_gives_one_feature_at_a_time_is_read(host: ToldHost, tmp_path: Path) -> None:
    service = host.services[LAYER] = FeatureServer(trees(), max_record_count=1)
    assert ids(read(f"{host.url}{LAYER}", host, tmp_path)) == IDS
    assert len(service.asked) == len(IDS) + 1  # the layer's own document, and a page for each


def test_a_query_to_an_esri_layer_is_kept(host: ToldHost, tmp_path: Path) -> None:
    host.services[LAYER] = FeatureServer(trees(), token="a/b+c=", max_record_count=5)  # noqa: S106
    link = f"{host.url}{LAYER}?where=name%3D%27oak%27&outFields=OBJECTID&token=a%2Fb%2Bc%3D"
    layer = read(link, host, tmp_path)
    assert ids(layer) == [number for number in IDS if number % 2]
    assert layer.attributes.column_names == ["OBJECTID"]
    assert "error 499: Token Required" in fault(f"{host.url}{LAYER}", host, tmp_path).detail
    assert len(read(link + "&resultOffset=10", host, tmp_path)) == 3


def test_an_esri_layer_that_is_cut_off_is_refused(host: ToldHost, tmp_path: Path) -> None:
    host.services[LAYER] = FeatureServer(trees(), supports_pagination=False)
    said = fault(f"{host.url}{LAYER}", host, tmp_path)
    assert isinstance(said, LayerError)
    assert "cut off behind 10 features" in said.detail
    host.services[LAYER] = FeatureServer(trees(10), supports_pagination=False)
    assert ids(read(f"{host.url}{LAYER}", host, tmp_path)) == IDS[:10]


def test_what_an_esri_service_refuses_is_told(host: ToldHost, tmp_path: Path) -> None:
    host.services[LAYER] = FeatureServer(trees(), formats="JSON, AMF")
    assert "gives JSON, AMF; only GeoJSON" in fault(f"{host.url}{LAYER}", host, tmp_path).detail
    host.services[LAYER] = FeatureServer(trees())
    said = fault(f"{host.url}{LAYER}?orderByFields=zz", host, tmp_path).detail
    assert "error 400: Cannot perform query. Invalid query parameters. 'orderByFields' is invalid" in said
    host.files[f"{LAYER}?f=json"] = "text/html", b"<html>"
    assert "does not have" in fault(f"{host.url}{LAYER}", host, tmp_path).detail
    host.files[f"{LAYER}?f=json"] = "application/json", b'{"name": "Trees", "type": "Group Layer"}'
    assert "is a Group Layer" in fault(f"{host.url}{LAYER}", host, tmp_path).detail


def test_an_esri_layer_with_too_many_features_is_refused(host: ToldHost, tmp_path: Path) -> None:
    host.services[LAYER] = FeatureServer(trees())
    assert isinstance(fault(f"{host.url}{LAYER}", host, tmp_path, max_objects=12), LimitError)


@pytest.fixture
def map_server(host: ToldHost, tmp_path: Path) -> ToldHost:
    give_map_server(host, tmp_path)
    return host


def give_map_server(host: ToldHost, folder: Path, **changes: Any) -> None:
    """Let MapServer answer at `/wfs`, with a layer of 25 points in EPSG:32633."""
    shapes = [{"type": "Point", "coordinates": [500_000 + number, 5_000_000 - number]} for number in range(COUNT)]
    features = [{"type": "Feature", "properties": {"number": n}, "geometry": shape} for n, shape in enumerate(shapes)]
    host.services["/wfs"] = wfs_of(folder, features, **changes)


@pytest.mark.parametrize(("crs", "page"), [("EPSG:4326", 12), ("EPSG:3857", 1000), ("srsName", 1000)])
def test_all_of_a_wfs_layer_is_read(host: ToldHost, tmp_path: Path, page: int, crs: str) -> None:
    """MapServer says that twelve are matched where it gives twelve at once."""
    give_map_server(host, tmp_path, page=page, crs="EPSG:4326" if crs == "srsName" else crs)
    given = "&srsName=urn:ogc:def:crs:EPSG::32633" if crs == "srsName" else ""
    link: Any = f"{host.url}/wfs?SERVICE=WFS&typeNames=ms:trees{given}"
    if page == 12:
        link = {"href": f"{host.url}/wfs?typenames=trees{given}", "type": "application/vnd.ogc.wfs"}
    layer = read(link, host, tmp_path)
    assert list(map(int, layer.attributes.column("number").to_pylist())) == list(range(COUNT))
    assert layer.crs is not None
    assert layer.name == "trees"
    x, y = layer.geometries(24, 25)[0].x, layer.geometries(24, 25)[0].y
    if crs == "EPSG:4326":
        assert (x, y) == pytest.approx((15.000305, 45.153261), abs=1e-6)
    else:
        assert (layer.crs.to_epsg(), x, y) == (32633, 500_024, 4_999_976)
    assert bool(layer.warnings) == (page == 12)


def test_what_a_wfs_has_is_told(map_server: ToldHost, tmp_path: Path) -> None:
    host = map_server
    said = fault(f"{host.url}/wfs?SERVICE=WFS", host, tmp_path).detail
    assert "names no layer by typeNames=; the service has 'ms:trees'" in said
    assert "asks for the layer 'bushes'" in fault(f"{host.url}/wfs?SERVICE=WFS&typeNames=bushes", host, tmp_path).detail
    give_map_server(host, tmp_path, formats="gml")
    assert "not as GeoJSON" in fault(f"{host.url}/wfs?SERVICE=WFS&typeNames=trees", host, tmp_path).detail
    host.services["/wfs"] = lambda _: (200, "text/html", b"<html>hello</html>")
    assert "capabilities of a WFS 2.0.0" in fault(f"{host.url}/wfs?SERVICE=WFS&typeNames=trees", host, tmp_path).detail


def test_a_wfs_that_ends_early_is_refused(map_server: ToldHost, tmp_path: Path) -> None:
    """It says that 25 are matched, and gives 7, whatever is asked for."""
    host, whole = map_server, map_server.services["/wfs"]

    def answer(query: dict[str, str]) -> Answer:
        if query.get("resultType") == "hits":
            return 200, "text/xml", b'<wfs:FeatureCollection xmlns:wfs="w" numberMatched="25" numberReturned="0"/>'
        if int(query.get("startIndex", 0)) >= 7:
            return 200, "application/json", b'{"type": "FeatureCollection", "features": []}'
        return whole(query)

    host.services["/wfs"] = answer
    said = fault(f"{host.url}/wfs?SERVICE=WFS&typeNames=trees", host, tmp_path).detail
    assert "7 of 25 features were read" in said


def test_an_exception_of_a_wfs_is_told(map_server: ToldHost, tmp_path: Path) -> None:
    host, whole = map_server, map_server.services["/wfs"]
    report = (
        b'<ows:ExceptionReport xmlns:ows="o"><ows:Exception exceptionCode="NoApplicableCode"><ows:ExceptionText>Cannot do '
        b"natural order without a primary key</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"
    )
    host.services["/wfs"] = lambda query: (200, "text/xml", report) if "startIndex" in query else whole(query)
    said = fault(f"{host.url}/wfs?SERVICE=WFS&typeNames=trees", host, tmp_path).detail
    assert "refuses the request: Cannot do natural order" in said
