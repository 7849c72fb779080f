"""What a shell offers to complete: names that only the program knows."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of installed models that begin so; a path is the shell's to complete.

    Nothing is opened and nothing checked: a key was pressed, and somebody waits.

    Args:
        context: of the command line so far.
        parameter: that is completed.
        incomplete: what of it is there.
    """
    from processes.programs.built_in import set_built_in_folders
    from processes.settings import find_configuration, is_built_in, load_settings

    named: Path | None = context.find_root().params.get("config")
    try:
        configuration = named or find_configuration()
        if is_built_in(configuration):
            set_built_in_folders()
        folders = load_settings(configuration).models
    except Exception:  # noqa: BLE001 - whatever is wrong with it, who presses Return is told
        folders = ()
    packages = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if _is_package(path)]
    ids = {path.name.removesuffix(".dlpk") for path in packages}
    found = [CompletionItem(name) for name in sorted(ids) if name.startswith(incomplete)]
    return found or complete_files(context, parameter, incomplete)


def complete_files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell to complete a path.

    Args:
        incomplete: what of it is there.
    """
    return [CompletionItem(incomplete, type="file")]


def _is_package(path: Path) -> bool:
    return path.suffix == ".dlpk" or (path.is_dir() and any(path.glob("*.emd")))
