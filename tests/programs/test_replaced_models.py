"""Files of a package are replaced while the service runs: no answer has labels of the old ones from then on."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import definition, save_mean_network
from jobs_service import Reply, Service, make_town, running, until
from model_networks import put_weights_beside
from model_oracle import package_digest

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(600)]

FILES = ("model.emd", "net.onnx", "net.onnx.data")
SOON_S = 120
NORMALIZATION = {"scale": 0.5, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("replaced")
    town = make_town(folder / "town", chip_ms=0.2)
    (folder / "models").mkdir()
    with running(Service(town, folder, models=f"{town / 'models'}:{folder / 'models'}")) as started:
        yield started


@pytest.fixture
def package(service: Service) -> Iterator[Path]:
    """Give a package with weights in another file, which the service knows."""
    folder = service.folder / "models" / "beside"
    folder.mkdir()
    put_weights_beside(save_mean_network(folder / "net.onnx", 3, None))
    write_definition(folder)
    until(lambda: execute(service).status == 200, SOON_S)
    yield folder
    shutil.rmtree(folder)


def write_definition(folder: Path, **changes: Any) -> None:
    (folder / "new").write_text(json.dumps(definition(**({"Normalization": "none"} | changes))))
    os.replace(folder / "new", folder / "model.emd")


def execute(service: Service) -> Reply:
    return service.execute(service.inputs(3, "beside"))


def swapped(folder: Path) -> None:
    """Replace the weights by others of the same size: the labels change places."""
    (folder / "new").write_bytes(np.array([1, 0], np.float32).tobytes())
    os.replace(folder / "new", folder / "net.onnx.data")


def overwritten(folder: Path) -> None:
    """The same in place, with the time of the old file, as some copying programs do."""
    status = (folder / "net.onnx.data").stat()
    with (folder / "net.onnx.data").open("r+b") as file:
        file.write(np.array([1, 0], np.float32).tobytes())
    os.utime(folder / "net.onnx.data", ns=(status.st_atime_ns, status.st_mtime_ns))


def renamed(folder: Path) -> None:
    write_definition(folder, Classes=list(reversed(definition()["Classes"])))


def normalized(folder: Path) -> None:
    write_definition(folder, Normalization=NORMALIZATION)


def labels(reply: Reply) -> list[tuple[str, float]]:
    found = [item["properties"] for item in reply.json["features"]]
    return [(item["ClassLabel"], item["Confidence"]) for item in found]


@pytest.mark.parametrize("replace", [swapped, overwritten, renamed, normalized])
def test_no_answer_has_old_labels_after_a_file_was_replaced(
    service: Service, package: Path, replace: Callable[[Path], None]
) -> None:
    old = [execute(service) for _ in range(4)][-1]  # so that each slot has opened the network
    assert old.json["summary"]["model"]["sha256"] == package_digest(package, *FILES)
    replace(package)
    start_s, replies = time.monotonic(), list[Reply]()
    while sum(reply.status == 200 for reply in replies) < 6:
        replies.append(execute(service))
        assert time.monotonic() - start_s < SOON_S
    for reply in replies:
        if reply.status == 200:
            assert reply.json["summary"]["model"]["sha256"] == package_digest(package, *FILES)
            names = [name for name, _ in labels(reply)]
            assert labels(reply) != labels(old)
            assert (names == [name for name, _ in labels(old)]) is (replace is normalized)
        else:
            assert (reply.status, "is being checked" in reply.json["detail"]) == (503, True)
    told = service.request("POST", "/processes/describe-model/execution", {"inputs": {"model": "beside"}})
    assert told.json["sha256"] == package_digest(package, *FILES)


@pytest.mark.parametrize("replace", [swapped, overwritten, renamed])
def test_running_job_fails_with_changed(service: Service, package: Path, replace: Callable[[Path], None]) -> None:
    shutil.copy(service.town / "models" / "slow" / "net.onnx", package / "net.onnx")
    put_weights_beside(package / "net.onnx")
    until(lambda: execute(service).status == 200, SOON_S)
    job = service.submit(40_000, "beside")
    until(lambda: service.status(job)["progress"] > 0, SOON_S)
    replace(package)
    found = service.wait(job, timeout_s=SOON_S)
    assert found["status"] == "failed", found
    assert found["exception"]["detail"] == "the model 'beside' was changed after the request was accepted"
    assert found["exception"]["errors"][0]["pointer"] == "/inputs/model"


def test_running_job_goes_on_where_what_was_added_changes_no_label(service: Service, package: Path) -> None:
    shutil.copy(service.town / "models" / "slow" / "net.onnx", package / "net.onnx")
    put_weights_beside(package / "net.onnx")
    until(lambda: execute(service).status == 200, SOON_S)
    job = service.submit(8_000, "beside")
    until(lambda: service.status(job)["progress"] > 0, SOON_S)
    (package / "README.md").write_text("a card")
    assert service.wait(job, timeout_s=SOON_S)["status"] == "successful"
