"""The files of a variant: its .emd, its network, its model card, and all other files of the package it was made of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.model.card import card_file
from processes.model.catalog import Model
from processes.model.graph.weights import weight_files
from processes.model.package import definition_files
from processes.model.runtime.quantisation import quantise
from processes.model.runtime.runtime import Chips, Precision
from processes.model.session import Session
from processes.model.variant import RECORD
from processes.programs.conversion.new_package import write_document

_CALIBRATION_CHIPS = 256
_CARD = "card.json"


def write_variant(
    model: Model, precision: Precision, session: Session, chips: Chips, folder: Path, scratch: Path, kept: int
) -> int:
    """Write the files of a variant, without its figures; return how many chips ranges were taken from.

    Args:
        model: that the variant is made of.
        precision: of the variant.
        session: of the model.
        chips: of real objects, as the session takes them.
        folder: its name is the id of the variant; files that are there are replaced.
        scratch: folder for what is written meanwhile.
        kept: how many of the first layers are not quantised.

    Raises:
        PackageError: the network cannot have the precision.
        OSError: files cannot be copied.
    """
    (emd,) = definition_files(model.folder)
    target = _network_target(model, folder)
    weights = weight_files(model.network)
    own = {emd, model.network, *weights}
    for path in sorted(model.folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path not in own and path.suffix.lower() != ".pth":
            _copy(path, folder / path.relative_to(model.folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    calibrated = 0
    if precision == "int8":
        taken = chips[:: -(-len(chips) // _CALIBRATION_CHIPS)]
        calibrated = len(taken)
        batches = _as_the_network_takes(taken, session)
        quantise(model.network, target, scratch, session.network.input_name, batches, kept)
    else:
        for path in (model.network, *weights):
            _copy(path, target.parent / path.relative_to(model.network.parent))
    document = _document(emd) | {
        "ModelFile": target.relative_to(folder).as_posix(),
        "Precision": precision,
        "Activation": model.activation,
    }
    if model.output_name is not None and len(session.network.outputs) > 1:
        document["OutputName"] = model.output_name
    write_document(document, _emd_of(folder))
    return calibrated


def write_figures(folder: Path, figures: Mapping[str, Any], sentence: str, item: Mapping[str, Any]) -> None:
    """Write figures into the .emd and the card of a variant.

    Args:
        folder: with the files of the variant.
        figures: how it was made and measured.
        sentence: the same in words.
        item: the variant as a STAC item, for a package without a card.
    """
    emd = _emd_of(folder)
    write_document(_document(emd) | {RECORD: dict(figures)}, emd)
    card = card_file(folder)
    document = json.loads(card.read_bytes().decode("utf-8-sig")) if card is not None else dict(item)
    stated = document.get("properties")
    properties = dict(stated) if isinstance(stated, dict) else {}
    properties.pop("sha256", None)  # a card cannot know it
    before = properties.get("description")
    properties["description"] = f"{before.rstrip()} {sentence}" if isinstance(before, str) and before else sentence
    parameters = properties.get("mlm:hyperparameters")
    properties["mlm:hyperparameters"] = (parameters if isinstance(parameters, dict) else {}) | {"optimisation": figures}
    write_document({**document, "properties": properties}, card or folder / _CARD)


def _network_target(model: Model, folder: Path) -> Path:
    """Return where the network of a variant lies: as in its package; at the root where it was made of another file."""
    if model.network.is_relative_to(model.folder):
        return folder / model.network.relative_to(model.folder)
    return folder / f"{folder.name}.onnx"


def _emd_of(folder: Path) -> Path:
    return folder / f"{folder.name}.emd"


def _document(emd: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(emd.read_bytes().decode("utf-8-sig"))
    return document


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _as_the_network_takes(chips: Chips, session: Session) -> Iterable[NDArray[np.float32]]:
    """Yield chips as the network itself takes them: normalised, in its order of axes and its size of a batch."""
    network, normalization = session.network, session.normalization
    size = network.batch or session.batch_size

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(chips), size):
            part = chips[start : start + size]
            if network.batch is not None and len(part) < size:
                part = np.concatenate([part, *([part[-1:]] * (size - len(part)))])
            values = np.asarray(part, np.float32)
            if normalization is not None:
                scale, offset = (
                    np.reshape(np.asarray(item, np.float32), (-1, 1, 1))
                    for item in (normalization.scale, normalization.offset)
                )
                values = values * scale + offset
            yield values.transpose(0, 2, 3, 1) if network.channels_last else values

    return batches()
