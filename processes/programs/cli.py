"""The command line: `classify-objects serve | run | models | convert | optimise | jobs | …`."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from processes import __version__
from processes.programs.cli_convert import convert
from processes.programs.cli_errors import failures_reported
from processes.programs.cli_jobs import jobs, reported
from processes.programs.cli_links import FileOrLink
from processes.programs.cli_model import model
from processes.programs.cli_optimise import optimise


@click.group()
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
    if parent is not None:
        from processes.programs.serve import end_with

        end_with(parent)
    context.obj = config.resolve() if config is not None else _default_configuration()


main.add_command(jobs)
main.add_command(model)
main.add_command(convert)
main.add_command(optimise)


def _default_configuration() -> Path:
    from processes.settings import find_configuration

    try:
        return find_configuration()
    except FileNotFoundError as err:
        raise click.ClickException(f"{err} here; name one with --config") from err


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Import without the garbage collector: it would look again and again through what stays, a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@main.command()
@click.pass_obj
def serve(config: Path) -> None:
    """Start the service: the web server and a runner."""
    from processes.programs.serve import serve as start

    with reported():
        start(config)


@main.command()
@click.option("--address", help="Where to listen, host:port; by default as the configuration has it.")
@click.pass_obj
def web(config: Path, address: str | None) -> None:
    """Start a web server alone: it takes requests, and runners elsewhere work on them."""
    with _importing():
        from processes.programs.web import start_web
        from processes.settings import load_configuration

    with reported():
        bind = load_configuration(config)["server"]["bind"]
        start_web(config, address or f"{bind['host']}:{bind['port']}")


@main.command()
@click.option("--name", help="A name that no other runner has; by default it is made from the host's.")
@click.pass_obj
def runner(config: Path, name: str | None) -> None:
    """Start a runner: it works on the jobs in the store, on this machine or with a cluster."""
    with _importing():
        from processes.programs.runner import start_runner

    with reported():
        start_runner(config, name or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")


@main.command()
@click.option("--scheduler", help="Address of the scheduler, tls://host:port; by default as the configuration has it.")
@click.option("--host", help="Address that the cluster reaches this machine at; by default as the system has it.")
@click.pass_obj
def worker(config: Path, scheduler: str | None, host: str | None) -> None:
    """Start a worker of a cluster, with the slots of this machine."""
    with _importing():
        from processes.programs.workers import start_worker
        from processes.settings import load_settings

    with reported():
        address = scheduler or load_settings(config).scheduler
        if address is None or not address.startswith("tls://"):
            raise click.ClickException("name the scheduler, as tls://host:8786")
        start_worker(config, address, host)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8786, show_default=True, help="Port to listen at.")
@click.pass_obj
def scheduler(config: Path, host: str, port: int) -> None:
    """Start the scheduler of a cluster; it speaks TLS only."""
    from processes.programs.workers import start_scheduler

    with reported():
        start_scheduler(config, host, port)


@main.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the scene, the labels and the picture; by default demo, in the state folder.",
)
@click.pass_obj
def demo(config: Path, output: Path | None) -> None:
    """Show the tool on a synthetic scene, which it draws itself."""
    from processes.programs.demo import become_demo
    from processes.settings import load_settings

    with reported():
        become_demo(output or load_settings(config).state / "demo")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_obj
def models(config: Path, as_json: bool) -> None:
    """List the installed models, with what is wrong with those that cannot be used."""
    from processes.model.catalog import Catalog
    from processes.programs.model_list import models_as_json
    from processes.settings import load_settings

    packages = Catalog.from_settings(load_settings(config)).check_packages()
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


class _OutputOption(click.Option):
    """The option --output. Its help lists the formats, whose libraries are slow to import: so at the last moment."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from processes.features.writing.formats import FORMATS

        of_layers = ", ".join(item.ending for item in FORMATS if item.is_offered_for_layers)
        of_tables = ", ".join(item.ending for item in FORMATS if not item.is_offered_for_layers)
        self.help = f"The result: {of_layers}, or {of_tables} for a table."
        return super().get_help_record(ctx)


