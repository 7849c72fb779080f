"""The real WSGI application, configured for a test session, and words to talk to it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def configure(
    folder: Path, *, models: Sequence[Path], imagery: Sequence[Path], limits: Mapping[str, int] | None = None
) -> Path:
    """Write a configuration like the shipped one with other folders and limits, and return it."""
    text = (ROOT / "pygeoapi-config.yml").read_text()
    values = {
        "${CLASSIFY_MODELS:-models}": ":".join(map(str, models)),
        "${CLASSIFY_IMAGERY:-}": ":".join(map(str, imagery)),
        "${CLASSIFY_HOSTS:-}": "",
        "${CLASSIFY_STATE:-state}": str(folder / "state"),
    }
    for variable, value in values.items():
        text = text.replace(variable, value)
    document = yaml.safe_load(text)
    document["server"]["bind"] = {"host": "127.0.0.1", "port": 5000}
    document["server"]["url"] = "http://localhost"
    for process in document["resources"].values():
        process["processor"]["limits"] = process["processor"]["limits"] | dict(limits or {})
    path = folder / "pygeoapi-config.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def load_application(configuration: Path) -> Any:
    """Import the application anew with a configuration: pygeoapi reads its own at import."""
    from processes.web.start import prepare

    prepare(configuration)
    for name in [name for name in sys.modules if name.startswith(("pygeoapi.flask_app", "processes.web.app"))]:
        del sys.modules[name]
    return importlib.import_module("processes.web.app").application


class Client:
    """A test client that speaks JSON."""

    def __init__(self, application: Any) -> None:
        self.http = application.test_client()

    def execute(self, process: str, inputs: Any, headers: Mapping[str, str] | None = None, **members: Any) -> Any:
        """Execute a process and return the response, read to its end."""
        body = {"inputs": inputs, **members}
        return self.http.post(f"/processes/{process}/execution", json=body, headers=headers, buffered=True)


def link(path: Path) -> dict[str, str]:
    """Return a link to a file of this machine."""
    return {"href": path.as_uri() + ("/" if path.is_dir() else "")}
