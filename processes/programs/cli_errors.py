"""What fails in commands that work without a server, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from processes.errors import ServiceError


@contextmanager
def failures_reported() -> Iterator[None]:
    """Report in one line what is wrong with the work, as a client of the service would read it."""
    try:
        yield
    except ServiceError as err:
        raise click.ClickException(err.detail) from err
    except MemoryError as err:
        raise click.ClickException("the memory is not enough for the work") from err
