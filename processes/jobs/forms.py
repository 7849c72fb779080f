"""Other forms of a finished result: made when they are first asked for, once, and kept as long as the result.

What is small is made at once. All else is made by a process of its own, so that it holds up no other request; there are
two of them at a time on a machine. Locks of files say who makes what. They end with their processes, however these end,
and the process that makes a form keeps them when who asked for it has given up.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from processes.classify.stored_chips import ChipGoneError, StoredChip
from processes.confinement.confinement import Confinement
from processes.errors import FailureError, LimitError, ServiceError, UnavailableError, from_record, to_record
from processes.features.serving.feature_index import write_index
from processes.features.serving.map_index import write_map_index
from processes.features.serving.stored_result import StoredResult
from processes.features.writing.formats import format_of_ending
from processes.imagery.remote_source import RemoteAccess
from processes.jobs.form_names import CHIP, CHIPS, INDEX, MAP, form_name, stored_name
from processes.jobs.job import Job
from processes.jobs.storage import FORMS, Storage
from processes.settings import Settings
from processes.sources.part_cache import PartCache

_logger = logging.getLogger(__name__)

_PROGRAM = "processes.programs.form_process"
_PLACES, _LOCKS = 2, 64
"""Processes of a machine that make forms at the same time; files by whose locks those of one form are told."""
_SMALL_BYTES = 2**20
"""Size of a stored result from which any form is made in some hundredths of a second."""
_WAIT_S = 110
"""Seconds that a request waits for a form; then the client is told to ask again."""
_POLL_S = 0.05
_SHOWN_S, _SHOWN_REQUESTS, _SHOWN_BYTES = 30, 4, 2**26
"""Seconds and requests at the same time for what is shown of images that lie elsewhere, and what is kept of them."""
_GONE = "gone"
"""Member of an answer that says why a chip is gone."""
_LATER = "this form of the result is still being made; ask again later"


class FormOrder(msgspec.Struct, frozen=True):
    """What a process is to make."""

    results: str
    state: str
    """As the settings have them."""
    job: str
    fence: int
    form: str
    """The ending of its file with the dot, `INDEX` or `MAP`."""
    scratch: str
    """An empty folder, which is the process's own from now on."""
    timeout_s: int
    confinement: Confinement
    """What is left to the process."""


