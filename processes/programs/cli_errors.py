"""What fails in commands that work without a server, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from processes.errors import ServiceError

if TYPE_CHECKING:  # a command imports it when it is called
    from processes.settings import Settings


def settings_of(configuration: Path) -> Settings:
    """Return the settings of a configuration, and report in one line what is wrong with it."""
    from processes.settings import load_settings

    try:
        return load_settings(configuration)
    except (ValueError, OSError) as err:
        raise click.ClickException(str(err)) from err


@contextmanager
def failures_reported() -> Iterator[None]:
    """Report in one line what is wrong with the work, as a client of the service would read it."""
    try:
        yield
    except ServiceError as err:
        raise click.ClickException(err.detail) from err
    except MemoryError as err:
        raise click.ClickException("the memory is not enough for the work") from err
