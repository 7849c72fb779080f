"""The trial run of a network on random chips: it finds what the package does not state, and what makes labels wrong."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.check import CheckOutcome, NetworkInput
from processes.model.definition import Activation
from processes.model.outputs import choose_output, require_agreement
from processes.model.runtime.runtime import Chips
from processes.model.scores import are_probabilities, find_activation, probabilities, rows_of
from processes.model.session import Session, unfit_precision

_CHIPS = 16
"""Number of random chips; CONTRACT asks for at least so many."""
_CALL_CELLS = 2**22
"""Limit of a call's cells of one band, so that large chips do not fill the memory."""
_CHIPS_ALONE = 4
"""Number of chips that are also run one by one."""
_ROUNDING = 5e-4
"""Scores of a chip alone and in a batch may differ by this share of their range: runtimes add in another order."""
_ROUNDING_OF_HALVES = 1e-2
"""The same where a network takes or gives float16."""
_NORMALIZED_RANGE = (-2.5, 2.5)
"""Range of normalised values that random chips cover."""
_BYTE_RANGE = (0, 255)


def try_network(session: Session) -> CheckOutcome:
    """Run a network on random chips.

    Raises:
        PackageError: it cannot be run, or its outputs are no scores of the classes.
    """
    definition, network = session.key.definition, session.network
    batches = _random_batches(session)
    score_names = [output.name for output in session.candidates]
    # several labels, or none, are no class of the highest score
    label_names = (
        [] if definition.multi_label else [item.name for item in network.outputs if item.may_be_labels(network.batch)]
    )
    found = [session.run(chips, [*score_names, *label_names]) for chips in batches]
    rows = _fitting(found, score_names, batches, len(definition.classes))
    name = choose_output(rows, network, definition)
    outputs = rows[name]
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.any():
        return CheckOutcome("the network's output is not a finite number for any random chip")
    (source,) = (item.source for item in network.outputs if item.name == name)
    found_activation = find_activation(outputs[is_finite], definition.multi_label, source)
    activation = definition.activation or found_activation
    scores = probabilities(outputs[is_finite], activation, len(definition.classes))
    labels = {label: values[is_finite] for label, values in _labels(found, label_names, batches).items()}
    warnings = require_agreement(labels, scores, name, network, definition)
    warnings += _dropout_warnings(network.active_dropouts)
    warnings += _activation_warnings(definition.activation, found_activation, outputs[is_finite], source)
    if session.normalization is None and not definition.states_cells and not network.prepares_cells:
        warnings.append(
            "the package states no Normalization and the network shows none: it gets the cells as they are; "
            'state Normalization, "none" where that is right'
        )
    unfit = unfit_precision(definition.precision, network)
    if unfit is not None:
        warnings.append(f"Precision is {definition.precision}, but {unfit}: it is computed in its own numbers")
    if len(batches[0]) > 1:
        warnings += _batch_warnings(session, name, batches[0], outputs, activation)
    return CheckOutcome(
        activation=activation,
        bands=network.bands,
        size=network.size,
        input=NetworkInput(network.dtype, network.channels_last, network.batch),
        output_name=name,
        cuts_cells=network.dtype == "uint8" and session.normalization is None and definition.data_range is None,
        warnings=tuple(warnings),
    )


def _fitting(
    found: list[dict[str, NDArray[Any]]], names: list[str], batches: list[Chips], classes: int
) -> dict[str, NDArray[np.float32]]:
    """Return the outputs that have a number for each class, `(n, outputs)`, at least one."""
    fitting, errors = {}, []
    for name in names:
        try:
            parts = [rows_of(item[name], len(chips), classes) for item, chips in zip(found, batches, strict=True)]
        except PackageError as err:
            errors.append(err)
        else:
            fitting[name] = np.concatenate(parts)
    if not fitting:
        raise errors[0]
    return fitting


def _labels(found: list[dict[str, NDArray[Any]]], names: list[str], batches: list[Chips]) -> dict[str, NDArray[Any]]:
    """Return the outputs that have one value per chip, `(n,)`."""
    return {
        name: np.concatenate([item[name].reshape(-1) for item in found])
        for name in names
        if all(item[name].size == len(chips) for item, chips in zip(found, batches, strict=True))
    }