class Forms:
    """Forms of results.

    Args:
        settings: what the configuration says.
        storage: the files of jobs.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage
        self._folder = settings.state / "forms"

    def stored(self, job: Job) -> StoredResult:
        """Return the result of a job as other forms are made from it.

        Raises:
            FileNotFoundError: it is gone, or an earlier version that did not keep it did the job.
        """
        return StoredResult(self.path(job, stored_name(job.fence)))

    def path(self, job: Job, name: str) -> Path:
        """Return a file of the folder `FORMS` as one of this machine.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._storage.files(job.id, FORMS, self._folder).fetch(name)

    def access(self, job: Job) -> RemoteAccess:
        """Return how images of a job that lie elsewhere are reached while somebody waits to see them."""
        limits = self._settings.limits
        shown = msgspec.structs.replace(
            limits,
            section_timeout_s=min(limits.section_timeout_s, _SHOWN_S),
            request_timeout_s=min(limits.request_timeout_s, _SHOWN_S // 2),
            max_requests=min(limits.max_requests, _SHOWN_REQUESTS),
        )
        near = self._storage.files(job.id, FORMS, self._folder).near()
        return RemoteAccess(msgspec.structs.replace(self._settings, limits=shown), PartCache(near, _SHOWN_BYTES))

    def make(self, job: Job, form: str, is_stopping: Callable[[], bool]) -> str:
        """Return the name of the file that a form has in the folder `FORMS`, when it is there.

        Args:
            job: a job whose result can be had.
            form: the ending of the form with its dot, `INDEX` or `MAP`.
            is_stopping: returns whether the server stops.

        Raises:
            FileNotFoundError: the result is gone, or an earlier version did the job.
            UnavailableError: it takes longer than a client waits; the work goes on.
            LimitError: it takes longer than a section may.
            ChipGoneError: the form is the picture of a chip, whose images are gone.
            ServiceError: the form cannot be made.
        """
        name, end_s = form_name(job.fence, form), time.monotonic() + _WAIT_S
        files = self._storage.files(job.id, FORMS, self._folder)
        while not files.has(name):
            with self._locks(f"{job.id}/{name}") as locks:
                if locks and not files.has(name):
                    self._make(job, form, locks, end_s)
                    continue
            if time.monotonic() > end_s or is_stopping():
                raise UnavailableError(_LATER)
            time.sleep(_POLL_S)
        return name

    def _make(self, job: Job, form: str, locks: list[int], end_s: float) -> None:
        """Make a form, unless that takes too long."""
        size_bytes = self.path(job, stored_name(job.fence)).stat().st_size
        is_small = size_bytes <= _SMALL_BYTES and not form.startswith(CHIP)
        scratch = tempfile.mkdtemp(dir=self._folder)
        timeout_s = self._settings.limits.section_timeout_s
        settings = self._settings
        confinement = Confinement.of(settings)
        order = FormOrder(
            settings.results, str(settings.state), job.id, job.fence, form, scratch, timeout_s, confinement
        )
        if is_small:
            make_form(order, self._storage)
            return
        process = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=locks
        )
        try:
            answer, _ = process.communicate(msgspec.json.encode(order), timeout=max(1, end_s - time.monotonic()))
        except subprocess.TimeoutExpired:  # it works on
            threading.Thread(target=process.communicate, daemon=True).start()
            raise UnavailableError(_LATER) from None
        shutil.rmtree(scratch, ignore_errors=True)
        if process.returncode == -signal.SIGALRM:
            raise LimitError("section_timeout_s", timeout_s, "this form of the result takes longer to make; that")
        if process.returncode or answer:
            raise _error(answer)

    @contextlib.contextmanager
    def _locks(self, key: str) -> Iterator[list[int]]:
        """Yield the locks of who may make a form, as descriptors; none = somebody else makes it, or others do much."""
        self._folder.mkdir(exist_ok=True)
        held: list[int] = []
        try:
            is_first = _lock(self._folder / f"lock-{zlib.crc32(key.encode()) % _LOCKS}", held)
            if is_first and not any(_lock(self._folder / f"place-{number}", held) for number in range(_PLACES)):
                _close(held)
            yield held
        finally:
            _close(held)


def make_form(order: FormOrder, storage: Storage) -> None:
    """Make a form, and keep it among the job's files.

    Raises:
        ServiceError: it cannot be made.
    """
    scratch = Path(order.scratch)
    try:
        files = storage.files(order.job, FORMS, scratch)
        source, target = files.fetch(stored_name(order.fence)), scratch / "form"
        if order.form == INDEX:
            write_index(source, target)
        elif order.form == MAP:
            write_map_index(source, target)
        elif order.form.startswith(CHIP):
            row = int(order.form.removeprefix(CHIP))
            chips = files.fetch(stored_name(order.fence, CHIPS))
            target.write_bytes(StoredChip(chips, row, StoredResult(source).geometry_at(row), storage.seal).png(None))
        elif (output_format := format_of_ending(order.form)) is not None:
            target = target.with_suffix(order.form)
            StoredResult(source).write(output_format, target)
        else:
            raise ValueError(f"there is no form {order.form!r}")
        files.keep(form_name(order.fence, order.form), target)
        files.sync()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def answer_of(order: FormOrder, storage: Storage) -> bytes:
    """Make a form as a process of its own does; return what it answers: nothing, or the error."""
    try:
        make_form(order, storage)
    except ChipGoneError as err:
        return msgspec.json.encode({_GONE: str(err)})
    except ServiceError as err:
        return msgspec.json.encode(to_record(err))
    except Exception:
        _logger.exception("a form of a result could not be made", extra={"job": order.job, "form": order.form})
        return msgspec.json.encode(to_record(_failure(order.job)))
    return b""


def _error(answer: bytes) -> Exception:
    try:
        record = msgspec.json.decode(answer)
        return ChipGoneError(record[_GONE]) if _GONE in record else from_record(record)
    except msgspec.DecodeError:
        return FailureError("the server failed: the process that makes forms of results ended")


def _failure(job_id: str) -> FailureError:
    return FailureError(f"the server failed; the log has it as job {job_id}")


def _lock(path: Path, held: list[int]) -> bool:
    """Lock a file and add its descriptor to those held; return whether nobody else has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    held.append(file)
    return True


def _close(held: list[int]) -> None:
    while held:
        os.close(held.pop())
