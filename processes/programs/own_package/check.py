"""Checking a package on real chips: are labels right, and does a chip have the same one alone and in a batch?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes.errors import InputError, PackageError
from processes.imagery.endings import ENDINGS
from processes.imagery.pictures import LabelledChip, sheet_png
from processes.model.catalog import Model
from processes.model.definition import ModelDefinition
from processes.model.local_catalog import LocalCatalog
from processes.model.runtime.runtime import Chips
from processes.model.session import Session, SessionKey
from processes.programs.conversion.object_chips import RecordingSession, cut_chips
from processes.programs.optimisation.figures import LabelFigures, compare_labels, read_truth
from processes.settings import Settings

_ALONE = 64
"""Number of chips that are also run one by one; of more, some are taken, evenly."""
_ROUNDING = 1e-3
"""Most that a probability of a chip may differ alone and in a batch: runtimes add in another order."""
_SHOWN = 48
"""Number of chips in a picture."""
_UNKNOWN = -1


class RealChips(msgspec.Struct, frozen=True):
    """Chips as the network gets them but for the normalisation, with its answers."""

    chips: Chips
    """`(n, bands, height, width)`."""
    scores: NDArray[np.float32]
    """Probabilities, `(n, classes)`."""
    truth: NDArray[np.int64]
    """The place of each chip's class in the model's list, -1 = not known, `(n,)`."""
    is_in_bytes: bool
    """True: the cells are those of 8-bit images, 0..255."""


class PackageReport(msgspec.Struct, frozen=True):
    """What a check found."""

    model: Model
    normalization: str
    """What is done to the cells before the network, as a sentence."""
    chips: int
    """Number of chips that the network got."""
    not_finite: int
    """For how many of them it gave what is no finite number: they have no label."""
    ranges: tuple[tuple[float, float], ...]
    """Least and greatest value of each band as the network gets it; none without chips."""
    alone: LabelFigures | None
    """Labels of chips in a batch, beside those that they have alone; None = there are no chips."""
    confusion: NDArray[np.int64] | None
    """Number of chips by class (row) and label (column), `(classes, classes)`; None = no class is known."""

    @property
    def depends_on_batch(self) -> bool:
        """Return whether a label depends on the other chips of its batch."""
        return self.alone is not None and (self.alone.changed > 0 or self.alone.largest_change > _ROUNDING)

    @property
    def accuracy(self) -> float | None:
        """Return the share of right labels, 0..1; None = no class is known."""
        if self.confusion is None:
            return None
        return float(np.trace(self.confusion) / self.confusion.sum())


class CheckOptions(msgspec.Struct, frozen=True):
    """What a package is checked on."""

    chips: Path | None = None
    """A folder of chips, one folder in it per class; None = there is none."""
    objects: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Inputs `image` and `features` of the process."""
    truth_field: str | None = None
    """The field of the features that names the class of each; None = nobody knows it."""


def check_package(given: str, settings: Settings, options: CheckOptions) -> tuple[PackageReport, bytes | None]:
    """Check a package; return what was found, and a picture of chips as PNG, None without chips.

    Args:
        given: id of an installed model, or a package: a `.dlpk`, a folder or its .emd.
        settings: what the configuration says.
        options: what it is checked on.

    Raises:
        ServiceError: the package cannot be used, or the chips cannot be cut.
    """
    with tempfile.TemporaryDirectory(prefix="classify-") as folder:
        settings = msgspec.structs.replace(settings, state=Path(folder, "state"))
        catalog = LocalCatalog.from_settings(settings)
        model = catalog.model(given)
        if model.own_function is not None:
            raise PackageError(f"the labels of {model.id!r} are its raster function's: there is no network to check")
        session = Session(_key(model))
        report = PackageReport(model, _normalization(model, session), 0, 0, (), None, None)
        parts = _cut(given, model, catalog, settings, options, Path(folder))
        if not parts:
            return report, None
        found = RealChips(
            np.concatenate([part.chips for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.truth for part in parts]),
            all(part.is_in_bytes for part in parts),
        )
        report = msgspec.structs.replace(
            report,
            chips=len(found.chips),
            not_finite=int((~np.isfinite(found.scores).all(axis=1)).sum()),
            ranges=_ranges(found.chips, session),
            alone=_alone(found, session, model.definition),
            confusion=_confusion(found, model.definition),
        )
        return report, _picture(found, model)


def _key(model: Model) -> SessionKey:
    return SessionKey(
        model.network, model.sha256, model.definition, model.activation, "CPU", 1, model.output_name, callers=1
    )


