"""`classify-objects run`: the tool without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from processes.confinement.free_memory import return_large_blocks
from processes.programs.cli_errors import failures_reported, settings_of
from processes.programs.cli_objects import features_option, image_option
from processes.programs.completion import complete_models
from processes.programs.file_links import object_links
from processes.programs.quick_imports import quick_imports

_STANDARD_OUTPUT = Path("-")


class _OutputOption(click.Option):
    """The option --output. Its help lists the formats, whose libraries are slow to import: so at the last moment."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from processes.features.writing.formats import FORMATS

        of_layers = ", ".join(item.ending for item in FORMATS if item.is_offered_for_layers)
        of_tables = ", ".join(item.ending for item in FORMATS if not item.is_offered_for_layers)
        self.help = f"The result: {of_layers}, or {of_tables} for a table; - for the standard output."
        return super().get_help_record(ctx)


class _RunCommand(click.Command):
    """A command of options alone, which says so where the shell has made several files of a pattern."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:  # the tab key gets no error
            text = f"{extra[0]} follows no option; quote a pattern, as in --image 'tiles/*.tif', or repeat the option"
            raise click.UsageError(text, ctx)
        return extra


@click.command(cls=_RunCommand)
@image_option("The imagery", required=True)
@features_option("The objects")
@click.option("--layer", help="The layer of a GeoPackage or geodatabase, or the Shapefile of a zip with several.")
@click.option("--features-crs", help="CRS of a CSV's coordinates; longitude and latitude by default.")
@click.option(
    "--model",
    required=True,
    shell_complete=complete_models,
    help="Id of an installed model, or a package: a .dlpk, an .emd or its folder.",
)
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
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    cls=_OutputOption,
)
@click.option(
    "--format",
    "ending",
    metavar="ENDING",
    help="Format on the standard output, by its ending, such as gpkg; GeoJSON by default, JSON for a table.",
)
@click.option("--overwrite", is_flag=True, help="Replace the result where it is there already.")
@click.option("--dry-run", is_flag=True, help="Only open what is named, and tell what the work would be.")
@click.option("--json", "as_json", is_flag=True, help="Tell the summary, or what the work would be, as JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.pass_obj
def run(
    config: Path,
    /,
    output: Path | None,
    ending: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Classify objects from files to a file, without a server."""
    if output is None and not dry_run:
        raise click.UsageError("name the result with --output; --dry-run needs none")
    if ending is not None and output != _STANDARD_OUTPUT:
        raise click.UsageError("--format is for --output -; the ending of a file names its format")
    with quick_imports():
        from processes.programs.local import output_format, run_local, stream_local, validate_local
    with failures_reported():
        inputs, settings = _inputs(**options), settings_of(config)
        return_large_blocks()
        if dry_run or output is None:
            _tell_work(validate_local(inputs, settings), as_json)
            return
        with _progress(quiet) as bar:

            def planned(objects: int) -> None:
                bar.length = max(objects, 1)

            if output == _STANDARD_OUTPUT:
                summary = stream_local(
                    inputs,
                    None if ending is None else output_format(Path(f"result.{ending.removeprefix('.')}")),
                    sys.stdout.buffer,
                    settings,
                    planned=planned,
                    progress=bar.update,
                )
            else:
                summary = run_local(inputs, output, settings, overwrite=overwrite, planned=planned, progress=bar.update)
    _tell_summary(summary, output, as_json)


def _progress(is_quiet: bool) -> Any:
    """Return a progress bar, which may show nothing."""
    return _Silent() if is_quiet else click.progressbar(length=1, label="classifying", file=sys.stderr, show_pos=False)


def _tell_work(found: Mapping[str, Any], as_json: bool) -> None:
    """Tell what the work would be."""
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    fields = ", ".join(field["name"] for field in found["fields"])
    objects, images = (_counted(found[name], name.removesuffix("s")) for name in ("objects", "images"))
    click.echo(f"{objects} on {images}, about {found['estimatedSeconds']:.1f} s")
    click.echo(f"fields: {fields}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _tell_summary(summary: Mapping[str, Any], output: Path, as_json: bool) -> None:
    """Tell what became of the objects; on the standard error where the result is on the standard output."""
    is_streamed = output == _STANDARD_OUTPUT
    if as_json:
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False), err=is_streamed)
        return
    counts = ", ".join(f"{name} {count}" for name, count in summary["counts"].items())
    others = ", ".join(f"{name} {count}" for name, count in summary["status"].items() if name != "ok" and count)
    told = counts + (f"; not labelled: {others}" if others else "")
    click.echo(told if is_streamed else f"{output}: {told}", err=is_streamed)
    for warning in summary["warnings"]:
        click.echo(f"warning: {warning}", err=True)


def _inputs(
    *,
    images: tuple[str, ...],
    features: str | None,
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
    inputs = {
        **object_links(images, features, layer=layer, crs=features_crs),
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
