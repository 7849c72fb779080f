"""Logs: one line per event, `key=value`, with the job where one is concerned."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

sys.modules["rich"] = None  # type: ignore[assignment] # else structlog imports it: 5 MB in each process, not used here
import structlog  # noqa: E402

del sys.modules["rich"]

_QUIET = ("tornado.access", "pygeoapi.api", "pygeoapi.l10n", "asyncio")
"""Their messages are of no use here, such as one for each word of a schema that is no language."""
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""What moves the cursor of a terminal, or ends a line for some programs. The renderer itself escapes line feeds."""


def set_up_logs(level: int = logging.INFO) -> None:
    """Set up logs of this process, to its standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(line_formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def line_formatter() -> logging.Formatter:
    """Return what writes an event as one line, whatever strangers have put into paths and names."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _escape,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event", "job"], bool_as_flag=False, drop_missing=True
            ),
        ],
    )


def _escape(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), value)
    return event
