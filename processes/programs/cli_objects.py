"""The options by which commands name images and objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from processes.errors import InputError
from processes.programs.completion import complete_files
from processes.programs.file_links import link_to_features, links_to_images

FEATURE_KINDS = (
    "GeoJSON, GeoPackage, FlatGeobuf, Shapefile (.shp or zipped), file geodatabase (.gdb), GeoParquet or CSV, or a link"
)

_WITHOUT = "Without it each image is one object."


def _check_images(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return what names images, if something is there; else the command is used wrongly."""
    with _faults_of(context, parameter):
        for item in given:
            links_to_images(item)
    return given


def _check_features(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """Return what names a layer, if something is there; else the command is used wrongly."""
    if given is not None:
        with _faults_of(context, parameter):
            link_to_features(given)
    return given


@contextmanager
def _faults_of(context: click.Context, parameter: click.Parameter) -> Iterator[None]:
    """Report what is wrong with the value of an option as wrong usage."""
    try:
        yield
    except InputError as err:
        raise click.BadParameter(err.detail, context, parameter) from err


def image_option(words: str, *, required: bool = False) -> Callable[[Any], Any]:
    """Return the option `--image`; `words` say what the images are for."""
    return click.option(
        "--image",
        "images",
        multiple=True,
        required=required,
        callback=_check_images,
        shell_complete=complete_files,
        metavar="IMAGE",
        help=f"{words}: a file, a folder, a pattern such as 'tiles/*.tif', or a link; may be repeated.",
    )


def features_option(words: str) -> Callable[[Any], Any]:
    """Return the option `--features`; `words` say what the objects are for."""
    return click.option(
        "--features",
        callback=_check_features,
        shell_complete=complete_files,
        metavar="LAYER",
        help=f"{words}: {FEATURE_KINDS}. {_WITHOUT}",
    )
