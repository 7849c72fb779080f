"""Starting the service: everything is made ready, then the server takes over."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from processes.model.catalog import Catalog
from processes.settings import Settings, load_configuration, load_settings
from processes.web.server import Server

_logger = logging.getLogger(__name__)

_THREADS = 16
_OLD_S = 86_400


def start(configuration: Path) -> None:
    """Serve until stopped.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its folder.
    """
    # the first process of a container ignores the signal unless somebody handles it; the server takes over later
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configuration = configuration.resolve()
    os.chdir(configuration.parent)
    bind = load_configuration(configuration)["server"]["bind"]
    host, port = str(bind["host"]), int(bind["port"])
    os.environ.setdefault("CLASSIFY_URL", f"http://{f'[{host}]' if ':' in host else host}:{port}")
    settings = prepare(configuration)
    Server(host, port, _THREADS, settings.state).run()


def prepare(configuration: Path) -> Settings:
    """Make ready what the application needs when it is imported: its folders, its documents, its models."""
    settings = load_settings(configuration)
    for folder in (*settings.models, *settings.imagery):
        if not folder.is_dir():
            _logger.warning("folder %s is not there; it counts as empty until it appears", folder)
    (settings.state / "results").mkdir(parents=True, exist_ok=True)
    _remove_old_work(settings.state / "work")
    os.environ["PYGEOAPI_CONFIG"] = str(configuration)
    os.environ["PYGEOAPI_OPENAPI"] = str(_write_openapi(configuration, settings.state))
    usable = Catalog(settings.models, settings.state, settings.limits.max_model_mb * 2**20).usable()
    _logger.info("models: %s", ", ".join(usable) or "none that can be used")
    return settings


def _remove_old_work(folder: Path) -> None:
    """Remove the files of requests that a former server did not live to answer."""
    for left in folder.glob("*"):
        if time.time() - left.stat().st_mtime > _OLD_S:
            shutil.rmtree(left, ignore_errors=True)


def _write_openapi(configuration: Path, state: Path) -> Path:
    """Write the OpenAPI document that pygeoapi makes of the configuration; it wants it as a file."""
    from pygeoapi.openapi import generate_openapi_document  # after the environment is set: pygeoapi reads it

    document = generate_openapi_document(configuration, "json", fail_on_invalid_collection=False)
    path = state / "openapi.json"
    path.write_text(document, encoding="utf-8")
    return path
