"""The package to convert: its .emd, and the file of its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from processes.convert.kinds import Kind, kind_of
from processes.convert.messages import ForeignFile
from processes.errors import PackageError
from processes.model.definition import ModelDefinition
from processes.model.package import contents_folder, definition_files, model_file, read_definition

_TIMM_SETTINGS = "config.json"
_KERAS_SIDE_PX = 64
"""Esri's default of `resampled_image_size`."""


class ForeignPackage(msgspec.Struct, frozen=True):
    """A package whose network is of Keras or PyTorch."""

    folder: Path
    """Where its contents lie."""
    emd: Path
    """The .emd."""
    document: Mapping[str, Any]
    """What the .emd says, every key of it."""
    definition: ModelDefinition
    """What of this the service knows."""
    network: Path
    """The file of the network."""
    kind: Kind
    """Of the network."""

    def file(self, side: int | None) -> ForeignFile:
        """Return what the converter gets to know.

        Args:
            side: of the chips of an Esri KerasClassifier that takes any size, in cells; None = Esri's default.
        """
        definition = self.definition
        if definition.is_keras_classifier:
            height = width = side or _KERAS_SIDE_PX
        else:
            height, width = definition.chip_height, definition.chip_width
        settings = self.network.with_name(_TIMM_SETTINGS)
        return ForeignFile(
            path=str(self.network.absolute()),
            kind=self.kind,
            classes=len(definition.classes),
            height=height,
            width=width,
            bands=_stated_bands(definition),
            backbone=_backbone(self.document),
            settings=str(settings.absolute()) if settings.is_file() else None,
        )


def read_foreign(path: Path, unpack_folder: Path, max_bytes: int) -> ForeignPackage:
    """Read a package whose network is to be converted.

    Args:
        path: the `.dlpk` file or the package folder.
        unpack_folder: for the contents of a `.dlpk`.
        max_bytes: limit of the unpacked size.

    Raises:
        InputError: the package is broken, or its network of no kind that can be converted.
        OSError: it cannot be read.
    """
    folder = contents_folder(path, unpack_folder, max_bytes)
    definition = read_definition(folder)
    (emd,) = definition_files(folder)
    document = json.loads(emd.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    network = _network(folder, definition)
    return ForeignPackage(folder, emd, document, definition, network, kind_of(network))


def _network(folder: Path, definition: ModelDefinition) -> Path:
    """Return the file of the network: as `ModelFile` says, or beside the .emd where it names a place elsewhere.

    Samples of Esri name the folder of the machine that the network was trained on.
    """
    name = PurePosixPath(definition.network_file).name
    beside = folder / name
    try:
        return model_file(folder, definition)
    except PackageError as err:
        if name and beside.is_file() and not beside.is_symlink():
            return beside
        raise PackageError(f"{err.detail}; put {name[:80]!r} beside the .emd") from err


def _stated_bands(definition: ModelDefinition) -> int | None:
    if definition.bands is not None:
        return len(definition.bands)
    normalization = definition.normalization
    return len(normalization.scale) if normalization is not None and not normalization.is_assumed else None


def _backbone(document: Mapping[str, Any]) -> str | None:
    parameters = document.get("ModelParameters")
    backbone = parameters.get("backbone") if isinstance(parameters, dict) else None
    return backbone.strip() or None if isinstance(backbone, str) else None
