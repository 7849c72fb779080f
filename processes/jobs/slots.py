"""The slots of a machine: which of them does which step, and which are stopped."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from pathlib import Path

import msgspec

from processes.confinement.confinement import missing
from processes.errors import NO_SPACE, FailureError, to_record
from processes.jobs.slot import SLOT_PROGRAM, SLOT_TEMPLATE, Slot
from processes.jobs.step_process import use_template
from processes.jobs.steps import Step, StepFailed, StepReport, StepStopped
from processes.model.runtime.cuda_devices import VISIBLE_DEVICES
from processes.model.runtime.runtimes import available_threads, count_gpus, gpus
from processes.settings import Settings

_logger = logging.getLogger(__name__)

_REMEMBERED = 1000
_STOP_S = 5
_LOCK = "lock"


class SlotPool:
    """Slots that share a folder for temporary files.

    Args:
        configuration: the `pygeoapi-config.yml`.
        settings: what it says.
        count: number of slots.
        program: module that their processes run.
        is_kept: True = all processes are there before steps need them, False = one is.
    """

    def __init__(
        self,
        configuration: Path,
        settings: Settings,
        count: int,
        program: str = SLOT_PROGRAM,
        is_kept: bool = True,
    ) -> None:
        self.count = count
        self._is_kept = is_kept
        use_template(SLOT_TEMPLATE if program == SLOT_PROGRAM else program)
        self._cores = cores = max(1, available_threads() // self.count)
        self._lends = not settings.limits.max_slot_mb  # memory that is enough for the threads of one slot
        self._free = [
            Slot(configuration, cores, _variables(number, cores), program, is_kept) for number in range(self.count)
        ]
        self._all = list(self._free)
        self._busy: dict[str, tuple[Slot, Step]] = {}
        self._stopped: OrderedDict[str, int] = OrderedDict()
        self._changed = threading.Condition()
        self.folder = settings.state / "work" / f"slots-{uuid.uuid4().hex}"
        """For temporary files, until the slots are closed."""
        self._lock_file: int | None = None

    def start(self) -> None:
        """Start all slots' processes, and remove the folders of slots that are gone."""
        self.make_folder()
        self.start_processes()

    def make_folder(self) -> None:
        """Make the folder for temporary files, and remove those of slots that are gone."""
        work = self.folder.parent
        work.mkdir(parents=True, exist_ok=True)
        all_folders = os.open(work, os.O_RDONLY)
        try:
            fcntl.flock(all_folders, fcntl.LOCK_EX)  # workers that start at the same time would remove each other's
            _remove_orphans(work)
            self.folder.mkdir()
            self._lock_file = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        finally:
            os.close(all_folders)

    def start_processes(self) -> None:
        """Start all slots' processes. The first one takes seconds, as what they are forked from has to be there."""
        for slot in self._all if self._is_kept else self._all[-1:]:
            slot.start()
        if self._is_kept:
            _logger.info("slots started", extra={"slots": self.count})
            for words in missing():
                _logger.warning("slots are not confined in all: %s", words)

    def close(self) -> None:
        """End all slots and remove their files; they cannot be started again."""
        for slot in self._all:
            slot.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None  # its number may be that of another file by now

    def run(self, step: Step, timeout_s: float, recycle_interval: int) -> StepReport:
        """Do a step in the next free slot; arguments and report as `Slot.run` has them."""
        key = step.key or uuid.uuid4().hex
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            if step.fence <= self._stopped.get(step.job, -1):
                return StepReport(StepStopped(), 0)
            experienced = [slot for slot in self._free if slot.knows(step.job)]
            slot = experienced[-1] if experienced else self._free[-1]
            self._free.remove(slot)
            step = msgspec.structs.replace(step, cores=self._cores * (1 + min(step.slots - 1, self._idle())))
            slot.reserve()
            self._busy[key] = (slot, step)
        scratch = None
        try:
            scratch = tempfile.mkdtemp(dir=self.folder)
            return slot.run(msgspec.structs.replace(step, scratch=scratch), timeout_s, recycle_interval)
        finally:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            with self._changed:
                del self._busy[key]
                self._free.append(slot)
                self._changed.notify_all()

    def stop(self, job_id: str, fence: int) -> None:
        """Stop all steps of a job that were claimed under a fence, or an older one; return when they have ended."""
        with self._changed:
            self._stopped[job_id] = max(fence, self._stopped.pop(job_id, -1))
            while len(self._stopped) > _REMEMBERED:
                self._stopped.popitem(last=False)
            for slot, step in self._busy.values():
                if step.job == job_id and step.fence <= fence:
                    slot.stop()
            self._changed.wait_for(lambda: not self._works_on(job_id, fence), _STOP_S)

    def stop_step(self, key: str) -> bool:
        """Stop the step of a key, without waiting until it has ended; return whether a slot works on it."""
        with self._changed:
            slot, _ = self._busy.get(key, (None, None))
            if slot is not None:
                slot.stop()
            return slot is not None

    def end_unused(self, seconds: float) -> None:
        """End the processes that have had no step for so long, but for that of the slot that is used next."""
        with self._changed:
            for slot in self._free[:-1]:
                slot.end_unused(seconds)

    def interrupt(self) -> None:
        """Stop all steps; return when they have ended."""
        with self._changed:
            for slot, _ in self._busy.values():
                slot.stop()
            self._changed.wait_for(lambda: not self._busy, _STOP_S)

    def _idle(self) -> int:
        """Return the number of free slots whose cores a step may use beside those of its own slot.

        Where others use them, it has its part: they share the cores as the system shares them between threads.
        """
        others = sum((step.cores or 0) > self._cores for _, step in self._busy.values())
        return len(self._free) // (1 + others) if self._lends else 0

    def _works_on(self, job_id: str, fence: int) -> bool:
        return any(step.job == job_id and step.fence <= fence for _, step in self._busy.values())


def report_of(slots: SlotPool, step: Step, timeout_s: float, recycle_interval: int) -> StepReport:
    """Do a step as `SlotPool.run` does; the report says so where the slot cannot work.

    Args:
        slots: of this machine.
        step: what to do.
        timeout_s: seconds that a section may take.
        recycle_interval: of the job.
    """
    try:
        return slots.run(step, timeout_s, recycle_interval)
    except OSError as err:  # no folder can be made for it, or no process
        _logger.exception("a slot cannot work")
        reason = NO_SPACE if err.errno == errno.ENOSPC else "no process can be started for the work"
        return StepReport(StepFailed(to_record(FailureError(f"the server failed: {reason}"))), 0)


def slot_count(settings: Settings) -> int:
    """Return the number of slots of this machine."""
    return settings.slots or count_gpus() or available_threads()


def _variables(number: int, cores: int) -> dict[str, str]:
    """Return the environment of a slot's process: its GPU, and no more threads than it has cores."""
    variables = {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    names = gpus()
    return variables | {VISIBLE_DEVICES: names[number % len(names)]} if names else variables


def _remove_orphans(work: Path) -> None:
    """Remove the folders of slots whose owner is gone: nobody holds their lock. None may be made meanwhile."""
    for folder in work.glob("slots-*"):
        try:
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass  # whoever made or removed it ended before it was done
        except OSError:
            continue
        shutil.rmtree(folder, ignore_errors=True)
