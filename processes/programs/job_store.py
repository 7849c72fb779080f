"""The job store at the start of a part of the service."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from processes.errors import UnavailableError
from processes.settings import Settings

_logger = logging.getLogger(__name__)


def prepare_store(settings: Settings) -> None:
    """Create the job store, or migrate it where it is of an earlier version. Where it does not answer, go on.

    Raises:
        JobStoreError: it cannot be used.
    """
    from processes.jobs.database import Database

    database = Database(settings.job_store)
    try:
        database.prepare()
    except UnavailableError as err:
        _logger.warning("%s", err.detail)
    finally:
        database.close()


def prepare_store_apart(settings: Settings) -> None:
    """Do the same in a process of its own: what that takes of memory would stay with a program that only waits.

    Raises:
        JobStoreError: it cannot be used.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        pool.submit(prepare_store, settings).result()
