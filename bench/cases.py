"""Other imagery and objects: the whole command against what decoding each block once and the network alone allow.

The bound of a case is the time that its touched blocks take to be decoded once by all cores, and the time of raw ONNX
Runtime for as many chips, both of the same round. What a run of one object takes, the start of the program, is taken
off the command's time: it is the same in all cases, and `docs/performance.md` has it by itself.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data
import networks
import table

RUNS = 5
OBJECTS, SIDE, NETWORK = 20_000, 64, "small-cnn"
SHARE = 0.9
"""Of the bound that is to be reached."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What differs from polygons spread over one image of JPEG blocks."""

    title: str
    image: Callable[[Path, Path], Path] = lambda image, _: image
    """Returns the image, or the folder of images, from the usual image and a folder for it."""
    clusters: int = 0
    keys: tuple[tuple[str, object], ...] = ()
    """Of the `.emd`, beside the usual ones."""


def _copied(name: str, dtype: str = "uint8", **options: Any) -> Callable[[Path, Path], Path]:
    return lambda image, folder: data.copy_image(image, folder / f"{name}.tif", dtype, **options)


_TILED: Mapping[str, Any] = {"tiled": True, "blockxsize": 512, "blockysize": 512}
_CASES = (
    _Case("JPEG, blocks of 512"),
    _Case("the same, objects in 20 clusters", clusters=20),
    _Case("the same, blackened around polygons", keys=(("BlackenAroundFeature", 1),)),
    _Case("the same, chips of their object's size", keys=(("CropSizeFixed", 0),)),
    _Case("JPEG, blocks of 256", _copied("small-blocks", compress="jpeg", photometric="ycbcr", jpeg_quality=85,
                                         tiled=True, blockxsize=256, blockysize=256)),
    _Case("100 images", lambda image, folder: data.cut_image(image, folder / "hundred", 10)),
    _Case("DEFLATE", _copied("deflate", compress="deflate", predictor=2, **_TILED)),
    _Case("ZSTD", _copied("zstd", compress="zstd", predictor=2, **_TILED)),
    _Case("strips, DEFLATE", _copied("strips", compress="deflate")),
    _Case("uint16, DEFLATE", _copied("uint16", "uint16", compress="deflate", predictor=2, **_TILED)),
)  # fmt: skip


def run(image: Path, folder: Path, side_px: int, run_seconds: Callable[..., tuple[float, int]]) -> int:
    """Measure all cases, write their table, and return the number of marks that were missed.

    Args:
        image: the usual one.
        folder: for what is made.
        side_px: of the image, in cells.
        run_seconds: runs the command on an image, objects and a package.
    """
    load = os.getloadavg()[0]
    plain = networks.save_package(folder / NETWORK, SIDE, NETWORK)
    objects = data.make_objects(folder / f"objects-{OBJECTS}.gpkg", OBJECTS, side_px)
    one = data.make_objects(folder / "objects-1.gpkg", 1, side_px)
    asked = []
    for number, case in enumerate(_CASES):
        layer = objects
        if case.clusters:
            layer = data.make_objects(folder / f"clusters-{OBJECTS}.gpkg", OBJECTS, side_px, case.clusters)
        package = networks.save_package(folder / f"case-{number}", SIDE, NETWORK, **dict(case.keys))
        asked.append((case.image(image, folder), layer, package))
        run_seconds(*asked[-1])  # the package is checked once, and the files are in the system's cache
    runs: list[list[float]] = [[] for _ in _CASES]
    decoding: list[list[float]] = [[] for _ in _CASES]
    shares: list[list[float]] = [[] for _ in _CASES]
    networks_s = []
    for _ in range(RUNS):
        network_s = OBJECTS / float(_printed("raw.py", image, objects, plain, folder / "state"))
        start_s = run_seconds(image, one, plain)[0]
        networks_s.append(network_s)
        for number, (place, layer, package) in enumerate(asked):
            run_s = run_seconds(place, layer, package)[0] - start_s
            decoded_s = float(_printed("decoding.py", place, layer, package, folder / "state"))
            runs[number].append(run_s)
            decoding[number].append(decoded_s)
            shares[number].append((network_s + decoded_s) / run_s)
    rows, missed = [], 0
    for case, run_s, decoded_s, share in zip(_CASES, map(statistics.median, runs), map(statistics.median, decoding),
                                             map(statistics.median, shares), strict=True):  # fmt: skip
        missed += share < SHARE
        rows.append((case.title, f"{run_s:.2f}", f"{decoded_s:.2f}", f"**{share:.2f}**", f"{SHARE}"))
        print(*rows[-1], sep=" | ", flush=True)
    table.write(
        "cases",
        f"{OBJECTS:,} objects, {NETWORK}, {SIDE} px: the network alone takes {statistics.median(networks_s):.2f} s. "
        f"Medians of {RUNS} rounds on {table.machine()}; the load was {load:.1f} at the start.",
        ("", "`run` after its start, s", "decoding alone, s", "share of the bound", "target"),
        rows,
    )
    return missed


def _printed(script: str, *arguments: object) -> str:
    command = [sys.executable, Path(__file__).with_name(script), *arguments]
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
