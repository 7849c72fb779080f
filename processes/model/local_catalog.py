"""Models by the path of their package, as the command line takes them."""

from __future__ import annotations

import os
from pathlib import Path

from processes.errors import InputError
from processes.model.catalog import Catalog, Model
from processes.model.package import definition_files

_MODEL_FILES = (".dlpk", ".emd", ".onnx")
"""Endings by which a file of a model is told from an id."""


class LocalCatalog(Catalog, frozen=True):
    """The installed models, and any package by its path."""

    def model(self, model_id: str, sha256: str | None = None) -> Model:
        if os.sep not in model_id and not model_id.lower().endswith(_MODEL_FILES):
            return super().model(model_id, sha256)
        return self.model_at(package_path(model_id), sha256)


def package_path(given: str) -> Path:
    """Return the path of a package, which the user names as such or by its .emd, as in ArcGIS.

    Raises:
        InputError: there is none, or something else.
    """
    path = Path(os.path.abspath(given))  # whose last part is a name, also where `.` is given
    if not path.exists():
        raise InputError(f"there is no model package {given}")
    if path.is_dir() or path.suffix.lower() == ".dlpk":
        return path
    definitions = sorted(item.name for item in definition_files(path.parent))
    if path.suffix.lower() != ".emd":
        here = f", here {os.path.join(os.path.dirname(given), definitions[0])}" if len(definitions) == 1 else ""
        raise InputError(f"{given} is no model package: name the .dlpk, the .emd or its folder{here}")
    if len(definitions) != 1:
        raise InputError(
            f"the folder of {given} has {len(definitions)} .emd files ({', '.join(definitions)}): a package has one"
        )
    return path.parent
