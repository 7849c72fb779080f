"""Layers alone: a million polygons read, and read and written, in each format; GeoJSON beside GDAL's own writer.

`python bench/formats.py [CHECKOUT]` writes a table of `docs/performance.md`. With the checkout of 0.3.0 it does the
same with that in turns, in the same environment. The network costs next to nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj

import data
import networks
import table
from processes.features.writing.geojson import GEOJSON
from processes.features.writing.result import ResultLayer, RowBatch
from run import FOLDER, SIDE_PX

RUNS = 5
OBJECTS = 1_000_000
FORMATS = {
    ".fgb": ("FlatGeobuf", 0.5),
    ".parquet": ("GeoParquet", 0.5),
    ".geojson": ("GeoJSON", 0.6),
    ".gpkg": ("GeoPackage", 0.6),
}
"""Name by ending, and the share of the other version's time that is to be reached."""
TIMES_GDAL = 3.0
"""So many times as fast as GDAL this project is to write GeoJSON."""
ROWS = 10_000
"""That are written together."""
ROOT = Path(__file__).parents[1]
READ = """
import sys, time
from pathlib import Path
try:
    from processes.features.reading.files import read_layer
    from processes.settings import Limits
    most = Limits(max_objects=2**40)
except ImportError:  # 0.3.0
    from processes.features.read import read_layer
    most = 2**40
path = Path(sys.argv[1])
start_s = time.perf_counter()
read_layer(path, path.name, None, most)
Path(sys.argv[2]).write_text(str(time.perf_counter() - start_s))
"""
"""Reads a layer, in this version and in 0.3.0. Only what a reader itself imports is counted."""


def main(other: Path | None) -> int:
    """Return the number of marks that were missed."""
    FOLDER.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    image = data.make_image(FOLDER / "image.tif", SIDE_PX)
    package = networks.save_package(FOLDER / "tiny", 16, "tiny")
    made = data.make_objects(FOLDER / f"objects-{OBJECTS}.gpkg", OBJECTS, SIDE_PX)
    rows, missed = [], 0
    for ending, (name, mark) in FORMATS.items():
        layer = in_format(made, ending)
        for title, measure in (("read", read), ("read and written", run)):
            ours, theirs = [], []
            for _ in range(RUNS):
                ours.append(measure(ROOT, layer, image, package))
                if other is not None:
                    theirs.append(measure(other, layer, image, package))
            ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True)) if theirs else None
            missed += ratio is not None and ratio > mark
            row = (
                f"{name}, {title}",
                shown(ours),
                shown(theirs) if theirs else "",
                "" if ratio is None else f"**{ratio:.2f}**",
                f"{mark:g}" if theirs else "",
            )
            print(*row, flush=True)
            rows.append(row)
    times = beside_gdal(made)
    missed += times < TIMES_GDAL
    rows.append(("GeoJSON written, beside GDAL's writer", "", "", f"**{times:.1f}** times as fast", f"{TIMES_GDAL:g}"))
    print(*rows[-1], flush=True)
    table.write(
        "layers",
        f"Medians of {RUNS} runs each, in turns, {OBJECTS:,} polygons, on {table.machine()}; the load was {load:.1f} "
        f"at the start and {os.getloadavg()[0]:.1f} at the end.",
        ("", "`run`", "0.3.0" if other else "", "share of the time", "target"),
        rows,
    )
    return missed


def shown(found: Sequence[tuple[float, int]]) -> str:
    """Return the median of seconds, and of the peak memory."""
    seconds, peak_bytes = (statistics.median(column) for column in zip(*found, strict=True))
    return f"{seconds:.2f} s, {peak_bytes / 2**20:,.0f} MiB"


def in_format(layer: Path, ending: str) -> Path:
    """Return a layer in a format, written by GDAL or, as GeoParquet, by pyarrow where it is not there yet."""
    path = layer.with_suffix(ending)
    if path.exists():
        return path
    meta, found = pyogrio.read_arrow(layer)
    if ending == ".parquet":
        column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": pyproj.CRS(meta["crs"]).to_json_dict()}
        geo = {"version": "1.1.0", "primary_column": "geom", "columns": {"geom": column}}
        pq.write_table(found.replace_schema_metadata({"geo": json.dumps(geo)}), path)
        return path
    kind = {"geometry_name": meta["geometry_name"], "geometry_type": "Polygon", "crs": meta["crs"]}
    pyogrio.write_arrow(found, path, driver="FlatGeobuf" if ending == ".fgb" else "GeoJSON", **kind)
    return path


def read(root: Path, layer: Path, _image: Path, _package: Path) -> tuple[float, int]:
    """Return the seconds of reading a layer by a checkout, and the peak memory of its process in bytes."""
    script = FOLDER / "read-layer"  # no module for who checks all that end in .py
    script.write_text(READ)
    found = FOLDER / "read-seconds.txt"
    _, peak_bytes = measured(root, [script, layer, found])
    return float(found.read_text()), peak_bytes


def run(root: Path, layer: Path, image: Path, package: Path) -> tuple[float, int]:
    """Return the seconds and the peak memory in bytes of one run of a checkout's command, from format to format."""
    output = FOLDER / f"result{layer.suffix}"
    options = {"--image": image, "--features": layer, "--model": package, "--output": output, "--processor": "CPU"}
    arguments = [str(part) for option in options.items() for part in option]
    return measured(root, ["-m", module_of(root), "run", "--quiet", "--overwrite", *arguments])


def module_of(root: Path) -> str:
    """Return the module of a checkout's command line, of this version or 0.3.0."""
    return "processes.programs.cli" if (root / "processes" / "programs").is_dir() else "processes.cli"


def measured(root: Path, arguments: Sequence[str | Path]) -> tuple[float, int]:
    """Return the seconds and the peak memory in bytes of a process of Python with a checkout's sources."""
    line = [sys.executable, Path(__file__).with_name("measure.py"), sys.executable, *arguments]
    variables = {**os.environ, "PYTHONPATH": str(root)}
    command = [str(part) for part in line]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root, env=variables)
    seconds, peak_bytes = done.stdout.split()
    return float(seconds), int(peak_bytes)


def beside_gdal(layer: Path) -> float:
    """Return how many times as fast as GDAL's writer this project writes a layer as GeoJSON."""
    meta, found = pyogrio.read_arrow(layer)
    names = {"geometry_name": "geom", "geometry_type": "Polygon", "crs": meta["crs"]}
    plain = found.drop_columns(["geom"])
    geometry = found["geom"]

    def rows() -> Iterator[RowBatch]:
        for start in range(0, len(found), ROWS):
            (attributes,) = plain.slice(start, ROWS).combine_chunks().to_batches()
            positions = np.arange(start + 1, start + 1 + len(attributes))
            wkb = geometry.slice(start, ROWS).combine_chunks()
            yield RowBatch(pa.array(positions), positions, wkb, attributes)

    crs = pyproj.CRS(meta["crs"])
    iso_types = frozenset({3})
    result = ResultLayer(
        "layer", crs, "Polygon", iso_types, "id", pa.int64(), True, plain.schema, rows, lambda _: {}, None, frozenset()
    )
    ours, gdal = FOLDER / "ours.geojson", FOLDER / "gdal.geojson"
    times = []
    for _ in range(RUNS):
        for path in (ours, gdal):
            path.unlink(missing_ok=True)
        start_s = time.perf_counter()
        GEOJSON.write(result, crs, ours)
        ours_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        pyogrio.write_arrow(found, gdal, driver="GeoJSON", RFC7946="YES", **names)
        times.append((time.perf_counter() - start_s) / ours_s)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None))
