"""The limit: the network alone, by raw onnxruntime, on the same chips, prepared and in memory.

`python bench/raw.py IMAGE OBJECTS PACKAGE` prints objects per second. Opening, cutting and preparing are not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from processes.classify.planning.plan import plan
from processes.classify.planning.sources import Sources
from processes.features.reading.files import read_layer
from processes.imagery.chip_plan import ChipPlan
from processes.imagery.chips import ChipReader
from processes.imagery.image import open_image
from processes.imagery.source import FileSource, gdal_settings
from processes.imagery.tiles import TileReader
from processes.model.arguments import read_arguments
from processes.model.catalog import Catalog, Model
from processes.settings import Limits

BATCH_SIZE = 16


def planned_chips(paths: Sequence[Path], objects: Path, package: Path, state: Path) -> tuple[ChipPlan, Model]:
    """Return the chips of objects on images, and the model.

    Args:
        paths: of the images.
        objects: the layer.
        package: of the model.
        state: folder for what is known of the model.
    """
    model = Catalog((), state, 2**32).model_at(package)
    arguments, _ = read_arguments({}, model.definition, "")
    images = [open_image(FileSource(path, path.name), 2**40) for path in paths]
    layer = read_layer(objects, "objects", None, Limits(max_objects=2**40))
    return plan(Sources(images, [""] * len(images), layer, model, arguments), 2**40).chips, model


def main(image_path: Path, objects: Path, package: Path, state: Path) -> None:
    planned, model = planned_chips([image_path], objects, package, state)
    normalization = model.definition.normalization
    if normalization is None:
        raise SystemExit("the benchmark's packages have a normalisation")
    scale, offset = (np.array(v, np.float32)[:, None, None] for v in (normalization.scale, normalization.offset))
    batches = []
    with gdal_settings(), TileReader(planned.images, planned.selections, planned.rule.shape_of_all) as tiles:
        order = tiles.reading_order(planned.placement.image, planned.placement.windows)
        reader = ChipReader(tiles, planned.placement, planned.rule, None, None)
        for start in range(0, len(order), BATCH_SIZE):
            chips = reader.read(order[start : start + BATCH_SIZE]).chips
            batches.append((chips * scale + offset).astype(np.float32))
    session = onnxruntime.InferenceSession(model.network, providers=["CPUExecutionProvider"])
    session.run(None, {"input": batches[0]})
    start_s = time.perf_counter()
    for batch in batches:
        session.run(None, {"input": batch})
    print(len(order) / (time.perf_counter() - start_s))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
