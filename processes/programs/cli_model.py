"""The commands `classify-objects model …`: one model package at a time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from processes.programs.cli_errors import failures_reported, settings_of
from processes.programs.cli_objects import features_option, image_option
from processes.programs.completion import complete_models
from processes.programs.file_links import object_links

if TYPE_CHECKING:
    from processes.programs.own_package.check import PackageReport

_CLASS = re.compile(r"(?P<name>[^:#,]+)(?::#(?P<color>[0-9a-fA-F]{6}))?")
_CHIP = re.compile(r"(\d+)(?:x(\d+))?")


@click.group()
def model() -> None:
    """Make, check and show a model package."""


@model.command()
@click.argument("package", shell_complete=complete_models)
@click.option("--stac", is_flag=True, help="As a STAC item of the extension MLM.")
@click.pass_obj
def show(config: Path, package: str, stac: bool) -> None:
    """Print what PACKAGE is as JSON: classes, chip, bands, arguments. It is an id, a .dlpk, an .emd or its folder."""
    from processes.describe_model import model_info
    from processes.model.local_catalog import LocalCatalog

    with failures_reported():
        found = LocalCatalog.from_settings(settings_of(config)).model(package)
    if stac:
        from processes.model.mlm import stac_item

        document = stac_item(found)
    else:
        document = model_info(found)
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _classes(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[tuple[str, Any], ...]:
    """Read classes, written as `intact:#4caf50,damaged:#f44336`; a color can be left out."""
    found = [_CLASS.fullmatch(item.strip()) for item in value.split(",")]
    classes = [(item["name"].strip(), item["color"]) for item in found if item is not None]
    if len(classes) < len(found) or len(classes) < 2:
        raise click.BadParameter(f"{value!r} are no two or more classes; write NAME:#RRGGBB,NAME:#RRGGBB")
    return tuple((name, color and tuple(bytes.fromhex(color))) for name, color in classes)


def _chip(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, int]:
    """Read the size of a chip: `224`, or width and height as `224x128`."""
    found = _CHIP.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no size; write 224, or width and height as 224x128")
    return int(found[1]), int(found[2] or found[1])


def _bands(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int | str, ...] | None:
    """Read bands, by number from 0 or by name."""
    if value is None:
        return None
    return tuple(int(item) if item.strip().isdecimal() else item.strip() for item in value.split(","))


@model.command()
@click.argument("network", metavar="NET.onnx", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--classes",
    required=True,
    metavar="NAME:#COLOR,…",
    callback=_classes,
    help="In the order of the network's outputs, with their colors.",
)
@click.option("--chip", required=True, metavar="N", callback=_chip, help="Side of the chips in cells, or 224x128.")
@click.option(
    "--normalization",
    required=True,
    metavar="imagenet|0..1|none|MEAN/STD",
    help="What training did to the cells: numbers for each band, as 0.5,0.4,0.3/0.2,0.2,0.2, after --scale.",
)
@click.option("--scale", type=float, help="What cells are multiplied by before that; 1/255 by default.")
@click.option("--bands", callback=_bands, metavar="0,1,2", help="Bands of the image, from 0 or by name.")
@click.option("--box", "is_box", is_flag=True, help="A chip is the object's box, resampled, not a window around it.")
@click.option("--blacken", is_flag=True, help="Cells outside the object's polygon become 0.")
@click.option("--multi-label", is_flag=True, help="An object can have several labels, or none.")
@click.option(
    "--activation",
    type=click.Choice(["softmax", "sigmoid", "none"]),
    help="What makes probabilities of the outputs; by default what suits them.",
)
@click.option("--output-name", help="The output that holds the scores, where there are several.")
@click.option(
    "--output",
    required=True,
    metavar="OUT.dlpk",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The package; its name without ending is its id.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.dlpk where it is there already.")
@click.pass_obj
def make(
    config: Path,
    /,
    network: Path,
    classes: tuple[tuple[str, Any], ...],
    output: Path,
    overwrite: bool,
    is_box: bool,
    **options: Any,
) -> None:
    """Make a package of NET.onnx, and try it. Weights that lie beside it, as in NET.onnx.data, are taken along."""
    from processes.model.definition import ModelClass
    from processes.programs.own_package.make import OwnPackage, make_package

    numbered = tuple(ModelClass(value, name, color) for value, (name, color) in enumerate(classes))
    with failures_reported():
        own = OwnPackage(numbered, fixed_size=not is_box, **options)
        made = make_package(network, output, own, settings_of(config), overwrite=overwrite)
    click.echo(f"{output}: {', '.join(name for name, _ in classes)}; activation {made.activation}")
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)


@model.command(short_help="Try a package, also on real chips.")
@click.argument("package", shell_complete=complete_models)
@click.option(
    "--chips",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of chips, with a folder per class in it, named as the class.",
)
@image_option("Images with objects")
@features_option("The objects on these images")
@click.option("--truth", metavar="FIELD", help="The field of the features that has the right class, by name or value.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="A picture of chips as the model sees them, with their labels.",
)
@click.option("--json", "as_json", is_flag=True, help="Tell what was found as JSON.")
@click.pass_context
def check(
    context: click.Context,
    package: str,
    chips: Path | None,
    images: tuple[str, ...],
    features: str | None,
    truth: str | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Check PACKAGE, an id, a .dlpk, an .emd or its folder: does it load, and what are its labels on real chips?"""
    if features is not None and not images:
        raise click.UsageError("--features needs --image: the images that the objects are on")
    if truth is not None and features is None:
        raise click.UsageError("--truth needs --features: the objects that have the field")
    if picture is not None and chips is None and not images:
        raise click.UsageError("--picture needs chips: name --chips, or --image")
    from processes.programs.own_package.check import CheckOptions, check_package

    with failures_reported():
        options = CheckOptions(chips, object_links(images, features), truth)
        report, png = check_package(package, settings_of(context.obj), options)
    if picture is not None and png is not None:
        try:
            picture.write_bytes(png)
        except OSError as err:
            raise click.ClickException(f"{picture} cannot be written: {err.strerror}") from err
    if as_json:
        click.echo(json.dumps(_report_as_json(report), indent=2, ensure_ascii=False))
    else:
        _tell_report(report)
    for warning in report.model.warnings:
        click.echo(f"warning: {warning}", err=True)
    if report.depends_on_batch:
        raise click.ClickException(
            "a chip's label depends on the other chips of its batch, or on chance: export the network in evaluation "
            "mode, and use static quantisation"
        )


