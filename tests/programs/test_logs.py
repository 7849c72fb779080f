"""Lines of the log: one for each event, whatever strangers write."""

from __future__ import annotations

import logging

from processes.programs.logs import line_formatter


def test_an_event_is_one_line_that_no_stranger_can_end() -> None:
    record = logging.makeLogRecord({"name": "classify.audit", "levelname": "INFO", "msg": "refusal"})
    record.path, record.person = "/jobs/a\r\nevent=forged\x1b[2J", "\u2028é"
    line = line_formatter().format(record)
    assert line.isprintable()
    assert "event=refusal" in line
    assert r'path="/jobs/a\\r\nevent=forged\\x1b[2J"' in line
    assert r"person=\u2028é" in line
