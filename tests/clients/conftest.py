"""The servers that clients are tested against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs_service import Service, make_town, running
from pygeoapi_server import PROCESSES, pygeoapi_server
from service import ROOT


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service with the models of a town, and the one that is shipped for the sample."""
    town = make_town(tmp_path_factory.mktemp("town"))
    (town / "models" / "roof-damage").symlink_to(ROOT / "models" / "roof-damage")
    with running(Service(town, tmp_path_factory.mktemp("service"))) as service:
        yield service


@pytest.fixture(scope="session")
def pygeoapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a pygeoapi as it comes, with its own processes and its own manager of jobs."""
    with pygeoapi_server(tmp_path_factory.mktemp("pygeoapi"), PROCESSES, is_described=True) as url:
        yield url
