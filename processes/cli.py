"""The command line: `classify-objects serve | run | models`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from processes import __version__

_CONFIGURATION = "pygeoapi-config.yml"


@click.group()
@click.version_option(__version__)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="PYGEOAPI_CONFIG",
    help=f"The configuration; by default {_CONFIGURATION} of the working folder, else the program's own.",
)
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Classify objects on imagery with a trained model."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    context.obj = config or _default_configuration()


def _default_configuration() -> Path:
    for folder in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (folder / _CONFIGURATION).is_file():
            return folder / _CONFIGURATION
    raise click.ClickException(f"there is no {_CONFIGURATION} here; name one with --config")


@main.command()
@click.pass_obj
def serve(config: Path) -> None:
    """Start the service."""
    from processes.web.start import start

    start(config)


@main.command()
@click.pass_obj
def models(config: Path) -> None:
    """List the installed models, with what is wrong with those that cannot be used."""
    from processes.model.catalog import Catalog
    from processes.settings import load_settings

    settings = load_settings(config)
    catalog = Catalog(settings.models, settings.state, settings.limits.max_model_mb * 2**20)
    packages = catalog.checked()
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
        if package.problem is not None:
            click.echo(f"  problem  {package.problem}")
    if not packages:
        click.echo("no models are installed")


@main.command()
@click.option(
    "--image",
    "images",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="An image, or a folder of images; may be repeated.",
)
@click.option(
    "--features",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=(
        "The objects: a GeoJSON, GeoPackage, FlatGeobuf, zipped Shapefile or GeoParquet. "
        "Without it each image is one object."
    ),
)
@click.option("--layer", help="The layer of a GeoPackage, or the Shapefile of a zip with several.")
@click.option("--model", required=True, help="Id of an installed model, or a model package: a .dlpk file or a folder.")
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
@click.option("--extent-crs", help="CRS of the extent, as EPSG:n or a URI; CRS84 by default.")
@click.option("--cell-size", type=float, help="Resolution of fixed-size chips, in units of the image's CRS.")
@click.option(
    "--processor",
    type=click.Choice(["CPU", "GPU"]),
    help="Where the model runs; the GPU where there is one, by default.",
)
@click.option("--output-crs", help="CRS of the output.")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The result: .geojson, .gpkg, .fgb, .parquet, .geojsonl, .csv, or .json for a table.",
)
@click.option("--overwrite", is_flag=True, help="Replace the result where it is there already.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.pass_obj
def run(config: Path, /, quiet: bool, **options: Any) -> None:
    """Classify objects from files to a file, without a server."""
    from processes.errors import ServiceError
    from processes.local import LocalRun, run_local
    from processes.settings import load_settings

    wanted = LocalRun(**options)
    try:
        with (
            click.progressbar(length=1, label="classifying", file=sys.stderr, show_pos=False)
            if not quiet
            else _Silent() as bar
        ):

            def progress(done: int, total: int) -> None:
                bar.length = max(total, 1)
                bar.update(done - bar.pos)

            summary = run_local(wanted, load_settings(config), progress)
    except ServiceError as err:
        raise click.ClickException(err.detail) from err
    counts = ", ".join(f"{name} {count}" for name, count in summary["counts"].items())
    others = ", ".join(f"{name} {count}" for name, count in summary["status"].items() if name != "ok" and count)
    click.echo(f"{wanted.output}: {counts}" + (f"; not labelled: {others}" if others else ""))
    for warning in summary["warnings"]:
        click.echo(f"warning: {warning}", err=True)


class _Silent:
    """Takes the place of the progress bar."""

    pos = length = 0

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, _: int) -> None: ...


if __name__ == "__main__":
    main()
