"""The command line: `classify-objects serve | run | models | convert | optimise | jobs | …`."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from processes import __version__

_COMMANDS = {
    "run": "cli_run",
    **dict.fromkeys(("serve", "web", "runner", "scheduler", "worker"), "cli_service"),
    "jobs": "cli_jobs",
    "token": "cli_token",
    "model": "cli_model",
    "convert": "cli_convert",
    "optimise": "cli_optimise",
}
"""Commands that have a module of their own, and its name: it is imported when the command is called."""
_ALGEBRA_THREADS = "OPENBLAS_NUM_THREADS"
"""Threads of numpy for algebra, which spin, and have nothing to do in this program."""
_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of the signal."""


class _Program(click.Group):
    """The program. Ctrl-C ends it with a status of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f"processes.programs.{_COMMANDS[cmd_name]}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as err:  # it knows only the commands that are imported
            raise click.exceptions.NoSuchCommand(
                err.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from err

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="PYGEOAPI_CONFIG",
    help="The configuration; by default pygeoapi-config.yml of the working folder, else the program's own.",
)
@click.option("--parent", type=int, hidden=True, help="Process that this one is to end with.")
@click.pass_context
def main(context: click.Context, config: Path | None, parent: int | None) -> None:
    """Classify objects on imagery with a trained model."""
    if _ALGEBRA_THREADS not in os.environ:
        os.putenv(_ALGEBRA_THREADS, "1")  # for libraries alone: a raster function gets of `os.environ` how many it has
    if parent is not None:
        from processes.programs.serve import end_with

        end_with(parent)
    context.obj = config.resolve() if config is not None else _default_configuration()
    from processes.programs.built_in import set_built_in_folders
    from processes.settings import is_built_in

    if is_built_in(context.obj):
        set_built_in_folders()


def _default_configuration() -> Path:
    from processes.settings import find_configuration

    try:
        return find_configuration()
    except FileNotFoundError as err:
        raise click.ClickException(f"{err} here; name one with --config") from err


@main.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the scene, the labels and the picture; by default demo, in the state folder.",
)
@click.pass_obj
def demo(config: Path, output: Path | None) -> None:
    """Show the tool on a synthetic scene, which it draws itself."""
    from processes.programs.cli_jobs import reported
    from processes.programs.demo import become_demo
    from processes.settings import load_settings

    with reported():
        become_demo(output or load_settings(config).state / "demo")


@main.command(short_help="List the installed models.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_obj
def models(config: Path, as_json: bool) -> None:
    """List the installed models, with what is wrong with those that cannot be used."""
    from processes.model.catalog import Catalog
    from processes.programs.cli_errors import settings_of
    from processes.programs.model_list import models_as_json

    packages = Catalog.from_settings(settings_of(config)).check_packages()
    if as_json:
        click.echo(models_as_json(packages))
        return
    for package in packages:
        click.echo(package.id)
        if package.definition is not None:
            definition = package.definition
            size = "fixed" if definition.fixed_size else "the object's box, resampled"
            bands = "all" if definition.bands is None else ", ".join(map(str, definition.bands))
            click.echo(f"  classes  {', '.join(f'{item.name} ({item.value})' for item in definition.classes)}")
            click.echo(f"  chip     {definition.chip_width} x {definition.chip_height} cells, {size}")
            click.echo(f"  bands    {bands}")
        if package.sha256 is not None:
            click.echo(f"  sha256   {package.sha256}")
        if package.function is not None:
            function = package.function
            is_run = "is run" if function.is_trusted else "is not run"
            click.echo(f"  function {function.file} {is_run}, package {function.sha256 or 'without a digest'}")
        if package.problem is not None:
            click.echo(f"  problem  {package.problem}")
        for warning in package.warnings:
            click.echo(f"  warning  {warning}")
    if not packages:
        click.echo("no models are installed")


def program() -> None:
    """Be the program: call the command line, and end as soon as all is written.

    Python would first take apart each object of each library, a twentieth of a second for a run of one object. All else
    of its end happens: threads are waited for, and what is registered for the end is called, this as the last.
    """
    status: int | None = None
    atexit.register(lambda: _end(status))
    try:
        main()
    except SystemExit as err:
        if isinstance(err.code, int | None):
            status = err.code or 0
        raise


def _end(status: int | None) -> None:
    """End this process with a status; where it has none, or what it has written does not arrive, Python says so."""
    if status is None:
        return
    with contextlib.suppress(OSError, ValueError):
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None = it was closed before the program began
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    program()
