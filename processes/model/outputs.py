"""Which output of a network holds the scores of the classes, and whether the labels that it gives agree with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.definition import ModelClass, ModelDefinition

if TYPE_CHECKING:
    from processes.model.graph.network import Network, NetworkOutput

_PROBABILITIES = (
    "probabilities",
    "probability",
    "probs",
    "prob",
    "class_probabilities",
    "softmax",
    "output_probability",
)
_LOGITS = ("logits", "logit", "class_logits", "cls_logits")
_SCORES = (
    "scores",
    "score",
    "class_scores",
    "cls_score",
    "predictions",
    "prediction",
    "pred",
    "output",
    "outputs",
    "out",
)
_TIE = 1e-5
"""Two probabilities that differ by less may be in either order, by rounding alone."""
_TIE_OF_HALVES = 1e-2
"""The same where the scores are float16."""
_PLACES = ("ArgMax", "TopK")
"""Operators whose whole numbers are places in a list, from 0."""
_SHOWN_OUTPUTS = 8
_ASK_FOR_NAME = "name the one with the scores in the key OutputName of the .emd"


def candidates(network: Network, definition: ModelDefinition) -> list[NetworkOutput]:
    """Return the outputs that can be the scores, as far as names, types and stated shapes tell: at least one.

    Raises:
        PackageError: there is none, or not the one that `OutputName` names.
    """
    floats = [output for output in network.outputs if output.is_float and not output.is_sorted]
    if definition.output_name is not None:
        named = [output for output in network.outputs if output.name == definition.output_name]
        if not named:
            raise PackageError(f"OutputName is {definition.output_name[:80]!r}; {_listed(network)}")
        if named[0] not in floats:
            raise PackageError(f"OutputName names an output that holds no scores; {_listed(network)}")
        return named
    if not floats:
        raise PackageError(
            f"the network has no output of float32, float16 or float64: no scores; {_listed(network)}"
            + _advice(network, len(definition.classes))
        )
    classes = len(definition.classes)
    found = [output for output in floats if output.may_be_scores(classes, network.batch)]
    if not found and len(floats) > 1:
        raise PackageError(
            f"the network has no output with one number for each of the {classes} classes; {_listed(network)}"
            + _advice(network, classes)
        )
    if not found and network.batch != 1 and floats[0].shape is not None and len(floats[0].shape) == 1:
        raise PackageError("the network's output has no batch axis, its input has one of any size")
    return found or floats


def choose_output(rows: Mapping[str, NDArray[np.float32]], network: Network, definition: ModelDefinition) -> str:
    """Return the name of the output that holds the scores.

    Args:
        rows: of the outputs that fit the classes, `(n, outputs)` in a trial run; at least one.
        network: its outputs are named in errors.
        definition: of the model; its activation tells logits from probabilities where the network gives both.

    Raises:
        PackageError: several fit, and their names do not tell.
    """
    if len(rows) == 1:
        return next(iter(rows))
    takes_logits = definition.activation in ("softmax", "sigmoid")
    sure = (*_LOGITS, *_PROBABILITIES) if takes_logits else (*_PROBABILITIES, *_LOGITS)
    by_name = {name.lower().removesuffix(":0"): name for name in rows}
    for names in (sure, _SCORES):
        named = [by_name[name] for name in names if name in by_name]
        wide = [rows[name] for name in named if rows[name].shape[1] > 1]
        if any(_have_other_winners(wide[0], item) for item in wide[1:]):
            listed = " and ".join(map(repr, named))
            raise PackageError(f"the outputs {listed} name different classes; {_ask_for_name(network)}")
        if named:
            return named[0]
    advice = _advice(network, len(definition.classes)) or f"; {_ASK_FOR_NAME}"
    raise PackageError(f"several outputs can be the scores of these classes; {_listed(network)}{advice}")


def require_agreement(
    labels: Mapping[str, NDArray[Any]],
    scores: NDArray[np.float32],
    output: str,
    network: Network,
    definition: ModelDefinition,
) -> list[str]:
    """Return a warning where labels that the network gives are not the classes of the highest scores.

    Exporters write outputs called probabilities that are none, such as the decision values of a support vector machine,
    where the larger one can be that of the other class. Labels of another head cannot be told from those.

    Args:
        labels: of each output that may hold labels, `(n,)` in a trial run.
        scores: the probabilities that the outputs were taken for, `(n, classes)`.
        output: name of their output.
        network: its outputs are named in errors.
        definition: of the model.

    Raises:
        PackageError: they are not, and either no `OutputName` says which output holds the scores, or the labels are
            named as such.
    """
    warnings = []
    ordered = np.sort(scores, axis=1)
    is_half = any(item.name == output and item.kind == "float16" for item in network.outputs)
    is_clear = ordered[:, -1] - ordered[:, -2] > (_TIE_OF_HALVES if is_half else _TIE)
    winners = scores.argmax(axis=1)[is_clear]
    for item in network.outputs:
        is_place = item.source in _PLACES
        if item.name not in labels or (is_place and definition.output_name is not None):
            continue
        of_chips = labels[item.name][is_clear].tolist()
        if not is_place and not _is_named_as_labels(item) and (item.kind == "bool" or len(set(of_chips)) < 2):
            continue  # a flag, or a constant such as a version
        differing = _count_differing(of_chips, winners.tolist(), definition.classes, is_place)
        if not differing:
            continue
        message = (
            f"the network's output {item.name!r} names another class than the highest score of {output!r} "
            f"for {differing} of {len(winners)} random chips: these are no scores of the classes, or Classes has "
            "another order"
        )
        if definition.output_name is None:
            raise PackageError(f"{message}; {_ask_for_name(network)}, or leave the labels out of the network")
        if _is_named_as_labels(item):
            raise PackageError(
                f"{message}; {_listed(network)}; leave the labels out of the network where they are of something else"
            )
        warnings.append(f"{message}, unless they are labels of something else")
    return warnings


def _is_named_as_labels(output: NetworkOutput) -> bool:
    return any(word in output.name.lower() for word in ("label", "class", "pred"))


def _have_other_winners(rows: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    """Return whether the highest score of `rows` is not that of `others` for a chip; ties are none."""
    with np.errstate(over="ignore", invalid="ignore"):
        behind = rows.max(axis=1) - rows[np.arange(len(rows)), others.argmax(axis=1)]
        return bool((behind > _TIE * np.ptp(rows)).any())


def _count_differing(labels: list[Any], winners: list[int], classes: Sequence[ModelClass], is_place: bool) -> int:
    """Return for how many chips a label is not that of the winning class, in the reading that fits best."""
    texts = [str(int(label)) if isinstance(label, bool | int) else str(label).strip() for label in labels]
    readings = [reading for reading in _readings(classes, is_place) if set(texts) <= reading.keys()]
    if not readings:
        return _count_disordered(labels, winners)
    return min(
        sum(reading[text] != winner for text, winner in zip(texts, winners, strict=True)) for reading in readings
    )


def _readings(classes: Sequence[ModelClass], is_place: bool) -> list[dict[str, int]]:
    """Return what labels may be: places in the list of classes, their values, or their names."""
    places = {str(place): place for place in range(len(classes))}
    values = {str(item.value): place for place, item in enumerate(classes)}
    names = {item.name.strip(): place for place, item in enumerate(classes)}
    if is_place:
        return [places]
    if values.keys() == places.keys():  # the values in another order: then they are meant
        return [names, values]
    return [names, values, places]


def _count_disordered(labels: list[Any], winners: list[int]) -> int:
    """Return for how many chips, one at least, labels of unknown meaning do not follow the order of the classes.

    Exporters sort labels, as the outputs are. What is always the same, or has more values than there are winning
    classes, is no label.
    """
    pairs = sorted(set(zip(labels, winners, strict=True)))
    distinct, seen = sorted(set(labels)), sorted(set(winners))
    if not 1 < len(distinct) <= len(seen) or pairs == list(zip(distinct, seen, strict=False)):
        return 0
    same = sum(
        max(Counter(w for text, w in zip(labels, winners, strict=True) if text == label).values()) for label in distinct
    )
    return max(1, len(labels) - same)


def _listed(network: Network) -> str:
    shown = [str(output) for output in network.outputs[:_SHOWN_OUTPUTS]]
    more = len(network.outputs) - len(shown)
    return f"the outputs are {', '.join(shown)}" + (f" and {more} more" if more else "")


def _ask_for_name(network: Network) -> str:
    return f"{_listed(network)}; {_ASK_FOR_NAME}"


def _advice(network: Network, classes: int) -> str:
    """Return how to export a network whose scores stand in dictionaries, or in one output per class."""
    columns = sum(
        output.is_float and output.shape is not None and output.shape[1:] == (1,) for output in network.outputs
    )
    if columns == classes or any(output.kind == "list of dictionaries" for output in network.outputs):
        return "; export the scores of all classes as one array (skl2onnx: the option zipmap=False)"
    return ""
