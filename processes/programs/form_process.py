"""A process that makes one form of a result, started by `processes.jobs.forms`.

`python -m processes.programs.form_process` reads a `FormOrder` as JSON from its standard input, and writes the error
to its standard output where there is one. It ends itself when its time is over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from processes.jobs.files import storage_at
from processes.jobs.forms import FormOrder, answer_of
from processes.programs.logs import set_up_logs

_OOM_SCORE = "500"
"""Where memory runs out, the system kills this process rather than the server."""
_NICENESS = 10


def main() -> None:
    """Make the form that is asked for."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=FormOrder)
    signal.alarm(order.timeout_s)
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    set_up_logs()
    order.confinement.apply()
    answer = answer_of(order, storage_at(order.results, Path(order.state)))
    with contextlib.suppress(BrokenPipeError):  # who asked for it has given up
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
