"""The rooms of the house: who may import whom, and which library has which home."""

from __future__ import annotations

import ast
from pathlib import Path

from tables import each_row

PACKAGE = Path(__file__).parents[1] / "processes"

LAYERS = (
    {"errors", "__init__"},
    {"settings", "crs", "zips", "schema", "pins", "logs", "results_document", "problem_document"},
    {"hosts", "description"},
    {"links", "process"},
    {"model", "imagery", "features"},
    {"classify"},
    {"planning"},
    {"run", "publish", "label_files"},
    {"local", "classify_description"},
    {"classify_features", "classify_images"},
    {"classify_request"},
    {"classify_objects", "describe_model", "echo"},
    {"registry"},
    {"plugin"},
    {"jobs"},
    {"web", "serve"},
    {"cli"},
)
"""Rooms from the ground up; a room imports from those below it, and from itself."""

HOMES = {
    "pygeoapi": {"plugin", "jobs/manager", "web"},
    "flask": {"web"},
    "werkzeug": {"web"},
    "gunicorn": {"web"},
    "prometheus_client": {"web/metrics"},
    "sqlalchemy": {"jobs/database", "jobs/tables", "jobs/store", "jobs/ledger", "jobs/callbacks"},
    "distributed": {"jobs/engine"},
    "dask": {"jobs/engine"},
    "structlog": {"logs"},
    "onnxruntime": {"model/session"},
    "onnx": {"model/graph"},
    "rasterio": {"imagery/image", "imagery/tiles"},
    "pyogrio": {"features/gdal", "features/write_gdal"},
    "PIL": {"imagery/pixels"},
    "urllib3": {"hosts"},
    "sqlite3": {"features/geopackage", "features/geopackage_summary", "features/qgis_style"},
    "zipfile": {"zips", "features/archive", "model/package"},
    "jsonschema": {"schema"},
    "yaml": {"settings"},
    "click": {"cli"},
    "pyproj": {"crs", "planning", "features", "publish", "classify_request"},
}
"""Libraries, and the rooms or modules that alone import them."""

MODULES = sorted(path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))


def imports(module: Path) -> list[str]:
    """Return the dotted names that a module imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse((PACKAGE / module).with_suffix(".py").read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def layer(room: str) -> int:
    return next(place for place, rooms in enumerate(LAYERS) if room in rooms)


def test_every_room_has_its_place() -> None:
    assert {module.parts[0] for module in MODULES} == set().union(*LAYERS)


@each_row("module", MODULES, ids=str)
def test_imports_run_downwards(module: Path) -> None:
    room = module.parts[0]
    for name in imports(module):
        if not name.startswith("processes."):
            continue
        other = name.split(".")[1]
        other = other if (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").exists() else "__init__"
        assert other == room or layer(other) < layer(room), f"{module} imports {name}"


@each_row("module", MODULES, ids=str)
def test_heavy_libraries_stay_in_their_homes(module: Path) -> None:
    for name in imports(module):
        homes = HOMES.get(name.split(".")[0])
        allowed = homes is None or module.parts[0] in homes or module.as_posix() in homes
        assert allowed, f"{module} imports {name}"


@each_row("module", MODULES, ids=str)
def test_modules_are_short_and_check_nothing_by_assert(module: Path) -> None:
    text = (PACKAGE / module).with_suffix(".py").read_text()
    assert text.count("\n") <= 350, f"{module} has more than one idea"
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
