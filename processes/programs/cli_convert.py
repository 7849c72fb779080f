"""`classify-objects convert`: make ONNX of a package of Keras or PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from processes.programs.cli_errors import failures_reported, settings_of
from processes.programs.cli_objects import features_option, image_option
from processes.programs.file_links import object_links


@click.command(short_help="Make ONNX of a network of Keras or PyTorch.")
@click.argument("package")
@click.argument("output", metavar="OUT.dlpk", type=click.Path(dir_okay=False, path_type=Path))
@image_option("For a proof on real objects")
@features_option("The objects on these images")
@click.option(
    "--resampled-image-size",
    type=click.IntRange(1, 8192),
    help="Side of the chips of an Esri KerasClassifier whose network takes any size; 64 by default, as in ArcGIS.",
)
@click.option(
    "--environment",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The environment with Keras and PyTorch; by default the one that `make convert-env` makes.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1),
    default=1800,
    show_default=True,
    metavar="SECONDS",
    help="Seconds that each of the two runs of the framework may take.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.dlpk where it is there already.")
@click.pass_obj
def convert(
    config: Path,
    package: str,
    output: Path,
    images: tuple[str, ...],
    features: str | None,
    resampled_image_size: int | None,
    environment: Path | None,
    time_limit: float,
    overwrite: bool,
) -> None:
    """Make ONNX of the network of PACKAGE, a .dlpk, a folder or its .emd, and prove that its labels stay the same."""
    if features is not None and not images:
        raise click.UsageError("--features needs --image: the images that the objects are on")
    from processes.programs.conversion.convert import ConversionOptions, convert_package
    from processes.programs.conversion.environment import find_environment

    objects = object_links(images, features)
    with failures_reported():
        options = ConversionOptions(find_environment(environment), overwrite, resampled_image_size, time_limit, objects)
        found = convert_package(
            package, output, settings_of(config), options, lambda words: click.echo(f"{words} …", err=True)
        )
    click.echo(f"{output}: {found.answer.network}, opened by {found.answer.framework}")
    for comparison in found.comparisons:
        click.echo(f"  {comparison}")
    for note in found.answer.notes:
        click.echo(f"note: {note}", err=True)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
