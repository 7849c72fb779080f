"""What a job shows of a large request, and what reading it costs."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from processes.jobs.request_summary import request_summary

LINK = {"href": "https://user:hush@host.example/a.tif?key=hush"}
SHOWN_LINK = {"href": "https://host.example/a.tif"}
POINT = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [7.5, 51.25]}, "properties": {"name": "a"}}
CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
IMAGE = {"encoding": "base64", "mediaType": "image/png"}


def collection(count: int) -> dict[str, Any]:
    return {"type": "FeatureCollection", "crs": CRS, "features": [POINT] * count}


@pytest.mark.parametrize("count", [1, 50_000])
def test_inline_data_and_secrets_are_left_out_of_small_and_large_requests(count: int) -> None:
    features = {"type": "FeatureCollection", "crs": CRS}
    inputs = {"model": "a", "image": [LINK, IMAGE | {"value": "A" * count}], "features": collection(count)}
    qualified = {"value": collection(count), "mediaType": "application/geo+json"}
    request = {"inputs": inputs | {"qualified": qualified}, "outputs": {}, "subscriber": {"successUri": LINK["href"]}}
    summary = request_summary(json.dumps(request).encode())
    assert summary is not None
    assert json.loads(summary) == {
        "inputs": {
            "model": "a",
            "image": [SHOWN_LINK, IMAGE],
            "features": features,
            "qualified": {"value": features, "mediaType": "application/geo+json"},
        },
        "outputs": {},
        "subscriber": {"successUri": SHOWN_LINK["href"]},
    }


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"features": collection(100_000)}, id="features"),
        pytest.param({"image": IMAGE | {"value": "A" * 2**24}}, id="image"),
        pytest.param({"model": [1] * 10**6}, id="numbers"),
        pytest.param({"model": "a" * 10**6}, id="text"),
    ],
)
def test_a_large_request_becomes_no_objects(inputs: dict[str, Any]) -> None:
    body = json.dumps({"inputs": inputs}).encode()
    tracemalloc.start()
    summary = request_summary(body)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (summary is None) == ("model" in inputs)
    assert peak_bytes < len(body) + 2**18
