"""Every error that a client can cause or see.

    ServiceError                   an error with a message for the client
    ├── InputError                 the request, or something that it points to, is wrong
    │   ├── ImageError             an image cannot be opened, read or used
    │   ├── HostStatusError        a host answers with another status than 200
    │   ├── LayerError             a feature layer cannot be opened, read or used
    │   └── PackageError           a model package is broken, or does not fit the image
    │       └── ForeignNetworkError   its network is of a kind that has to be converted first
    ├── UnauthorizedError          the request does not say who makes it, or does not prove it
    ├── ForbiddenError             the configuration does not allow a link, or a role does not allow the request
    ├── LimitError                 a configured limit is exceeded; the message has its name and value
    │   ├── QueueFullError         too many jobs wait; a later request may be accepted
    │   ├── ClientQueueFullError   too many jobs of this client wait; a later request may be accepted
    │   └── QuotaError             this client has had as much as it may have in a day; a later request may be accepted
    ├── NotAcceptableError         the client accepts none of the result's media types
    ├── NameTakenError             another job has the requested result name
    ├── UnavailableError           a part of the service does not answer, such as the job store
    │   └── DiskFullError          there is too little space left for new work
    ├── FailureError               the service itself failed; the message holds no internals
    └── RequestError               all faults of one request, at least one

No message holds a server's path, a traceback or a credential: only the client's own words, and ours.
The table in `processes.ogc.problem` has the HTTP status of each class. An error is stored as a record and restored from
it, so that the client of a failed job reads the same error as the client of a synchronous run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import msgspec

NO_SPACE = "there is no space left where it keeps its files"
"""What a client reads of a disk that is full, behind "the server failed"."""


class ServiceError(Exception):
    """An error with a message for the client."""

    @property
    def detail(self) -> str:
        """Return the message."""
        return str(self.args[0]) if self.args else type(self).__name__

    @classmethod
    def from_detail(cls, detail: str) -> Self:
        """Return an error of this class with a complete message."""
        error = cls.__new__(cls)
        error.args = (detail,)
        return error


class InputError(ServiceError):
    """The request, or something that it points to, is wrong."""


class ImageError(InputError):
    """An image cannot be opened, read or used."""


class HostStatusError(InputError):
    """A host answers with another status than 200."""

    status = 0
    """That status; 0 = it is not known any more."""


class LayerError(InputError):
    """A feature layer cannot be opened, read or used."""


class PackageError(InputError):
    """A model package is broken, or does not fit the image."""


class ForeignNetworkError(PackageError):
    """A model package's network is of a kind that has to be converted first."""


class UnauthorizedError(ServiceError):
    """The request does not say who makes it, or does not prove it."""


class ForbiddenError(ServiceError):
    """The configuration does not allow a link, or the role of who makes the request does not allow it."""


class LimitError(ServiceError):
    """A configured limit is exceeded.

    Args:
        name: of the limit in the configuration.
        limit: its value.
        reason: what exceeds it, as the start of the message.
    """

    def __init__(self, name: str, limit: int, reason: str) -> None:
        super().__init__(f"{reason}: more than the limit {name} = {limit} allows")


class QueueFullError(LimitError):
    """Too many jobs wait; a later request may be accepted."""


class ClientQueueFullError(LimitError):
    """Too many jobs of this client wait; a later request may be accepted."""


class QuotaError(LimitError):
    """A client has had as much as it may have in a day; a later request may be accepted."""


class NotAcceptableError(ServiceError):
    """The client accepts none of the result's media types."""


class NameTakenError(ServiceError):
    """Another job has the requested result name."""


class UnavailableError(ServiceError):
    """A part of the service does not answer now; later it may."""


class DiskFullError(UnavailableError):
    """There is too little space left for new work; later there may be more."""


class FailureError(ServiceError):
    """The service itself failed."""


def pointer_token(name: str) -> str:
    """Return a member's name as RFC 6901 writes it in a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    pointer: str
    """RFC 6901 pointer from the root of the request's body; empty = the body itself."""
    error: ServiceError

    @property
    def detail(self) -> str:
        """Return the error's message."""
        return self.error.detail


class RequestError(ServiceError):
    """All faults of one request, at least one."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(dict.fromkeys(fault.detail for fault in self.faults)))

    @classmethod
    def at(cls, pointer: str, error: ServiceError) -> RequestError:
        """Return a RequestError with one fault; a RequestError is returned as it is."""
        return error if isinstance(error, RequestError) else cls([Fault(pointer, error)])


@contextmanager
def at_pointer(pointer: str) -> Iterator[None]:
    """Raise a ServiceError of the block as a RequestError with one fault at `pointer`."""
    try:
        yield
    except ServiceError as err:
        raise RequestError.at(pointer, err) from err


@contextmanager
def collect_faults(faults: list[Fault], pointer: str) -> Iterator[None]:
    """Append a ServiceError of the block to a list, as a fault at `pointer`, so that later checks still run.

    The fault forgets where it was raised: the frames of that hold the request, and a circle of references holds them
    until the garbage collector comes.
    """
    try:
        yield
    except ServiceError as err:
        found = RequestError.at(pointer, err).faults
        for origin in (err, *(fault.error for fault in found)):
            for error in with_causes(origin):
                error.__traceback__ = None
        faults.extend(found)


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it follows from, each once; an error can follow from itself."""
    following: BaseException | None = error
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        yield following
        seen.add(id(following))
        following = following.__cause__ or following.__context__


def to_record(error: ServiceError) -> dict[str, Any]:
    """Return an error as plain values; `from_record` restores it."""
    record: dict[str, Any] = {"error": type(error).__name__, "detail": error.detail}
    if isinstance(error, RequestError):
        record["faults"] = [{"pointer": fault.pointer} | to_record(fault.error) for fault in error.faults]
    return record


def from_record(record: Mapping[str, Any]) -> ServiceError:
    """Return the error of a record of `to_record`; an unknown class, of an older version, becomes a FailureError."""
    if "faults" in record:
        return RequestError(Fault(item["pointer"], from_record(item)) for item in record["faults"])
    return _CLASSES.get(record["error"], FailureError).from_detail(record["detail"])


def _classes(parent: type[ServiceError]) -> Iterator[tuple[str, type[ServiceError]]]:
    yield parent.__name__, parent
    for child in parent.__subclasses__():
        yield from _classes(child)


_CLASSES: Mapping[str, type[ServiceError]] = dict(_classes(ServiceError))
