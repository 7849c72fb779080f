"""Every error that a client can cause or see.

    ServiceError                 a fault that may be told, in the client's terms
    ├── InputError               something in the request, or what it points to, is wrong
    │   ├── ImageError           an image that cannot be opened, read or used
    │   ├── LayerError           a feature layer that cannot be opened, read or used
    │   └── PackageError         a model package that is broken or does not fit the image
    ├── ForbiddenError           the configuration does not allow what a link asks for
    ├── LimitError               a configured limit is exceeded; names the limit and its value
    └── RequestError             what is wrong with one request: at least one Fault

No message holds a server's path, a traceback or a credential: only the client's own words, and ours.
Which HTTP status each becomes stands in one table, `processes.web.problem`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class ServiceError(Exception):
    """A fault that may be told to the client as it is."""

    @property
    def detail(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


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
def collected(faults: list[Fault], pointer: str) -> Iterator[None]:
    """Add a fault that the client can mend to a list, as one at `pointer`, so that the others are found too."""
    try:
        yield
    except ServiceError as err:
        faults.extend(RequestError.at(pointer, err).faults)
