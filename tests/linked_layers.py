"""Linked layers, read as a request reads them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec

from processes.classify.downloads import FRAME, download_links
from processes.classify.features import read_features
from processes.features.layer import Layer
from processes.ogc.request import InputValue, read_request
from processes.settings import Settings
from processes.sources.download_budget import DownloadBudget
from told_host import ToldHost


def read_layer(link: str | dict[str, str], host: ToldHost, folder: Path, **limits: int) -> Layer:
    """Read a layer as a request does, whose links have been downloaded before."""
    settings = Settings.from_plugin({"hosts": host.authority, "limits": limits}, folder)
    value = {"href": link} if isinstance(link, str) else link
    fetched = Path(tempfile.mkdtemp(dir=folder))
    download_links(read_request(json.dumps({"inputs": {"features": value}}).encode(), FRAME), settings, fetched)
    asked = len(host.asked)
    given = InputValue("/inputs/features", msgspec.Raw(json.dumps(value).encode()))
    try:
        return read_features(given, settings, fetched, DownloadBudget.of(settings))
    finally:
        assert len(host.asked) == asked  # all had been downloaded
