"""The arguments of a model: which ones it has, and how a request's values are read.

ArcGIS sends arguments as strings, so strings that parse are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from processes.errors import Fault, InputError, pointer_token
from processes.model.definition import MAX_CHIP_SIDE_PX, ModelDefinition, NetworkSize, chip_size

_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_MULTI_LABEL_THRESHOLD = 0.5
_ESRIS_NAMES = {"threshold": "score_threshold"}
"""Other names that Esri's tools have for an argument."""
_WITHOUT_EFFECT = ("padding", "explainability_map")
"""Arguments of Esri's tools that clients send whatever the model is."""


@dataclass(frozen=True, slots=True)
class ModelArguments:
    """The arguments of one run, read."""

    batch_size: int | None
    """Chips per call of the network, 1 or more; None = as many as suit it."""
    score_threshold: float
    """0..1: an object gets no label of lower probability."""
    test_time_augmentation: bool
    """True: the probabilities of a chip are averaged over its turns and mirrors."""
    class_scores: bool
    """True: the result has a field with the probability of each class."""
    resampled_image_size: int | None = None
    """Side, in cells, of the squares that chips become before the network; None = the model has no such argument."""
    warnings: tuple[str, ...] = ()
    """Sentences about arguments that have no effect, for the summary."""


@dataclass(frozen=True, slots=True)
class DeclaredArgument:
    """An argument of a model, in the form of Esri's `getParameterInfo`."""

    name: str
    dataType: Literal["numeric", "boolean"]  # noqa: N815 - Esri's spelling, which clients read
    value: Any
    """The default."""
    required: bool
    displayName: str  # noqa: N815
    description: str


def declared_arguments(definition: ModelDefinition, size: NetworkSize = (None, None)) -> list[DeclaredArgument]:
    """Return the arguments of a model, with their defaults.

    Args:
        definition: of the model.
        size: height and width of the chips that its network takes.
    """
    threshold = _MULTI_LABEL_THRESHOLD if definition.multi_label else 0
    arguments = [
        DeclaredArgument(
            "batch_size",
            "numeric",
            definition.batch_size,
            False,
            "Batch size",
            "Chips per call of the network; absent: what suits it",
        ),
        DeclaredArgument(
            "score_threshold",
            "numeric",
            threshold,
            False,
            "Score threshold",
            "Least probability, 0 to 1, for a label to be given",
        ),
        DeclaredArgument(
            "test_time_augmentation",
            "boolean",
            definition.test_time_augmentation,
            False,
            "Test time augmentation",
            "Average the probabilities of the chip's turns and mirrors: slower, often better",
        ),
        DeclaredArgument(
            "class_scores", "boolean", False, False, "Class scores", "Add a field with the probability of each class"
        ),
    ]
    if definition.is_keras_classifier:
        arguments.append(
            DeclaredArgument(
                "resampled_image_size",
                "numeric",
                chip_size(definition, size)[0],
                False,
                "Resampled image size",
                "Side, in cells, of the squares that chips are resampled to before the network",
            )
        )
    return arguments


def read_arguments(
    raw_values: Mapping[str, Any], definition: ModelDefinition, pointer: str, size: NetworkSize = (None, None)
) -> tuple[ModelArguments, list[Fault]]:
    """Read the arguments of a request.

    Args:
        raw_values: as the request has them, by name.
        definition: of the model; its defaults fill what is absent.
        pointer: of the arguments in the request.
        size: height and width of the chips that the model's network takes.

    Returns:
        The arguments, and a fault for each value that cannot be used; the default is in its place.
    """
    values = {argument.name: argument.value for argument in declared_arguments(definition, size)}
    names, faults, without_effect = list(values), [], []
    for given, value in raw_values.items():
        name = _ESRIS_NAMES.get(given, given)
        try:
            if name != given and name in raw_values:
                raise InputError(f"{given} is another name of {name}: give one of them")
            if name in _WITHOUT_EFFECT:
                _require_no_effect(name, value)
                without_effect.append(name)
            else:
                values[name] = _read(name, value, names, size)
        except InputError as err:
            faults.append(Fault(f"{pointer}/{pointer_token(given)}", err))
    return ModelArguments(**values, warnings=_warnings(without_effect)), faults


def _require_no_effect(name: str, value: Any) -> None:
    """Raise InputError where an argument of Esri's tools asks for what this one does not do."""
    if name == "padding":
        if _number(name, value) < 0:
            raise InputError(f"{name} is {_short(value)}, not a number of 0 or more")
    elif _boolean(name, value):
        raise InputError(f"{name} is {_short(value)}, but no such map is made; leave it out")


def _warnings(without_effect: list[str]) -> tuple[str, ...]:
    match without_effect:
        case []:
            return ()
        case [name]:
            return (f"the model argument {name} has no effect here",)
        case _:
            return (f"the model arguments {' and '.join(without_effect)} have no effect here",)


def _read(name: str, value: Any, names: list[str], size: NetworkSize) -> Any:
    if name not in names:
        raise InputError(f"there is no model argument {_short(name)}; the arguments are {', '.join(names)}")
    match name:
        case "batch_size":
            number = _number(name, value)
            if number != int(number) or number < 1:
                raise InputError(f"{name} is {_short(value)}, not a whole number of 1 or more")
            return int(number)
        case "score_threshold":
            number = _number(name, value)
            if not 0 <= number <= 1:
                raise InputError(f"{name} is {_short(value)}, not a number from 0 to 1")
            return number
        case "resampled_image_size":
            return _side(name, value, size)
        case _:
            return _boolean(name, value)


def _side(name: str, value: Any, size: NetworkSize) -> int:
    number = _number(name, value)
    if number != int(number) or not 1 <= number <= MAX_CHIP_SIDE_PX:
        raise InputError(f"{name} is {_short(value)}, not a whole number from 1 to {MAX_CHIP_SIDE_PX}")
    for taken in size:
        if taken not in (None, int(number)):
            raise InputError(f"{name} is {_short(value)}, the network takes {taken}")
    return int(number)


def _number(name: str, value: Any) -> float:
    try:
        is_plain = value.isascii() and "_" not in value if isinstance(value, str) else not isinstance(value, bool)
        if is_plain and isinstance(value, int | float | str):
            number = float(value)
            if abs(number) < float("inf"):
                return number
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{name} is {_short(value)}, not a number")


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text not in _TRUE + _FALSE:
        raise InputError(f"{name} is {_short(value)}, neither true nor false")
    return text in _TRUE


def _short(value: Any) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
