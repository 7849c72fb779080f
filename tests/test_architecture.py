"""The rooms of the house: who may import whom, which library has which home, and what things are called."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "processes"

LAYERS = (
    {"__init__", "allowed_hosts", "errors", "settings"},
    {"sources", "crs", "confinement"},
    {"ogc", "imagery", "features", "model", "convert", "access"},
    {"classify", "describe_model", "echo"},
    {"registry", "plugin"},
    {"jobs"},
    {"web"},
    {"programs"},
)
"""Rooms from the ground up. A room imports from lower layers and from itself; the modules of the root that share a
layer form one room."""

HOMES: Mapping[str, set[str]] = {
    "pygeoapi": {"plugin", "jobs/manager", "web"},
    "flask": {"web", "plugin"},
    "werkzeug": {"web"},
    "gunicorn": {"web"},
    "prometheus_client": {"web/metrics"},
    "sqlalchemy": {
        "jobs/database",
        "jobs/migrations",
        "jobs/result_names",
        "jobs/retention",
        "jobs/class_counts",
        "jobs/sections_again",
        "jobs/shares",
        "jobs/upload_quota",
        "jobs/tables",
        "jobs/store",
        "jobs/claiming",
        "jobs/client_limits",
        "jobs/counters",
        "jobs/gpu_reports",
        "jobs/runner_store",
        "jobs/callbacks",
        "jobs/session_store",
        "jobs/token_store",
    },
    "distributed": {"jobs/cluster_slots", "jobs/dask_parts"},
    "dask": {"jobs/dask_parts"},
    "structlog": {"programs/logs"},
    "onnxruntime": {"model/runtime/onnx_runtime", "model/runtime/quantisation"},
    "openvino": {"model/runtime/openvino_runtime"},
    "onnx": {"model/graph"},
    "rasterio": {"imagery/image", "imagery/services", "imagery/source", "imagery/stack", "imagery/tiles"}
    | {"imagery/cell_reader", "imagery/map_cells", "imagery/map_tiles", "imagery/remote_source"}
    | {"imagery/tile_fetching", "imagery/window_cells"},
    "pyogrio": {"features/reading/curves", "features/reading/gdal", "features/writing/gdal"},
    "obstore": {"sources/buckets"},
    "PIL": {"imagery/pillow_resampling", "imagery/pictures"},
    "owslib": {"features/reading/wfs", "imagery/services/wms", "imagery/services/wmts"},
    "lxml": {"features/reading/wfs", "imagery/services/wms", "imagery/services/wmts"},
    "urllib3": {"sources/connections", "sources/host_ranges", "sources/host_requests", "sources/hosts"},
    "sqlite3": {
        "jobs/database",  # its error codes
        "features/reading/geopackage",
        "features/reading/geopackage_schema",
        "features/reading/geopackage_table",
        "features/writing/geopackage",
        "features/writing/qgis_style",
    },
    "zipfile": {"sources/zips", "features/reading/shapefile_zip", "model/package", "model/pytorch/weights_file"}
    | {"convert/keras_files", "convert/kinds", "programs/conversion/new_package"},
    "joserfc": {"access/identity_tokens", "access/issuer"},
    "jsonschema": {"ogc/schema_faults"},
    "yaml": {"settings"},
    "click": {"programs"},
    "pyproj": {"crs", "imagery", "features", "classify"},
    "pystac": {"model/mlm"},
    "stac_model": {"model/mlm"},
    "h5py": {"convert/keras_files"},
    "keras": {"convert/keras_network"},
    "safetensors": {"convert/torch_weights"},
    "timm": {"convert/timm_models"},
    "torch": {
        "convert/arcgis_learn",
        "convert/keras_network",
        "convert/timm_models",
        "convert/torch_network",
        "convert/torch_script",
        "convert/torch_weights",
    },
    "torchvision": {"convert/arcgis_learn"},
}
"""Libraries, and the rooms or modules that alone import them."""

MODULES = sorted(path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).with_suffix(".py").read_text())


def imports(module: Path) -> list[str]:
    """Return the dotted names that a module imports, anywhere in it."""
    names = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def own_imports(module: Path) -> Iterator[Path]:
    """Yield the modules of this package that a module imports."""
    for name in imports(module):
        parts = name.split(".")[1:]
        if name.startswith("processes.") and parts:
            found = [Path(*parts[:end]) for end in range(len(parts), 0, -1)]
            yield next((path for path in found if path in MODULES), Path("__init__"))


def layer(module: Path) -> int:
    return next(index for index, rooms in enumerate(LAYERS) if module.parts[0] in rooms)


def test_every_room_has_its_layer_and_there_are_at_most_eight() -> None:
    assert {module.parts[0] for module in MODULES} == set().union(*LAYERS)
    assert len(LAYERS) <= 8


def test_the_root_holds_ground_and_entries_alone() -> None:
    assert len([module for module in MODULES if len(module.parts) == 1]) <= 8


def test_imports_run_downwards() -> None:
    upwards = [
        f"{module} imports {other}"
        for module in MODULES
        for other in own_imports(module)
        if other.parts[0] != module.parts[0] and layer(other) >= layer(module) and not is_one_room(module, other)
    ]
    assert not upwards


def is_one_room(module: Path, other: Path) -> bool:
    """Say whether two modules of the root share a layer."""
    return len(module.parts) == len(other.parts) == 1 and layer(module) == layer(other)


def test_neither_rooms_nor_modules_import_in_a_circle() -> None:
    rooms, modules = defaultdict[Path, set[Path]](set), defaultdict[Path, set[Path]](set)
    for module in MODULES:
        for other in own_imports(module):
            modules[module].add(other)
            if module.parent != other.parent and len(module.parts) > 1:
                rooms[module.parent].add(other.parent if len(other.parts) > 1 else other)
    for graph in (rooms, modules):
        assert tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def test_heavy_libraries_stay_in_their_homes() -> None:
    strays = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports(module)
        if (homes := HOMES.get(name.split(".")[0])) is not None
        and not any(module.is_relative_to(home) for home in homes)
    ]
    assert not strays


def test_the_converters_stand_alone() -> None:
    of_converters = [module for module in MODULES if module.parts[0] == "convert"]
    shared = {Path("convert", name) for name in ("kinds", "messages")}  # which need no framework
    needed = {f"{module} imports {name}" for module in of_converters for name in own_imports(module)}
    assert all(name.split(" imports ")[1].startswith(("convert/", "errors")) for name in needed), needed
    users = {
        (module, other)
        for module in MODULES
        for other in own_imports(module)
        if other.parts[0] == "convert" and module.parts[0] != "convert"
    }
    assert {module.parts[:2] for module, _ in users} == {("programs", "conversion")}
    assert {other for _, other in users} <= shared
    libraries = {"numpy", "h5py", "keras", "safetensors", "timm", "torch", "torchvision", "processes"}
    for module in of_converters:
        named = {name.split(".")[0] for name in imports(module)}
        assert named - libraries <= sys.stdlib_module_names, module
    for module in shared:
        assert {name.split(".")[0] for name in imports(module)} - {"processes"} <= sys.stdlib_module_names


def test_modules_are_short_and_check_nothing_by_assert() -> None:
    for module in MODULES:
        text = (PACKAGE / module).with_suffix(".py").read_text()
        assert text.count("\n") <= 350, f"{module} has more than one idea"
        assert not [node for node in ast.walk(tree(module)) if isinstance(node, ast.Assert)], module


def classes() -> list[str]:
    return [node.name for module in MODULES for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef)]


def test_a_class_name_stands_once() -> None:
    assert not [name for name, count in Counter(classes()).items() if count > 1]


def test_the_glossary_has_every_public_class() -> None:
    glossary = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "glossary.md").read_text()))
    assert not {name for name in classes() if not name.startswith("_")} - glossary


def test_statuses_of_errors_are_decided_in_one_module() -> None:
    answering = [module for module in MODULES if module.parts[0] in ("web", "plugin") or module == Path("jobs/manager")]
    elsewhere = [
        f"{module}:{node.lineno}: {node.value}"
        for module in answering
        if module.parts[:2] != ("web", "openapi")  # which describes them
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant) and type(node.value) is int and 400 <= node.value < 600
    ]
    assert not elsewhere


def test_public_functions_of_three_parameters_explain_them() -> None:
    silent = [
        f"{module}:{node.lineno}: {node.name}"
        for module in MODULES
        for node in public_functions(tree(module))
        if len([item for item in all_arguments(node) if item not in ("self", "cls")]) >= 3
        and not (module.parts[0] == "programs" and module.name.startswith("cli"))  # options explain themselves
        and not explains(ast.get_docstring(node))
    ]
    assert not silent


def explains(docstring: str | None) -> bool:
    """Return whether a docstring explains arguments, or names the function that does; None = a method's interface has."""
    return docstring is None or "Args:" in docstring or "rguments" in docstring


def all_arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = node.args
    return [item.arg for item in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def public_functions(body: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield functions and methods with public names, of public classes."""
    for node in body.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node)


def test_the_service_gets_none_of_the_converters_libraries() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS ([\w-]+))?\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    users = [name for base, name, commands in stages if "converters" in base + commands]
    assert users == ["convert"]
    assert stages[-1][0] == "cpu"  # what is built where no target is named
    for lock in ("requirements.lock", "requirements-cpu.lock", "requirements-gpu.lock", "requirements-dev.lock"):
        names = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        assert not names & {"h5py", "keras", "safetensors", "timm", "torch", "torchvision"}


def test_the_wheel_has_every_room() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {".".join(path.relative_to(ROOT).parent.parts) for path in ROOT.glob("processes/**/__init__.py")}
    assert rooms == set(named) - {"processes.shipped"}
