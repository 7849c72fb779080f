"""What a process is: described, validated, executed at once or in sections. It knows neither HTTP nor pygeoapi."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from processes.ogc.execution import Execution
from processes.ogc.request import Description
from processes.sources.stamps import FileStamp

RequireFreeName = Callable[[str], None]
"""Raises NameTakenError where another job has a result name."""
RequireGpu = Callable[[], None]
"""Raises InputError where no GPU can be used, with the reason."""
Progress = Callable[[int], None]
"""Is called with the number of objects that were done since the last call. What it raises ends the work."""


class Requirements(msgspec.Struct, frozen=True):
    """What an execution needs of the job engine, as far as can be seen without opening a file."""

    result_name: str | None = None
    """As the client wants it; None = the process names it."""
    name_stem: str | None = None
    """What such a name is made from; None = results have no names."""
    parallel_factor: str = "100%"
    """Sections at the same time: a share of the slots, or a number of them."""
    recycle_interval: int = 0
    """Number of sections of the job after which a slot's process is replaced; 0 = never."""
    retries: int = 0
    """How often a section that reports an error is tried again."""
    needs_gpu: bool = False
    file_stamps: tuple[FileStamp, ...] = ()
    """The linked files as they are now."""
    model_sha256: str | None = None
    """Digest of the model that is used now; None = there is none."""
    pace_key: str | None = None
    """Executions of the same key need about the same time for an object; None = not known."""
    delay_s: float = 0
    """Seconds that a job waits before it begins. Its execution is then `is_delayed`."""


class LayerInfo(msgspec.Struct, frozen=True):
    """What is told of an output whose features can be had one by one."""

    crs: str
    """URI of the CRS that they can be had in beside CRS84; CRS84 = in no other one."""
    bbox: tuple[float, float, float, float] | None
    """The box around all of them in CRS84: minx, miny, maxx, maxy; None = none has a geometry."""


class Output(msgspec.Struct, frozen=True):
    """The one output of an execution."""

    id: str
    media_type: str
    content: bytes | Path
    """The output itself, or the file that holds it."""
    summary: Mapping[str, Any] | None = None
    """Counts and warnings; None = there are none."""
    stored: Mapping[str, Path] = msgspec.field(default_factory=dict)
    """Files from which other forms of it are made later, by names."""
    layer: LayerInfo | None = None
    """None = it is no layer of features, or they cannot be had one by one from what is stored."""


class Sections(msgspec.Struct, frozen=True, tag=True):
    """Work that was begun, and the sections that it was cut into."""

    objects: tuple[int, ...]
    """Number of objects of each section; the first section is done."""
    without_chip: int
    """Number of objects that belong to no section, as they touch no image."""
    classes: tuple[dict[str, Any], ...] = ()
    """The classes with the counts of the first section, as the summary will have them; none = not known."""


class SectionPart(msgspec.Struct, frozen=True):
    """How far a section is done."""

    share: float
    """How much of it is done, 0..1; below 1 it is to be called again, and goes on from there."""
    counts: tuple[int, ...] = ()
    """When all is done, its objects of each class, in the order of `Sections.classes`; none = not known."""


class Estimate(msgspec.Struct, frozen=True):
    """The extent of an execution, before any work is done."""

    images: int
    """Number of images."""
    objects: int
    """Number of objects."""
    fields: tuple[Mapping[str, str], ...]
    """Of the result, as Table Schema has them."""
    objects_per_s: float | None
    """Objects per second of a slot, measured on a batch of chips that are all 0; None = not measured."""
    read_bytes: int = 0
    """Bytes of the imagery that are decoded for all objects."""


class LostFilesError(Exception):
    """Files that earlier steps of a job kept are gone or damaged, as after a loss of power.

    Args:
        sections: numbers of the sections to do again; none = the plan itself is lost, and the work begins anew.
    """

    def __init__(self, sections: Sequence[int] = ()) -> None:
        super().__init__(f"files of sections {list(sections)}" if sections else "files of the plan")
        self.sections = tuple(sections)