@main.command()
@click.option(
    "--image",
    "images",
    multiple=True,
    required=True,
    type=FileOrLink(folders=True),
    help="An image, a folder of images, or a link as the service takes it; may be repeated.",
)
@click.option(
    "--features",
    type=FileOrLink(folders=False),
    help=(
        "The objects: a GeoJSON, GeoPackage, FlatGeobuf, zipped Shapefile, GeoParquet or CSV, or a link. "
        "Without it each image is one object."
    ),
)
@click.option("--layer", help="The layer of a GeoPackage, or the Shapefile of a zip with several.")
@click.option("--features-crs", help="CRS of a CSV's coordinates; longitude and latitude by default.")
@click.option("--model", required=True, help="Id of an installed model, or a package: a .dlpk, an .emd or its folder.")
@click.option(
    "--argument", "arguments", multiple=True, metavar="NAME=VALUE", help="An argument of the model; may be repeated."
)
@click.option("--label-field", default="ClassLabel", show_default=True, help="The field that gets the class label.")
@click.option(
    "--mode",
    type=click.Choice(["mosaic", "separate"]),
    default="mosaic",
    show_default=True,
    help="mosaic: the images are one; separate: an object has a row for each image that it touches.",
)
@click.option(
    "--extent",
    type=(float, float, float, float),
    metavar="WEST SOUTH EAST NORTH",
    help="Only objects that touch this box; without features images that do, cut to it.",
)
@click.option("--extent-crs", help="CRS of the extent, as EPSG:n, ESRI:n or a URI; CRS84 by default.")
@click.option("--cell-size", type=float, help="Resolution of fixed-size chips, in units of the image's CRS.")
@click.option(
    "--processor",
    type=click.Choice(["CPU", "GPU"]),
    help="Where the model runs; the GPU where there is one, by default.",
)
@click.option("--output-crs", help="CRS of the output, as EPSG:n, ESRI:n or a URI.")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    cls=_OutputOption,
)
@click.option("--overwrite", is_flag=True, help="Replace the result where it is there already.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.pass_obj
def run(config: Path, /, output: Path, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Classify objects from files to a file, without a server."""
    with _importing():
        from processes.programs.local import run_local
        from processes.settings import load_settings
    with (
        failures_reported(),
        click.progressbar(length=1, label="classifying", file=sys.stderr, show_pos=False)
        if not quiet
        else _Silent() as bar,
    ):

        def planned(objects: int) -> None:
            bar.length = max(objects, 1)

        summary = run_local(
            _inputs(**options),
            output,
            load_settings(config),
            overwrite=overwrite,
            planned=planned,
            progress=bar.update,
        )
    counts = ", ".join(f"{name} {count}" for name, count in summary["counts"].items())
    others = ", ".join(f"{name} {count}" for name, count in summary["status"].items() if name != "ok" and count)
    click.echo(f"{output}: {counts}" + (f"; not labelled: {others}" if others else ""))
    for warning in summary["warnings"]:
        click.echo(f"warning: {warning}", err=True)


def _inputs(
    *,
    images: tuple[Path | str, ...],
    features: Path | str | None,
    layer: str | None,
    features_crs: str | None,
    model: str,
    arguments: tuple[str, ...],
    label_field: str,
    mode: str,
    extent: tuple[float, float, float, float] | None,
    extent_crs: str | None,
    cell_size: float | None,
    processor: str | None,
    output_crs: str | None,
) -> dict[str, Any]:
    """Return what the options ask for as the inputs of an execute request."""
    from processes.programs.local import link_to

    inputs = {
        "image": [link_to(image) for image in images],
        "features": None if features is None else link_to(features, layer=layer, crs=features_crs),
        "model": model,
        "modelArguments": {name: value for name, _, value in (item.partition("=") for item in arguments)},
        "classLabelField": label_field,
        "processingMode": mode,
        "extent": None if extent is None else {"bbox": extent} | ({"crs": extent_crs} if extent_crs else {}),
        "cellSize": cell_size,
        "processorType": processor,
        "outputCrs": output_crs,
    }
    return {name: value for name, value in inputs.items() if value is not None}


class _Silent:
    """A progress bar that shows nothing."""

    pos = length = 0

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, _: int) -> None: ...


if __name__ == "__main__":
    main()
