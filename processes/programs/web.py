"""Starting the web server: everything that the application needs is made ready, then the server takes over."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from processes.model.catalog import Catalog
from processes.programs.job_store import prepare_store
from processes.settings import Settings, base_folder, load_settings
from processes.web.exposure import require_meant
from processes.web.http.server import HttpServer
from processes.web.openapi.document import configured_document
from processes.web.views import BODIES, OPENAPI

_logger = logging.getLogger(__name__)


def start_web(configuration: Path, address: str) -> None:
    """Answer requests until stopped.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its `base_folder`.
        address: to listen at, `host:port`, or `fd://n` for a socket that is open already.
    """
    configuration = configuration.resolve()
    os.chdir(base_folder(configuration))
    settings = load_settings(configuration)
    if not address.startswith("fd://"):  # else who opened the socket has looked
        require_meant(settings.access, address.rpartition(":")[0])
    prepare_store(settings)
    settings = prepare(configuration)
    catalog = Catalog.from_settings(settings, waits=False)
    _logger.info("models: %s", ", ".join(catalog.usable_ids()) or "none that can be used yet")
    catalog.wake_checker()
    HttpServer(configuration, address, settings.web_workers, settings.web_threads, settings.state).run()


def prepare(configuration: Path) -> Settings:
    """Make ready what the application needs when it is created: its folders and its documents."""
    settings = load_settings(configuration)
    for folder in (*settings.models, *settings.imagery):
        if not folder.is_dir():
            _logger.warning("folder %s is not there; it counts as empty until it appears", folder)
    (settings.state / BODIES).mkdir(parents=True, exist_ok=True)
    (settings.state / OPENAPI).write_bytes(msgspec.json.encode(configured_document(configuration)))
    return settings
