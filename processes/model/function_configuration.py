"""What a raster function's `getConfiguration` says of chips: the tool obeys it before the .emd, as ArcGIS does."""

from __future__ import annotations

import json

import msgspec

from processes.model.definition import MAX_CHIP_SIDE_PX, ModelDefinition, read_bands, read_range
from processes.model.keys import get, read_flag, read_integer


def with_configuration(definition: ModelDefinition, configuration: str) -> ModelDefinition:
    """Return a definition whose chips are those that a raster function asks for. Cells go to it as they are.

    Args:
        definition: of the package.
        configuration: what it says of chips, as JSON.

    Raises:
        PackageError: the configuration has a wrong value.
    """
    keys = json.loads(configuration)
    return msgspec.structs.replace(
        definition,
        chip_width=get(keys, "tx", read_integer(1, MAX_CHIP_SIDE_PX), definition.chip_width),
        chip_height=get(keys, "ty", read_integer(1, MAX_CHIP_SIDE_PX), definition.chip_height),
        fixed_size=get(keys, "CropSizeFixed", read_flag, definition.fixed_size),
        blacken=get(keys, "BlackenAroundFeature", read_flag, definition.blacken),
        bands=get(keys, "extractBands", read_bands, definition.bands),
        data_range=get(keys, "dataRange", read_range, definition.data_range),
        normalization=None,
        statistics=None,
        resampling=None,
        is_keras_classifier=False,
    )
