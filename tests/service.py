"""The real WSGI application, configured for a test session, and words to talk to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from processes.jobs.intake import Intake
from processes.jobs.step_process import NAME
from processes.model.catalog import Catalog
from processes.model.check_process import check
from processes.settings import Settings

ROOT = Path(__file__).parents[1]


def configure(
    folder: Path,
    *,
    models: Sequence[Path],
    imagery: Sequence[Path],
    limits: Mapping[str, int] | None = None,
    hosts: str = "",
    root: Path = ROOT,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write a configuration like the one that is shipped in `root`, with other folders and limits, and return it.

    Args:
        folder: for the configuration and the state.
        models: folders of packages.
        imagery: folders of images.
        limits: other than those that are shipped.
        root: checkout that it is of.
        settings: of the processes, other than those that are shipped.
    """
    text = (root / "pygeoapi-config.yml").read_text()
    values = {
        "${CLASSIFY_MODELS:-models}": ":".join(map(str, models)),
        "${CLASSIFY_IMAGERY:-}": ":".join(map(str, imagery)),
        "${CLASSIFY_HOSTS:-}": f"'{hosts}'",
        "${CLASSIFY_BUCKETS:-}": "",
        "${CLASSIFY_STATE:-state}": str(folder / "state"),
        "${CLASSIFY_SLOTS:-}": "1",
        "${CLASSIFY_ORIGINS:-}": "'*'",
        "${CLASSIFY_ORIGINS:-*}": "'*'",  # of version 0.3.0
    }
    for variable, value in values.items():
        text = text.replace(variable, value)
    document = yaml.safe_load(re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text))
    document["server"]["bind"] = {"host": "127.0.0.1", "port": 5000}
    document["server"]["url"] = "http://localhost"
    for process in document["resources"].values():
        known = process["processor"]["limits"]
        if "min_free_mb" in known:  # which older checkouts lack; the disk of who tests may be nearly full
            known["min_free_mb"] = 1
        process["processor"] |= {"limits": known | dict(limits or {}), **(settings or {})}
    path = folder / "pygeoapi-config.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def start_runner(configuration: Path) -> subprocess.Popen[bytes]:
    """Start a runner with one slot; it ends with this process."""
    command = [
        sys.executable,
        "-m",
        "processes.programs.cli",
        "--config",
        str(configuration),
        "--parent",
        str(os.getpid()),
        "runner",
    ]
    with (configuration.parent / "runner.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=clean_environment())


def clean_environment() -> dict[str, str]:
    """Return the environment without what configures a service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CLASSIFY_", "PYGEOAPI_"))}


def load_application(configuration: Path) -> Any:
    """Create the application of a configuration, and start its runner."""
    from processes.programs.web import prepare
    from processes.web.app import create_application

    check_models(prepare(configuration))
    runner = start_runner(configuration)
    application = create_application(configuration)
    intake = sys.modules["pygeoapi.flask_app"].api_.manager.intake
    application.extensions |= {"runner": runner, "intake": intake}
    return application


@contextmanager
def models_checked_here() -> Iterator[None]:
    """Check models in this process: sound ones need none of their own, whose start takes a second for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "processes.model.catalog.check_package",
            lambda path, folder, size, _, *rest: check(path, folder, size, *rest),
        )
        yield


def check_models(settings: Settings) -> None:
    """Check the models of a service before it is asked, as its checker would."""
    with models_checked_here():
        Catalog.from_settings(settings).check_packages()


class Client:
    """A test client that speaks JSON; the application's runner ends with it."""

    def __init__(self, application: Any) -> None:
        self.http = application.test_client()
        self.runner: subprocess.Popen[bytes] = application.extensions["runner"]
        self.intake: Intake = application.extensions["intake"]
        weakref.finalize(self, _end, self.runner, self.intake)

    def execute(self, process: str, inputs: Any, headers: Mapping[str, str] | None = None, **members: Any) -> Any:
        """Execute a process and return the response, read to its end."""
        body = {"inputs": inputs, **members}
        return self.http.post(f"/processes/{process}/execution", json=body, headers=headers, buffered=True)


def _end(runner: subprocess.Popen[bytes], intake: Intake) -> None:
    runner.kill()
    runner.wait()
    intake.database.close()


def slots_of(runner: int) -> list[psutil.Process]:
    """Return the processes of a runner's slots."""
    children = psutil.Process(runner).children(recursive=True)
    return [child for child in children if child.name() == NAME]


def left_in(state: Path) -> list[Path]:
    """Return what requests have left in the folder for files that are needed while they are worked on."""
    own = ("lock",)
    folders = [folder for folder in (state / "work").iterdir() if folder.name.startswith("slots-")]
    others = [entry for entry in (state / "work").iterdir() if entry not in folders]
    return others + [entry for folder in folders for entry in folder.iterdir() if entry.name not in own]


def link(path: Path) -> dict[str, str]:
    """Return a link to a file of this machine."""
    return {"href": path.as_uri() + ("/" if path.is_dir() else "")}
