"""The job store at the start of a part of the service."""

from __future__ import annotations

import logging

from processes.errors import UnavailableError
from processes.jobs.database import Database
from processes.settings import Settings

_logger = logging.getLogger(__name__)


def prepare_store(settings: Settings) -> None:
    """Create the job store, or migrate it where it is of an earlier version. Where it does not answer, go on.

    Raises:
        JobStoreError: it cannot be used.
    """
    database = Database(settings.job_store)
    try:
        database.prepare()
    except UnavailableError as err:
        _logger.warning("%s", err.detail)
    finally:
        database.close()
