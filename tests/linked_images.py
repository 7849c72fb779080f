"""Images behind links, opened as a request opens them, and a catalog's documents."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.classify.downloads import FRAME, download_links, has_host_links
from processes.classify.images import open_images
from processes.errors import Fault
from processes.imagery.image import Image
from processes.imagery.remote_source import RemoteAccess
from processes.imagery.source import gdal_settings
from processes.imagery.tiles import BandSelection, TileReader
from processes.ogc.request import read_request
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from processes.sources.part_cache import PartCache
from told_host import ToldHost

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
POINT = {"type": "Point", "coordinates": [15, 45]}


def asset(href: str, *roles: str, kind: str | None = TIFF) -> dict[str, Any]:
    return {"href": href} | ({"type": kind} if kind else {}) | ({"roles": roles} if roles else {})


def item(name: str, *links: Any, **assets: Any) -> dict[str, Any]:
    frame = {"type": "Feature", "stac_version": "1.1.0", "id": name, "geometry": POINT, "bbox": [15, 45, 15, 45]}
    return {**frame, "properties": {"datetime": "2026-01-01T00:00:00Z"}, "links": list(links), "assets": assets}


def items(*features: Any, **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features, "links": [], **members}


def give(host: ToldHost, target: str, content: Path | Any) -> None:
    """Let a host give a file, or a value as JSON."""
    if isinstance(content, Path):
        host.files[target] = "image/tiff", content.read_bytes()
    else:
        host.files[target] = "application/geo+json", json.dumps(content).encode()


def opened(
    link: str | dict[str, Any],
    host: ToldHost,
    folder: Path,
    faults: list[Fault] | None = None,
    inputs: Mapping[str, Any] | None = None,
    **limits: int,
) -> list[Image]:
    """Open linked images as a request does, and once more with what was downloaded before."""
    settings = Settings.from_plugin(
        {"hosts": host.authority, "imagery": str(folder / "imagery"), "limits": limits}, folder
    )
    value = {"href": link} if isinstance(link, str) else link
    body = json.dumps({"inputs": {"image": value, **(inputs or {})}}).encode()
    request = read_request(body, {**FRAME, "inputs": {**FRAME["inputs"], "cellSize": {}, "processingMode": {}}})
    scratch = Path(tempfile.mkdtemp(dir=folder))
    found: list[Fault] = []
    access = RemoteAccess(settings, PartCache(folder / "near", 2**26))
    images = [image for image, _ in open_images(request, access, scratch, DownloadBudget.of(settings), found)]
    again: list[Fault] = []
    fetched = Path(tempfile.mkdtemp(dir=folder))
    assert has_host_links(request, settings)
    download_links(request, settings, fetched)
    asked = len(host.asked)
    after = open_images(request, access, fetched, DownloadBudget.of(settings), again)
    assert [image.name for image, _ in after] == [image.name for image in images]
    assert [fault.detail for fault in again] == [fault.detail for fault in found]
    assert len(host.asked) == asked  # all had been downloaded
    assert all(fault.pointer.startswith("/inputs/image") for fault in found)
    if faults is None:
        assert not found
    else:
        faults += found
    return images


def cells(image: Image) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return all cells of an image as chips are cut from it, and which are valid."""
    height, width = image.shape
    bands = len(image.data_bands)
    with gdal_settings(), TileReader([image], [BandSelection(image.data_bands)]) as tiles:
        found = np.zeros((bands, height, width), tiles.dtype)
        valid = np.zeros((height, width), bool)
        assert tiles.cut(0, (0, 0, width, height), found, valid)
    return found, valid