class JobFiles(Protocol):
    """The files of one plan of a job, wherever they lie. Each is written once, whole, and only read after that."""

    @property
    def scratch(self) -> Path:
        """An empty folder of this machine; it is removed when the step ends."""

    def keep(self, name: str, path: Path) -> None:
        """Move a file of this machine to the job's files, under a name."""

    def fetch(self, name: str) -> Path:
        """Return one of the job's files as a file of this machine, to be read only.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def has(self, name: str) -> bool:
        """Return whether there is a file of that name."""

    def discard(self, name: str) -> None:
        """Remove a file, if there is one of that name."""

    def near(self) -> Path:
        """Return a folder of this machine, which may not be there yet, for what later steps of the job may use again.

        What is in it may be gone at any time, and is removed with the job's other files.
        """

    def sync(self) -> None:
        """Let the names of all files that were kept survive a loss of power; their content does so anyway."""

    def open(self, name: str) -> Any:
        """Return one of the job's files, opened for reading at any position, as pyarrow takes it."""


class Process(ABC):
    """A process."""

    @abstractmethod
    def describe(self) -> Description:
        """Return the description, a fresh copy."""

    def frame(self) -> Description:
        """Return the description without what must be looked up, such as the installed models."""
        return self.describe()

    @abstractmethod
    def validate(
        self,
        execution: Execution,
        require_free_name: RequireFreeName = lambda _: None,
        require_gpu: RequireGpu | None = None,
    ) -> Requirements:
        """Check an execution as far as no file needs to be opened.

        Args:
            execution: the request.
            require_free_name: raises where a result name is taken.
            require_gpu: raises where no machine that works on jobs has a GPU; None = this one does.

        Raises:
            RequestError: everything that is wrong with the request.
        """

    def has_host_links(self, execution: Execution) -> bool:
        """Return whether the execution links to hosts: what they have is downloaded before the work begins."""
        return False

    @abstractmethod
    def execute(self, execution: Execution, folder: Path) -> Output:
        """Do the work.

        Args:
            execution: the request.
            folder: an empty folder for files; the output may lie in it.

        Raises:
            RequestError: everything that is wrong with the request.
            LimitError: there are more objects than allowed.
            NetworkNeededError: it links to hosts, and this process may not ask them.
        """


class SectionedProcess(Process):
    """A process whose work can be done in sections, by several processes on several machines."""

    @abstractmethod
    def estimate(self, execution: Execution, folder: Path, measures_speed: bool) -> Estimate:
        """Return the extent of an execution.

        Args:
            execution: the request.
            folder: an empty folder for files.
            measures_speed: whether to measure the speed.

        Raises:
            RequestError: everything that is wrong with the request.
            LimitError: there are more objects than allowed.
        """

    @abstractmethod
    def estimate_sections(self, estimate: Estimate, objects_per_s: float, slots: int) -> tuple[int, float]:
        """Return the number of sections, and the seconds that the work takes.

        Args:
            estimate: the extent of the work.
            objects_per_s: objects per second of a slot.
            slots: number of slots that work at the same time.
        """

    @abstractmethod
    def begin(
        self,
        execution: Execution,
        files: JobFiles,
        planned: Callable[[int], None],
        progress: Progress,
        cores: int | None = None,
    ) -> Output | Sections:
        """Plan the work, and do the first seconds of it: all of it where they are enough, else the first section.

        Args:
            execution: the request.
            files: of the job; the plan is kept there where there are more sections than one.
            planned: is called with the number of objects when the plan is made and the first section begins.
            progress: is called with the number of objects that were done.
            cores: that it may use; None = as many as a section.

        Raises:
            RequestError: everything that is wrong with the request. Before `planned` is called a retry cannot help.
            NetworkNeededError: it links to hosts, and this process may not ask them.
        """

    @abstractmethod
    def run_section(self, files: JobFiles, section: int, progress: Progress) -> SectionPart:
        """Do a section of work that was begun, or some seconds of it, and keep its labels.

        Args:
            files: of the job.
            section: number of the section, from 1.
            progress: is called with the number of objects that were done.

        Raises:
            RequestError: an image cannot be read, or was changed, or the model fails.
            LostFilesError: the plan is lost.
            NetworkNeededError: an image lies on a host, and this process may not ask it.
        """

    @abstractmethod
    def finish(self, files: JobFiles) -> Output:
        """Put all sections together, in the order of the input.

        Raises:
            LostFilesError: the plan, or what sections kept, is lost.
        """
