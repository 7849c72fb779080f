"""The commands that start the service and its parts: `classify-objects serve | web | runner | scheduler | worker`."""

from __future__ import annotations

import signal
import socket
import uuid
from pathlib import Path

import click

from processes.programs.cli_jobs import reported
from processes.programs.quick_imports import quick_imports


@click.command()
@click.option(
    "--imagery",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    metavar="DIR",
    help="A folder below which links to images and layers may point; may be repeated.",
)
@click.option("--host", help="Address to listen at; by default as the configuration has it.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen at, 0 for a free one; by default as the configuration has it.",
)
@click.option("--open", "opens", is_flag=True, help="Show the service in a browser.")
@click.pass_context
def serve(context: click.Context, imagery: tuple[str, ...], host: str | None, port: int | None, opens: bool) -> None:
    """Start the service: the web server and a runner."""
    from processes.programs.serve import ServeOptions
    from processes.programs.serve import serve as start

    with reported():
        stopped_by = start(context.obj, ServeOptions(imagery, host, port, click.launch if opens else None))
    if stopped_by == signal.SIGINT:
        context.exit(128 + stopped_by)


@click.command(short_help="Start a web server alone.")
@click.option("--address", help="Where to listen, host:port; by default as the configuration has it.")
@click.pass_obj
def web(config: Path, address: str | None) -> None:
    """Start a web server alone: it takes requests, and runners elsewhere work on them."""
    with quick_imports():
        from processes.programs.web import start_web
        from processes.settings import load_configuration

    with reported():
        bind = load_configuration(config)["server"]["bind"]
        start_web(config, address or f"{bind['host']}:{bind['port']}")


@click.command(short_help="Start a runner, which works on jobs.")
@click.option("--name", help="A name that no other runner has; by default it is made from the host's.")
@click.pass_obj
def runner(config: Path, name: str | None) -> None:
    """Start a runner: it works on the jobs in the store, on this machine or with a cluster."""
    with quick_imports():
        from processes.programs.runner import start_runner

    with reported():
        start_runner(config, name or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")


@click.command(short_help="Start a worker of a cluster.")
@click.option("--scheduler", help="Address of the scheduler, tls://host:port; by default as the configuration has it.")
@click.option("--host", help="Address that the cluster reaches this machine at; by default as the system has it.")
@click.pass_obj
def worker(config: Path, scheduler: str | None, host: str | None) -> None:
    """Start a worker of a cluster, with the slots of this machine."""
    with quick_imports():
        from processes.programs.workers import start_worker
        from processes.settings import load_settings

    with reported():
        address = scheduler or load_settings(config).scheduler
        if address is None or not address.startswith("tls://"):
            raise click.ClickException("name the scheduler, as tls://host:8786")
        start_worker(config, address, host)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8786, show_default=True, help="Port to listen at.")
@click.pass_obj
def scheduler(config: Path, host: str, port: int) -> None:
    """Start the scheduler of a cluster; it speaks TLS only."""
    from processes.programs.workers import start_scheduler

    with reported():
        start_scheduler(config, host, port)
