"""The servers that these tests ask, which who runs them has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ogc_processes import Service


def setting(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        pytest.fail(f"{name} is not set: `make test-clients` starts the servers and runs these tests")
    return value


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Return classify-objects with the models `quick` and `slow`."""
    with Service(setting("CLASSIFY_URL")) as service:
        yield service


@pytest.fixture(scope="session")
def pygeoapi() -> Iterator[Service]:
    """Return a pygeoapi as it comes, with its process `hello-world`, and with jobs."""
    with Service(setting("PYGEOAPI_URL")) as service:
        yield service


@pytest.fixture(scope="session")
def image() -> Path:
    return Path(setting("IMAGE"))


@pytest.fixture(scope="session")
def layer() -> Path:
    """Return a GeoJSON file of 12 points on the image."""
    return Path(setting("LAYER"))
