"""`classify-objects optimise`: make a variant of a package that is computed in fewer digits, and measure it."""

from __future__ import annotations

from pathlib import Path

import click

from processes.programs.cli_errors import failures_reported, settings_of
from processes.programs.cli_objects import features_option, image_option
from processes.programs.completion import complete_models
from processes.programs.file_links import object_links


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a share, written as a percentage: `0.4%` is 0.004."""
    if value is None:
        return None
    try:
        share = float(value.strip().removesuffix("%")) / 100 if "%" in value else -1.0
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{value!r} is no share of 0% to 100%; write it as 0.4%", context, parameter)
    return share


@click.command(short_help="Make a faster variant of a model.")
@click.argument("model", shell_complete=complete_models)
@click.option("--precision", required=True, type=click.Choice(["bf16", "fp16", "int8"]), help="Of the variant.")
@click.option(
    "--output",
    required=True,
    metavar="OUT.dlpk",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The variant; its name without ending is its id.",
)
@image_option("Images like those that the model is for", required=True)
@features_option("The objects on these images")
@click.option("--truth", metavar="FIELD", help="The field of the features that has the right class, by name or value.")
@click.option(
    "--max-changed",
    callback=_share,
    metavar="SHARE",
    help="Refuse a variant that changes the labels of more objects than this, as 0.4%.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.dlpk where it is there already.")
@click.pass_obj
def optimise(
    config: Path,
    model: str,
    precision: str,
    output: Path,
    images: tuple[str, ...],
    features: str | None,
    truth: str | None,
    max_changed: float | None,
    overwrite: bool,
) -> None:
    """Make a faster variant of MODEL, an id, a .dlpk, a folder or its .emd, and measure it on real objects."""
    if truth is not None and features is None:
        raise click.UsageError("--truth needs --features: the objects that have the field")
    from processes.programs.optimisation.optimise import OptimisationOptions, optimise_package

    objects = object_links(images, features)
    options = OptimisationOptions(precision, overwrite, truth, max_changed, objects)  # type: ignore[arg-type] # one of three
    with failures_reported():
        found = optimise_package(
            model, output, settings_of(config), options, lambda words: click.echo(f"{words} …", err=True)
        )
    click.echo(f"{output}: {precision}, computed by {found.runtime}")
    click.echo(f"  {found.labels}")
    click.echo(f"  {found.speeds}")
    if found.truth is not None and found.accuracies is not None:
        before, after = found.accuracies
        click.echo(f"  accuracy by {found.truth.field!r}: {after:.3f}, in fp32 {before:.3f}")
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.speeds.ratio <= 1:
        click.echo("warning: the variant is no faster than fp32 on this machine", err=True)
