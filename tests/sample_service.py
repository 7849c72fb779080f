"""The service with what is shipped: its sample and its models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs_service import Service, running, until
from service import ROOT

SAMPLE = ROOT / "processes" / "sources" / "sample"


@contextmanager
def sample_service(folder: Path) -> Iterator[Service]:
    """Run a service with the shipped sample as imagery and the shipped models, and yield it when they can be used."""
    town, state = folder / "town", folder / "service"
    town.mkdir()
    state.mkdir()
    (town / "models").symlink_to(ROOT / "models")
    shutil.copytree(SAMPLE, town / "imagery")
    with running(Service(town, state)) as service:
        until(lambda: all(item["isUsable"] for item in service.get("/models").json["models"]), 60)
        yield service
