"""The trial run of a raster function: what it declares, and whether it gives a row for each chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from processes.model.definition import MAX_BATCH_SIZE, ModelDefinition
from processes.model.function_arguments import declared_by, scalars
from processes.model.function_configuration import with_configuration
from processes.model.function_fields import added_by
from processes.model.function_session import Chips, FunctionKey, FunctionSession, Masks
from processes.model.raster_functions import FunctionSettings, RasterFunction, configuration_of_chips

_CHIPS = (4, 1)
"""Numbers of random chips of the calls: a batch, and one that is not full."""


def try_function(
    function: RasterFunction, model: str, folder: Path, definition: ModelDefinition, settings: FunctionSettings
) -> RasterFunction:
    """Run a raster function on random chips, with the defaults of its arguments; return what it declares.

    One that needs an argument without a default is not run on chips: only a request has its value.

    Args:
        function: the function, which is trusted.
        model: id of the model, for the log.
        folder: where the package's contents lie.
        definition: of the package.
        settings: what the operator decided.

    Raises:
        PackageError: there is no Python for it, or it fails, or returns something else than a row for each chip.
        LimitError: it needs too much memory.
    """
    key = FunctionKey(
        model=model,
        folder=folder,
        sha256=function.sha256 or "",
        file=function.file,
        definition_file=function.definition,
        definition=definition,
        scalars=(),
        fields=(),
        batch_size=None,
        processor="CPU",
        surroundings=settings.surroundings(),
        timeout_s=settings.timeout_s,
    )
    session = FunctionSession(key)
    try:
        arguments = declared_by(session.start())
        function = msgspec.structs.replace(function, arguments=arguments)
        if any(item.required for item in arguments):
            return msgspec.structs.replace(function, fields=added_by(session.fields()))
        values = scalars(arguments, {})
        configuration, fields = session.configure(values)
        function = msgspec.structs.replace(
            function,
            fields=added_by(fields),
            configuration=configuration_of_chips(configuration),
            batch_size=_batch_size(configuration.get("batch_size")),
        )
        asked_for = with_configuration(definition, function.configuration)
        session.settle(msgspec.structs.replace(key, definition=asked_for, scalars=values, fields=function.fields))
        for count in _CHIPS:
            session.classify(*_random_chips(definition, asked_for, count))
        return function
    finally:
        session.stop()


def _batch_size(value: Any) -> int | None:
    """Return the chips of a call that a configuration states; what is none, or too many, states none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 1 <= number <= MAX_BATCH_SIZE else None


def _random_chips(stated: ModelDefinition, asked_for: ModelDefinition, count: int) -> tuple[Chips, Masks]:
    """Return chips of noise, and that all their cells are valid.

    Args:
        stated: the definition of the package.
        asked_for: the same, as the function asks for chips.
        count: number of chips.
    """
    statistics = stated.normalization
    bands = len(asked_for.bands or (statistics.scale if statistics is not None else "RGB"))
    size = (asked_for.chip_height, asked_for.chip_width)
    chips = np.random.default_rng(0).integers(0, 256, (count, bands, *size), np.uint8)
    return chips, np.ones((count, *size), bool)
