"""Making a package of an ONNX file: its model definition is written, and the service's own check tries it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from processes.errors import InputError
from processes.model.catalog import Model
from processes.model.definition import Activation, ModelClass
from processes.model.graph.network import load_network
from processes.model.graph.weights import weight_files
from processes.model.local_catalog import LocalCatalog
from processes.programs.conversion.new_package import require_writable, write_archive, write_document
from processes.settings import Settings

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OF_BYTES = 1 / 255
"""What training multiplies the cells of 8-bit imagery by, unless it says so."""


class OwnPackage(msgspec.Struct, frozen=True):
    """What its maker says of a network."""

    classes: tuple[ModelClass, ...]
    """In the order of the network's outputs."""
    chip: tuple[int, int]
    """Width and height of the chips, in cells."""
    normalization: str
    """`imagenet`, `0..1`, `none`, or `MEAN/STD`: numbers for each band, separated by commas, of scaled cells."""
    scale: float | None = None
    """What cells are multiplied by first; None = 1/255."""
    bands: tuple[int | str, ...] | None = None
    """Bands of the image that the network takes, in order, from 0 or by name; None = the first ones, as many as it
    takes."""
    fixed_size: bool = True
    """True: a window of the chip's size around each object. False: the object's box, resampled."""
    blacken: bool = False
    """True: cells outside the object's polygon become 0."""
    multi_label: bool = False
    """True: an object can have several labels, or none."""
    activation: Activation | None = None
    """What turns the network's outputs into probabilities; None = the check finds it."""
    output_name: str | None = None
    """The network's output that holds the scores; None = the only one that can."""

    def document(self, network: str, bands: int | None) -> dict[str, Any]:
        """Return what the .emd says.

        Args:
            network: name of the ONNX file.
            bands: number of bands that it takes; None = any.

        Raises:
            InputError: the normalisation cannot be read, or is of other bands.
        """
        width, height = self.chip
        taken = self.bands if self.bands is not None or bands is None else tuple(range(bands))
        document: dict[str, Any] = {
            "Framework": "ONNX",
            "ModelConfiguration": "ObjectClassification",
            "ModelType": "ObjectClassification",
            "ModelFile": network,
            "ImageHeight": height,
            "ImageWidth": width,
            "ExtractBands": None if taken is None else list(taken),
            "CropSizeFixed": int(self.fixed_size),
            "BlackenAroundFeature": int(self.blacken),
            "MetaDataMode": "MultiLabeled_Tiles" if self.multi_label else None,
            "Normalization": self._normalization(None if taken is None else len(taken)),
            "Activation": self.activation,
            "OutputName": self.output_name,
            "Classes": [_class(item) for item in self.classes],
        }
        return {key: value for key, value in document.items() if value is not None}

    def _normalization(self, bands: int | None) -> Any:
        mean: tuple[float, ...]
        std: tuple[float, ...]
        match self.normalization:
            case "none":
                return "none"
            case "imagenet":
                mean, std = _IMAGENET
            case "0..1":
                mean, std = (0.0,) * (bands or 3), (1.0,) * (bands or 3)
            case given:
                mean, std = _read_statistics(given)
        if bands is not None and len(mean) != bands:
            named = f"{len(mean)} band{'s' if len(mean) > 1 else ''}"
            raise InputError(f"the normalisation is for {named}, the network takes {bands}")
        scale = _OF_BYTES if self.scale is None else self.scale
        return {"scale": scale, "mean": list(mean), "std": list(std)}


def make_package(network: Path, output: Path, own: OwnPackage, settings: Settings, *, overwrite: bool) -> Model:
    """Write a package with a network and the weights beside it, and return it as it was checked.

    On failure nothing is written.

    Args:
        network: the ONNX file.
        output: the new `.dlpk`.
        own: what its maker says of it.
        settings: what the configuration says.
        overwrite: True = a package that is there already is replaced.

    Raises:
        ServiceError: the network cannot be used, or what is said of it does not fit.
    """
    require_writable(output, overwrite)
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".make-") as folder:
            package, archive = Path(folder, "package", output.stem), Path(folder, "made.dlpk")
            package.mkdir(parents=True)
            for path in (network, *weight_files(network)):
                target = package / path.relative_to(network.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            catalog = LocalCatalog.from_settings(
                msgspec.structs.replace(settings, models=(), state=Path(folder, "state"))
            )
            model = _checked(package / network.name, package, own, catalog)
            write_archive(package, archive)
            os.replace(archive, output)
            return model
    except OSError as err:
        raise InputError(f"{output} cannot be written: {err.strerror or err}") from err


def _checked(network: Path, package: Path, own: OwnPackage, catalog: LocalCatalog) -> Model:
    """Write the .emd of a package, and return the model; what the check alone could tell is written down too."""
    emd = package / f"{package.name}.emd"
    document = own.document(network.name, load_network(network, own.chip[::-1])[1].bands)
    write_document(document, emd)
    model = catalog.model_at(package)
    if own.activation is None:
        write_document(document | {"Activation": model.activation}, emd)
        model = catalog.model_at(package)
    return model


def _class(item: ModelClass) -> Mapping[str, Any]:
    color = {} if item.color is None else {"Color": list(item.color)}
    return {"Value": item.value, "Name": item.name, **color}


def _read_statistics(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read `MEAN/STD`, such as `0.5,0.4,0.3/0.2,0.2,0.2`."""
    mean, _, std = text.partition("/")
    try:
        found = tuple(tuple(float(number) for number in part.split(",")) for part in (mean, std))
    except ValueError as err:
        raise InputError(
            f"the normalisation is {text!r}; it is imagenet, 0..1, none, or MEAN/STD as 0.5,0.4,0.3/0.2,0.2,0.2"
        ) from err
    if len(found[0]) != len(found[1]):
        raise InputError(f"the normalisation has {len(found[0])} means and {len(found[1])} deviations")
    return found[0], found[1]