def _activation_warnings(
    stated: Activation | None, found: Activation, outputs: NDArray[np.float32], source: str | None
) -> list[str]:
    """Warn where the activation that a package states does not go with what the network gives.

    Args:
        stated: that of the package; None = it states none.
        found: the one that suits the outputs.
        outputs: for random chips, `(n, outputs)`.
        source: the operator that makes the outputs; None = not known.
    """
    if stated == "none" and not are_probabilities(outputs):
        least, most = outputs.min(), outputs.max()
        return [f"Activation is none, but the network's outputs go from {least:.3g} to {most:.3g}: no probabilities"]
    if (stated == "softmax" and found == "none") or (stated == "sigmoid" and source == "Sigmoid"):
        return [f"Activation is {stated}, but the network's outputs are probabilities already: state none"]
    return []


def _dropout_warnings(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"the network was exported in training mode: its Dropout nodes ({count}) are switched off, as in evaluation"
    ]


def _batch_warnings(
    session: Session, name: str, chips: Chips, together: NDArray[np.float32], activation: Activation
) -> list[str]:
    """Warn where chips get other probabilities alone than in a batch: a label would depend on its neighbours.

    Args:
        session: the opened network.
        name: of the output that holds the scores.
        chips: a batch.
        together: that output for them and more, `(n, outputs)`.
        activation: that of the model.
    """
    classes = len(session.key.definition.classes)
    outputs = [session.run(chips[place : place + 1], [name])[name] for place in range(min(_CHIPS_ALONE, len(chips)))]
    alone = np.concatenate([rows_of(output, 1, classes) for output in outputs])
    beside = together[: len(alone)]
    most = _difference(probabilities(alone, activation, classes), probabilities(beside, activation, classes))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out
        extent = np.ptp(together[np.isfinite(together).all(axis=1)])
        if extent > 0:
            most = max(most, _difference(alone / extent, beside / extent))
    is_half = "float16" in (session.network.dtype, str(outputs[0].dtype))
    if most <= (_ROUNDING_OF_HALVES if is_half else _ROUNDING):
        return []
    return [
        "the network's scores of a chip depend on the other chips of its batch, or on chance: "
        f"by up to {most:.2g} of their range in a trial run, so labels can change with batch_size"
    ]


def _difference(some: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the greatest difference of two arrays that is a finite number."""
    difference = np.abs(some - others)
    return float(np.max(difference, initial=0, where=np.isfinite(difference)))


def _random_batches(session: Session) -> list[Chips]:
    """Return batches of random chips."""
    size = max(1, min(_CHIPS, _CALL_CELLS // prod(session.chip_size)))
    rng = np.random.default_rng(0)
    return [random_chips(session, min(size, _CHIPS - start), rng) for start in range(0, _CHIPS, size)]


def random_chips(session: Session, count: int, rng: np.random.Generator) -> Chips:
    """Return noise in the range that the network expects, with chips of all brightnesses and contrasts.

    Args:
        session: the opened network.
        count: number of chips.
        rng: where the noise comes from.

    Returns:
        `(count, bands, *session.chip_size)`, cells as they are cut, not normalised.
    """
    definition, normalization = session.key.definition, session.normalization
    bands = session.network.bands or len(
        definition.bands or (normalization.scale if normalization is not None else range(3))
    )
    low: Any
    high: Any
    low, high = definition.data_range or _BYTE_RANGE
    if definition.data_range is None and normalization is not None:
        scale, offset = (np.reshape(item, (-1, 1, 1)) for item in (normalization.scale, normalization.offset))
        low, high = ((edge - offset) / scale for edge in _NORMALIZED_RANGE)
    edges = rng.random((2, count, bands, 1, 1))
    noise = rng.random((count, bands, *session.chip_size), np.float32)
    share = edges[0] + (edges[1] - edges[0]) * noise
    most = np.finfo(np.float32).max
    chips = np.clip(low + (high - low) * share, -most, most)
    if definition.data_range is None and normalization is None:
        return np.asarray(np.rint(chips), np.uint8)
    return np.asarray(chips, np.float32)
