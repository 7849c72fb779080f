"""What a process is: described, checked, executed at once or in sections. It knows neither HTTP nor pygeoapi."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from processes.errors import Fault, NotAcceptableError
from processes.ogc.request import Description, ExecuteRequest
from processes.sources.stamps import FileStamp

GEOJSON = "application/geo+json"
JSON = "application/json"

Accept = Sequence[tuple[str, float]]
"""Media ranges that a client takes, in lower case and without parameters, each with its quality, 0..1; empty = any."""


def choose_media_type(offers: Sequence[str], accept: Accept) -> str:
    """Return the media type on offer, the default first, that a client likes best; plain JSON accepts GeoJSON too.

    Raises:
        NotAcceptableError: it takes none of them.
    """

    def quality(offer: str) -> float:
        """Return the quality of the most specific range that holds a media type; JSON's own holds GeoJSON."""
        also = (JSON,) if offer == GEOJSON else ()
        for form in (offer, *also, f"{offer.split('/')[0]}/*", "*/*"):
            found = [quality for item, quality in accept if item == form]
            if found:
                return max(found)
        return 0

    if not accept:
        return offers[0]
    best = max(offers, key=quality)
    if quality(best) <= 0:
        wanted = ", ".join(item for item, _ in accept)
        raise NotAcceptableError(f"the result can be {', '.join(offers)}; Accept names {wanted[:500]}")
    return best


@dataclass(frozen=True, slots=True)
class Execution:
    """A request, with what is known of it beside its own words."""

    request: ExecuteRequest
    faults: Sequence[Fault] = ()
    """What is wrong with its frame; the process adds what else is, and tells all at once."""
    accept: Accept = ()
    """What the client takes, where `outputs` names no media type."""
    result_name: str | None = None
    """Of the result's layer; None = as the process names it."""
    max_objects: int | None = None
    """Limit of a synchronous run; None = it is none."""
    file_stamps: Sequence[FileStamp] | None = None
    """The linked files as they were when the request was accepted; None = nobody looked."""
    require_free: Callable[[str], None] | None = None
    """Raises NameTakenError where a result of a name is there, or on its way; None = nobody knows."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """On which terms a request can be worked off, as far as can be told without opening a file."""

    result_name: str | None = None
    """As the client wants it; None = the process names it."""
    name_stem: str | None = None
    """What such a name is made from; None = results have no names."""
    parallel_factor: str = "100%"
    """Sections at the same time: a share of the slots, or a number of them."""
    recycle_interval: int = 0
    """Sections of the job after which a slot's process is replaced; 0 = never."""
    retries: int = 0
    """Times that a section is tried again which reports an error."""
    needs_gpu: bool = False
    file_stamps: tuple[FileStamp, ...] = ()
    pace_key: str | None = None
    """Orders of the same key take about as long for an object; None = nobody knows."""


@dataclass(frozen=True, slots=True)
class Output:
    """What an execution gives: one output."""

    output: str
    """Its id."""
    media_type: str
    content: bytes | Path
    """The output itself, or the file that holds it."""
    summary: Mapping[str, Any] | None = None
    """What was found, in figures; None = there is nothing to tell."""


@dataclass(frozen=True, slots=True)
class Sections:
    """Work that was begun, and cut into sections."""

    sections: tuple[int, ...]
    """Objects of each; the first section is done."""
    at_once: int
    """Objects that need no section, as they lie on no image."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an order comes to, before any work is done."""

    images: int
    objects: int
    fields: tuple[Mapping[str, str], ...]
    """Of the result, as Table Schema has them."""
    objects_per_s: float | None
    """Speed of a slot, measured on a batch of nothing; None = it was not asked for."""


class Files(Protocol):
    """The files of one job, wherever they are kept. Each is written once, whole, and after that only read."""

    @property
    def scratch(self) -> Path:
        """An empty folder of this machine, which goes when the step ends."""

    def keep(self, name: str, path: Path) -> None:
        """Take a file of this machine over, under a name of the job's."""

    def fetch(self, name: str) -> Path:
        """Return a file of the job's as one of this machine, to be read only."""

    def has(self, name: str) -> bool:
        """Say whether there is a file of that name."""

    def open(self, name: str) -> Any:
        """Return a file of the job's, opened for reading at any place, as pyarrow takes it."""


Progress = Callable[[int], None]
"""Is told how many objects were done since the last call. What it raises ends the work."""


class Process(ABC):
    """A process."""

    @abstractmethod
    def describe(self) -> Description:
        """Return the description, a fresh copy."""

    def frame(self) -> Description:
        """Return the description without what must be looked up, such as which models there are."""
        return self.describe()

    @abstractmethod
    def check(self, order: Execution) -> Requirements:
        """Return the terms of an order, as far as no file needs to be opened.

        Raises:
            RequestError: everything that is wrong with the request.
        """

    @abstractmethod
    def execute(self, order: Execution, folder: Path) -> Output:
        """Do the work.

        Args:
            order: what is to be done.
            folder: an empty folder for files; the answer may lie in it.

        Raises:
            RequestError: everything that is wrong with the request.
            LimitError: there are more objects than allowed.
        """


class SectionedProcess(Process):
    """A process whose work can be done in sections, by several processes on several machines."""

    @abstractmethod
    def outline(self, order: Execution, folder: Path, measures: bool) -> Estimate:
        """Return what an order comes to.

        Args:
            order: what would be done.
            folder: an empty folder for files.
            measures: whether to measure how fast it would be done.

        Raises:
            RequestError: everything that is wrong with the request.
            LimitError: there are more objects than allowed.
        """

    @abstractmethod
    def forecast(self, objects: int, objects_per_s: float, slots: int) -> tuple[int, float]:
        """Return how many sections work would be cut into, and how many seconds it would take.

        Args:
            objects: to do.
            objects_per_s: speed of a slot.
            slots: that work at the same time.
        """

    @abstractmethod
    def begin(
        self, order: Execution, files: Files, planned: Callable[[int], None], progress: Progress
    ) -> Output | Sections:
        """Plan the work, and do it for some seconds: all of it where they are enough, else the first section.

        Args:
            order: what is to be done.
            files: of the job; the plan goes there where there are more sections than one.
            planned: is told how many objects there are when the plan is made and the first section begins.
            progress: is told of objects that are done.

        Raises:
            RequestError: everything that is wrong with the request; before `planned` is called, nothing can mend it.
        """

    @abstractmethod
    def run_section(self, files: Files, section: int, progress: Progress) -> None:
        """Do a section of work that was begun, and keep what is found.

        Raises:
            RequestError: an image cannot be read, or was changed, or the model fails.
        """

    @abstractmethod
    def finish(self, files: Files) -> Output:
        """Put all sections together, in the order of the input."""
