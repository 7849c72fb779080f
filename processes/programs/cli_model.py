"""The commands `classify-objects model …`: one model package at a time."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def model() -> None:
    """Look at a model package."""


@model.command()
@click.argument("package")
@click.option("--stac", is_flag=True, help="As a STAC item of the extension MLM.")
@click.pass_obj
def show(config: Path, package: str, stac: bool) -> None:
    """Print what PACKAGE is as JSON: classes, chip, bands, arguments. It is an id, a .dlpk, an .emd or its folder."""
    from processes.describe_model import model_info
    from processes.errors import ServiceError
    from processes.model.local_catalog import LocalCatalog
    from processes.settings import load_settings

    try:
        found = LocalCatalog.from_settings(load_settings(config)).model(package)
    except ServiceError as err:
        raise click.ClickException(err.detail) from err
    if stac:
        from processes.model.mlm import stac_item

        document = stac_item(found)
    else:
        document = model_info(found)
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
