"""The package that is written: the .emd with what the conversion knows, the ONNX network, and all other files."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processes.convert.messages import ConversionAnswer
from processes.errors import InputError
from processes.programs.conversion.source import ForeignPackage

RECORD = "Conversion"
"""The key of the .emd with what was converted and how it was proven. Esri's tools and the service ignore it."""
_IMAGENET = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of all files in the archive, so that the same package gives the same bytes."""


def require_writable(output: Path, overwrite: bool) -> None:
    """Raise InputError where a package cannot be written to a file, or must not: `overwrite` = it may be there."""
    if output.suffix.lower() != ".dlpk":
        raise InputError(f"{output} is to be a package: give it a name that ends in .dlpk")
    if output.exists() and not overwrite:
        raise InputError(f"{output} is there already; --overwrite replaces it")
    if not output.absolute().parent.is_dir():
        raise InputError(f"the folder of {output} is not there")


def network_name(source: ForeignPackage) -> str:
    """Return the name of the ONNX file."""
    return f"{source.network.stem}.onnx"


def converted_document(source: ForeignPackage, answer: ConversionAnswer) -> dict[str, Any]:
    """Return what the new .emd says: all keys of the old one, and what was left to Esri's own code.

    Args:
        source: the package that is converted.
        answer: of the converter.
    """
    document = dict(source.document) | {"ModelFile": network_name(source)}
    stated = {name for name, value in document.items() if value is not None and value != ""}
    definition = source.definition
    if not stated & {"Normalization", "NormalizationStats"}:
        normalization = _normalization(source, answer)
        if normalization is not None:
            document["Normalization"] = normalization
    if definition.is_keras_classifier and "Resampling" not in stated:
        document["Resampling"] = "skimage"
    return document


def _normalization(source: ForeignPackage, answer: ConversionAnswer) -> Any:
    """Return the normalisation that Esri's code does for a package that states none; None = nobody knows."""
    definition = source.definition
    if definition.normalization is not None and definition.normalization.is_assumed and answer.bands == 3:
        return _IMAGENET
    if answer.normalization is not None:
        return dict(answer.normalization)
    return "none" if definition.is_keras_classifier or source.document.get("Framework") == "Keras" else None


def copy_others(source: ForeignPackage, folder: Path) -> None:
    """Copy the other files of a package, such as its raster function, to a folder; links are left out."""
    for path in sorted(source.folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path not in (source.network, source.emd):
            target = folder / path.relative_to(source.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write an .emd; NaN among training metrics stays as Python writes it."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")


def write_archive(folder: Path, target: Path) -> None:
    """Write the files of a folder as a `.dlpk`."""
    with zipfile.ZipFile(target, "w") as archive:  # weights hardly shrink
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EARLIEST)
            member.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as stored:
                shutil.copyfileobj(source, stored)
