"""A warm service: a synchronous request with many objects, GeoJSON in and out, against the network alone.

`python bench/warm.py IMAGE OBJECTS PACKAGE FOLDER RUNS` prints the objects per second of each request after the first.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from http import HTTPStatus
from pathlib import Path

import pyogrio
import shapely
import urllib3

import data
from jobs import configure, serving


def main(image: Path, objects: Path, package: Path, folder: Path, runs: int) -> list[float]:
    """Return the objects per second of each request, from its first byte sent to its last one received."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own = folder / "models" / package.name  # else the service looks at the other packages of the benchmarks meanwhile
    shutil.copytree(package, own)
    configuration, port = configure(folder, image, own)
    layer, count = collection(objects)
    body = json.dumps(
        {"inputs": {"image": {"href": image.as_uri()}, "features": layer, "model": package.name}}
    ).encode()
    found = []
    with serving(configuration, port):
        url = f"http://127.0.0.1:{port}/processes/classify-objects/execution"
        for _ in range(1 + runs):
            start_s = time.perf_counter()
            reply = urllib3.request("POST", url, body=body, headers={"Content-Type": "application/json"}, timeout=120)
            if reply.status != HTTPStatus.OK:
                raise SystemExit(reply.data.decode())
            found.append(count / (time.perf_counter() - start_s))
    return found[1:]


def collection(objects: Path) -> tuple[dict[str, object], int]:
    """Return a layer as GeoJSON, and the number of its features."""
    table = pyogrio.read_arrow(objects)[1]
    shapes = json.loads(shapely.to_geojson(shapely.geometrycollections(shapely.from_wkb(table["geom"]))))["geometries"]
    features = [
        {"type": "Feature", "id": number, "properties": {"kind": "building"}, "geometry": shape}
        for number, shape in enumerate(shapes)
    ]
    crs = {"type": "name", "properties": {"name": data.CRS}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}, len(features)


if __name__ == "__main__":
    image, objects, package, folder = map(Path, sys.argv[1:5])
    print(*main(image, objects, package, folder, int(sys.argv[5])))
