"""Logs: one line per event, `key=value`, with the job where one is concerned."""

from __future__ import annotations

import logging
import sys

sys.modules["rich"] = None  # type: ignore[assignment] # else structlog imports it: 5 MB in each process, not used here
import structlog  # noqa: E402

del sys.modules["rich"]

_QUIET = ("tornado.access", "pygeoapi.api", "pygeoapi.l10n", "asyncio")
"""Their messages are of no use here, such as one for each word of a schema that is no language."""


def set_up_logs(level: int = logging.INFO) -> None:
    """Set up logs of this process, to its standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.LogfmtRenderer(
                    key_order=["timestamp", "level", "event", "job"], bool_as_flag=False, drop_missing=True
                ),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
