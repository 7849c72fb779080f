"""Every error that a client can cause or see.

    ServiceError                 a fault that may be told, in the client's terms
    ├── InputError               something in the request, or what it points to, is wrong
    │   ├── ImageError           an image that cannot be opened, read or used
    │   ├── LayerError           a feature layer that cannot be opened, read or used
    │   └── PackageError         a model package that is broken or does not fit the image
    ├── ForbiddenError           the configuration does not allow what a link asks for
    ├── LimitError               a configured limit is exceeded; names the limit and its value
    │   ├── QueueFullError         … of all jobs that wait; another time there may be room
    │   └── ClientQueueFullError   … of one client's jobs that wait
    ├── NotAcceptableError                the client takes none of the forms that a result can have
    ├── NameTakenError           the result name that was asked for is another job's
    ├── UnavailableError         what the service needs does not answer, such as the job store
    ├── FailureError             a fault of the service itself; says no more than a client may know
    └── RequestError             what is wrong with one request: at least one Fault

No message holds a server's path, a traceback or a credential: only the client's own words, and ours.
Which HTTP status each becomes stands in one table, `processes.ogc.problem`. An error can be kept as a record and
made again from it, so that a failed job tells later what a synchronous run would have told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self


class ServiceError(Exception):
    """A fault that may be told to the client as it is."""

    @property
    def detail(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__

    @classmethod
    def of(cls, detail: str) -> Self:
        """Return an error of this class with words that are complete."""
        error = cls.__new__(cls)
        error.args = (detail,)
        return error


class InputError(ServiceError):
    """The request, or something that it points to, is wrong."""


class ImageError(InputError):
    """An image cannot be opened, read or used."""


class LayerError(InputError):
    """A feature layer cannot be opened, read or used."""


class PackageError(InputError):
    """A model package is broken, or does not fit the image."""


class ForbiddenError(ServiceError):
    """The configuration does not allow what a link asks for."""


class LimitError(ServiceError):
    """A configured limit is exceeded."""

    def __init__(self, name: str, limit: int, found: str) -> None:
        super().__init__(f"{found}: more than the limit {name} = {limit} allows")


class QueueFullError(LimitError):
    """Too many jobs wait already."""


class ClientQueueFullError(LimitError):
    """Too many jobs of this client wait already."""


class NotAcceptableError(ServiceError):
    """The client takes none of the forms that a result can have."""


class NameTakenError(ServiceError):
    """A result of that name is there, or on its way."""


class UnavailableError(ServiceError):
    """What the service needs does not answer now; another time it may."""


class FailureError(ServiceError):
    """A fault of the service itself."""


def pointer_token(name: str) -> str:
    """Return a member's name as RFC 6901 writes it in a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request."""

    pointer: str
    """RFC 6901 pointer from the root of the request's body; empty for the body itself."""
    error: ServiceError

    @property
    def detail(self) -> str:
        return self.error.detail


class RequestError(ServiceError):
    """All that is wrong with one request."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(dict.fromkeys(fault.detail for fault in self.faults)))

    @classmethod
    def at(cls, pointer: str, error: ServiceError) -> RequestError:
        """Return `error` as the one fault at `pointer`; a RequestError stays as it is."""
        return error if isinstance(error, RequestError) else cls([Fault(pointer, error)])


@contextmanager
def at_pointer(pointer: str) -> Iterator[None]:
    """Raise what goes wrong as the one fault at `pointer`."""
    try:
        yield
    except ServiceError as err:
        raise RequestError.at(pointer, err) from err


@contextmanager
def collect_faults(faults: list[Fault], pointer: str) -> Iterator[None]:
    """Add a fault that the client can mend to a list, as one at `pointer`, so that the others are found too."""
    try:
        yield
    except ServiceError as err:
        faults.extend(RequestError.at(pointer, err).faults)


def to_record(error: ServiceError) -> dict[str, Any]:
    """Return an error as plain values, from which `from_record` makes it again."""
    record: dict[str, Any] = {"error": type(error).__name__, "detail": error.detail}
    if isinstance(error, RequestError):
        record["faults"] = [{"pointer": fault.pointer} | to_record(fault.error) for fault in error.faults]
    return record


def from_record(record: Mapping[str, Any]) -> ServiceError:
    """Return the error that `to_record` made a record of; one of a class that is gone becomes a FailureError."""
    if "faults" in record:
        return RequestError(Fault(item["pointer"], from_record(item)) for item in record["faults"])
    return _KINDS.get(record["error"], FailureError).of(record["detail"])


def _kinds(kind: type[ServiceError]) -> Iterator[tuple[str, type[ServiceError]]]:
    yield kind.__name__, kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


_KINDS: Mapping[str, type[ServiceError]] = dict(_kinds(ServiceError))
