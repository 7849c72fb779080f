"""Steps of a job: what a slot's process is asked for, and what it reports. `step_work` does them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from processes.jobs.job import ResultFile
from processes.ogc.process import Sections

STOP = b"stop"
"""Sent to a slot's process in place of a step, to stop the current one."""

Action = Literal["fetch", "begin", "section", "finish"]


class Step(msgspec.Struct, frozen=True):
    """What a slot is to do."""

    job: str
    fence: int
    process: str
    action: Action
    plan: str
    """Folder of the plan among the job's files."""
    section: int = 0
    result_name: str | None = None
    scratch: str = ""
    """An empty folder of the slot's machine; its owner creates and removes it."""
    key: str = ""
    """By which this attempt is told from others, to stop it alone."""
    slots: int = 1
    """So many slots the job may have now: the step may use the cores of those that nobody else uses."""
    cores: int | None = None
    """Cores that it may use; None = those of a slot."""


class ResultPublished(msgspec.Struct, frozen=True, tag=True):
    """The result is published."""

    result: ResultFile
    summary: dict[str, Any] | None
    objects: int


class SectionDone(msgspec.Struct, frozen=True, tag=True):
    """The section is done."""

    counts: tuple[int, ...] = ()
    """Its objects of each class, as `SectionPart` has them."""


class SectionPaused(msgspec.Struct, frozen=True, tag=True):
    """The section is done in part, and goes on in another step: others may use the slot in between."""

    share: float
    """How much of it is done, 0..1."""


class InputsMissing(msgspec.Struct, frozen=True, tag=True):
    """The work cannot begin: what the request links to on hosts is to be fetched first."""


class InputsFetched(msgspec.Struct, frozen=True, tag=True):
    """What the request links to on hosts is among the job's files."""


class StepFailed(msgspec.Struct, frozen=True, tag=True):
    """The step reported an error."""

    error: dict[str, Any]
    """As `processes.errors.to_record` makes it."""
    is_final: bool = False
    """True = a retry cannot help."""


class FilesLost(msgspec.Struct, frozen=True, tag=True):
    """Files that the step needs are gone: sections are to be done again, or, where there are none, all of the job."""

    sections: tuple[int, ...]


class SlotEnded(msgspec.Struct, frozen=True, tag=True):
    """The slot's process ended within the step."""

    reason: str


class StepStopped(msgspec.Struct, frozen=True, tag=True):
    """The step was stopped on request."""


class StepNotTaken(msgspec.Struct, frozen=True, tag=True):
    """The step was not begun, as the process has given up what it needs; another one is to do it."""

    needs_network: bool
    """True = the network. False = folders that came, or changed their place, since the process began."""


class PlanMade(msgspec.Struct, frozen=True, tag=True):
    """The first section begins; comes before the report."""


StepOutcome = (
    ResultPublished
    | Sections
    | SectionDone
    | SectionPaused
    | InputsMissing
    | InputsFetched
    | StepFailed
    | FilesLost
    | SlotEnded
    | StepStopped
    | StepNotTaken
)


class StepReport(msgspec.Struct, frozen=True, tag=True):
    """The outcome of a step, and what it cost."""

    outcome: StepOutcome
    seconds: float
    model_loads: int = 0
    """Number of networks that were opened for it."""
    pid: int = 0
    """Id of the process that did it; 0 = none."""

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)