def _tell_report(report: PackageReport) -> None:
    definition = report.model.definition
    click.echo(f"{report.model.id}: {', '.join(item.name for item in definition.classes)}")
    click.echo(f"normalisation: {report.normalization}")
    click.echo(f"activation: {report.model.activation}")
    if report.alone is None:
        return
    ranges = "; ".join(f"{low:.4g} to {high:.4g}" for low, high in report.ranges)
    click.echo(f"{report.chips} chips; the network gets values of {ranges}")
    click.echo(f"alone instead of in a batch, {report.alone}")
    if report.not_finite:
        told = f"{report.not_finite} of {report.chips} chips have no label: what the network gives is not finite"
        click.echo(f"warning: {told}", err=True)
    if report.confusion is None or report.accuracy is None:
        return
    names = [item.name for item in definition.classes]
    width = max(map(len, [*names, "is \\ label"])) + 2
    click.echo("is \\ label".ljust(width) + "".join(name.rjust(max(len(name), 6) + 2) for name in names))
    for name, row in zip(names, report.confusion.tolist(), strict=True):
        counts = "".join(str(count).rjust(max(len(other), 6) + 2) for other, count in zip(names, row, strict=True))
        click.echo(name.ljust(width) + counts)
    click.echo(f"right: {report.accuracy:.1%} of {report.confusion.sum()}")


def _report_as_json(report: PackageReport) -> dict[str, Any]:
    alone = report.alone
    members = {
        "id": report.model.id,
        "sha256": report.model.sha256,
        "normalization": report.normalization,
        "activation": report.model.activation,
        "warnings": list(report.model.warnings),
        "chips": report.chips,
        "notFinite": report.not_finite,
        "ranges": [list(item) for item in report.ranges],
        "alone": alone
        and {"chips": alone.objects, "labelsChanged": alone.changed, "largestChange": alone.largest_change},
        "dependsOnBatch": report.depends_on_batch,
        "classes": [item.name for item in report.model.definition.classes],
        "confusion": None if report.confusion is None else report.confusion.tolist(),
        "accuracy": report.accuracy,
    }
    return {name: value for name, value in members.items() if value is not None}