def _cut(
    given: str, model: Model, catalog: LocalCatalog, settings: Settings, options: CheckOptions, folder: Path
) -> list[RealChips]:
    """Return the chips of each folder of a class, and those of the objects."""
    inputs: list[tuple[Mapping[str, Any], int]] = [
        ({"image": [{"href": f"{path.absolute().as_uri()}/"}]}, place)
        for path, place in _class_folders(options.chips, model)
    ]
    if options.objects:
        inputs.append((options.objects, _UNKNOWN))
    parts = []
    for number, (named, place) in enumerate(inputs):
        session = RecordingSession(_key(model))
        cut = cut_chips({**named, "model": given}, catalog, settings, session, folder / f"objects-{number}")
        if not session.has_recorded():
            raise InputError(f"none of the {cut.count} objects has a chip: they touch no image, or nodata alone")
        chips, scores = session.recorded()
        truth = np.full(len(chips), place, np.int64)
        if place == _UNKNOWN and options.truth_field is not None:
            attributes = cut.planned.layer.attributes
            columns = {name: attributes.column(name) for name in attributes.column_names}
            objects = cut.planned.objects[cut.rows]
            truth = read_truth(options.truth_field, columns, objects, model.definition).places
        is_in_bytes = model.definition.data_range is None and all(
            image.dtype == np.uint8 for image in cut.planned.sources.images
        )
        parts.append(RealChips(chips, scores, truth, is_in_bytes))
    return parts


def _class_folders(chips: Path | None, model: Model) -> list[tuple[Path, int]]:
    """Return the folders of chips, each with the place of its class; those without images are left out."""
    if chips is None:
        return []
    places = {item.name.strip(): place for place, item in enumerate(model.definition.classes)}
    places |= {str(item.value): place for place, item in enumerate(model.definition.classes)}
    folders = sorted(path for path in chips.iterdir() if path.is_dir() and not path.name.startswith("."))
    others = [path.name for path in folders if path.name not in places]
    classes = ", ".join(item.name for item in model.definition.classes)
    if others or not folders:
        named = f"the folder {others[0]!r}" if others else "no folder"
        raise InputError(f"{chips} has {named}: it has a folder with images for each class, named as it: {classes}")
    return [
        (path, places[path.name]) for path in folders if any(item.suffix.lower() in ENDINGS for item in path.iterdir())
    ]


def _normalization(model: Model, session: Session) -> str:
    """Return what is done to the cells before the network, and who says so."""
    normalization, definition = session.normalization, model.definition
    if normalization is None:
        if definition.states_cells:
            return "none, as the package states"
        return "none that the package states" + (
            "; the network shifts or scales the cells itself" if session.network.prepares_cells else ""
        )
    told = "; ".join(
        f"cells x {scale:.6g} {offset:+.6g}"
        for scale, offset in dict.fromkeys(zip(normalization.scale, normalization.offset, strict=True))
    )
    return told + (" (ImageNet's, assumed: the package states none)" if normalization.is_assumed else "")


def _ranges(chips: Chips, session: Session) -> tuple[tuple[float, float], ...]:
    """Return least and greatest value of each band, normalised."""
    low, high = (reduce(chips, axis=(0, 2, 3)).astype(np.float64) for reduce in (np.min, np.max))
    if session.normalization is not None:
        scale, offset = map(np.array, (session.normalization.scale, session.normalization.offset))
        low, high = low * scale + offset, high * scale + offset
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _alone(found: RealChips, session: Session, definition: ModelDefinition) -> LabelFigures:
    """Compare the answers to chips in batches with those that they get one by one; no finite number is one of them."""
    taken = np.arange(0, len(found.chips), max(1, -(-len(found.chips) // _ALONE)))
    beside = found.scores[taken]
    alone = np.concatenate([session.scores(found.chips[place : place + 1], 1) for place in taken])
    is_finite, is_finite_alone = (np.isfinite(scores).all(axis=1) for scores in (beside, alone))
    both = is_finite & is_finite_alone
    compared = compare_labels(beside[both], alone[both], definition) if both.any() else LabelFigures(0, 0, 0.0)
    others = int((is_finite != is_finite_alone).sum())
    return LabelFigures(len(taken), compared.changed + others, compared.largest_change)


def _confusion(found: RealChips, definition: ModelDefinition) -> NDArray[np.int64] | None:
    """Count chips by class and label; an object of several labels has no one of them."""
    known = (found.truth >= 0) & np.isfinite(found.scores).all(axis=1)
    if definition.multi_label or not known.any():
        return None
    counts = np.zeros((len(definition.classes),) * 2, np.int64)
    np.add.at(counts, (found.truth[known], found.scores[known].argmax(axis=1)), 1)
    return counts


def _picture(found: RealChips, model: Model) -> bytes:
    """Return a picture of some chips with their labels, evenly from all of them."""
    classes = model.definition.classes
    taken = np.arange(0, len(found.chips), max(1, -(-len(found.chips) // _SHOWN)))
    return sheet_png([_labelled(found, place, classes) for place in taken.tolist()], found.is_in_bytes)


def _labelled(found: RealChips, place: int, classes: Sequence[Any]) -> LabelledChip:
    scores, truth = found.scores[place], int(found.truth[place])
    label = int(np.nan_to_num(scores, nan=-1).argmax())
    return LabelledChip(
        found.chips[place],
        f"{classes[label].name} {scores[label]:.2f}",
        f"is {classes[truth].name}" if truth not in (_UNKNOWN, label) else "",
        classes[label].color,
    )
