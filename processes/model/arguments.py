"""The arguments of a model: which ones it has, and how a request's values are read.

ArcGIS sends arguments as strings, so strings that parse are accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from processes.errors import Fault, InputError, pointer_token
from processes.model.declared_argument import DeclaredArgument
from processes.model.definition import MAX_CHIP_SIDE_PX, ModelDefinition, NetworkSize, chip_size
from processes.model.function_arguments import FALSE, TRUE, as_text, read_text_value, scalars
from processes.model.raster_functions import RasterFunction

_MULTI_LABEL_THRESHOLD = 0.5
_ESRIS_NAMES = {"threshold": "score_threshold"}
"""Other names that Esri's tools have for an argument."""
_WITHOUT_EFFECT = ("padding", "explainability_map")
"""Arguments of Esri's tools that clients send whatever the model is."""


class ModelArguments(msgspec.Struct, frozen=True):
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
    function_values: tuple[tuple[str, str], ...] = ()
    """The value of each argument of the raster function that labels are of, as text; empty = they are the network's."""


def declared_arguments(
    definition: ModelDefinition, size: NetworkSize = (None, None), function: RasterFunction | None = None
) -> list[DeclaredArgument]:
    """Return the arguments of a model, with their defaults: those that every model has, then those of its function.

    Args:
        definition: of the model.
        size: height and width of the chips that its network takes.
        function: the raster function that labels are of; None = they are the network's.
    """
    if function is None:
        return _own_arguments(definition, size)
    own = [_with_default_of(function, item) for item in _own_arguments(definition, size)]
    taken = {*_ESRIS_NAMES, *(item.name for item in own)}
    return own + [item for item in function.arguments if item.name not in taken]


def _with_default_of(function: RasterFunction, argument: DeclaredArgument) -> DeclaredArgument:
    """Return an argument with the default that a raster function has for it, as far as it can be read."""
    names = _names_of(argument.name)
    stated = next((item.value for item in function.arguments if item.name in names), None)
    default = False if argument.name == "test_time_augmentation" else argument.value
    if argument.name == "batch_size" and function.batch_size is not None:
        stated = function.batch_size
    try:
        value = default if stated in (None, "") else _read(argument.name, stated, [argument.name], (None, None))
    except InputError:
        value = default
    return msgspec.structs.replace(argument, value=value)


def _own_arguments(definition: ModelDefinition, size: NetworkSize) -> list[DeclaredArgument]:
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
    raw_values: Mapping[str, Any],
    definition: ModelDefinition,
    pointer: str,
    size: NetworkSize = (None, None),
    function: RasterFunction | None = None,
) -> tuple[ModelArguments, list[Fault]]:
    """Read the arguments of a request.

    Args:
        raw_values: as the request has them, by name.
        definition: of the model; its defaults fill what is absent.
        pointer: of the arguments in the request.
        size: height and width of the chips that the model's network takes.
        function: the raster function that labels are of; None = they are the network's.

    Returns:
        The arguments, and a fault for each value that cannot be used; the default is in its place.
    """
    declared = declared_arguments(definition, size, function)
    names = [argument.name for argument in declared]
    own = {argument.name for argument in _own_arguments(definition, size)}
    values = {argument.name: argument.value for argument in declared if argument.name in own}
    of_function = {argument.name: argument for argument in declared if argument.name not in own}
    texts: dict[str, str] = {}
    faults, without_effect = _missing(of_function.values(), raw_values, pointer), list[str]()
    for given, value in raw_values.items():
        name = _ESRIS_NAMES.get(given, given)
        try:
            if name != given and name in raw_values:
                raise InputError(f"{given} is another name of {name}: give one of them")
            if name in of_function:
                texts[name] = read_text_value(of_function[name], value)
            elif name in _WITHOUT_EFFECT:
                _require_no_effect(name, value)
                without_effect.append(name)
            else:
                values[name] = _read(name, value, names, size)
                if function is not None:
                    _require_of_function(name, values[name], definition, function)
                    texts |= dict.fromkeys(_names_of(name), as_text(values[name]))
        except InputError as err:
            faults.append(Fault(f"{pointer}/{pointer_token(given)}", err))
    function_values = () if function is None else scalars(function.arguments, texts)
    return ModelArguments(**values, warnings=_warnings(without_effect), function_values=function_values), faults


def _names_of(name: str) -> list[str]:
    """Return all names of an argument, those that Esri's tools have for it too."""
    return [name, *(given for given, own in _ESRIS_NAMES.items() if own == name)]


def _missing(declared: Iterable[DeclaredArgument], given: Mapping[str, Any], pointer: str) -> list[Fault]:
    """Return a fault for each argument that a raster function needs, and that is not given."""
    return [
        Fault(f"{pointer}/{pointer_token(item.name)}", InputError(f"the model argument {item.name} is required"))
        for item in declared
        if item.required and item.name not in given
    ]


def _require_of_function(name: str, value: Any, definition: ModelDefinition, function: RasterFunction) -> None:
    """Raise InputError where an argument asks a raster function for what it does not give."""
    if name == "test_time_augmentation" and value and function.argument(name) is None:
        raise InputError(f"{name} is true, but the raster function of this model has none; leave it out")
    if name == "class_scores" and value and not definition.multi_label:
        raise InputError(f"{name} is true, but the raster function of this model gives one confidence; leave it out")


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
    if text not in TRUE + FALSE:
        raise InputError(f"{name} is {_short(value)}, neither true nor false")
    return text in TRUE


def _short(value: Any) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
