"""The check of a package with a raster function: whether it is trusted, and if so, its trial run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from processes.errors import PackageError, ServiceError
from processes.model.check import CheckedPackage, CheckOutcome
from processes.model.function_trial import try_function
from processes.model.package import Package, definition_files
from processes.model.raster_functions import FunctionSettings, RasterFunction, find_function
from processes.model.trusted_copy import trusted_copy


class FunctionPlace(msgspec.Struct, frozen=True):
    """Where a package with a trusted raster function lies."""

    path: Path
    """The `.dlpk` file or the package folder."""
    unpack_folder: Path
    """For the contents of packages."""
    max_bytes: int
    """Limit of the unpacked size."""


def function_of(package: Package, functions: FunctionSettings) -> RasterFunction | None:
    """Return the raster function of a package that was read; None = it has none, or its definition is broken.

    Args:
        package: which was read.
        functions: what the operator decided.
    """
    if package.folder is None or package.definition is None:
        return None
    try:
        definition = definition_files(package.folder)[0].name
        return find_function(package.folder, definition, package.definition.inference_function, functions)
    except (OSError, IndexError):  # it was changed or removed just now
        return None


def with_untrusted(checked: CheckedPackage, function: RasterFunction) -> CheckedPackage:
    """Return a package whose raster function is not trusted: if its network cannot be used, the problem says both."""
    problem = checked.outcome.problem
    if problem is not None and checked.outcome.conclusive:
        problem = f"{problem}; its raster function {function.file!r} is not run: {function.to_run_it()}"
    outcome = msgspec.structs.replace(checked.outcome, problem=problem)
    return msgspec.structs.replace(checked, function=function, outcome=outcome)


def check_function(
    package: Package,
    function: RasterFunction,
    place: FunctionPlace,
    functions: FunctionSettings,
    has_read: Callable[[CheckedPackage], None],
) -> CheckedPackage:
    """Check a package by its raster function, which is trusted; its network is not looked at.

    What fails may be the operator's Python, so no failure is for ever.

    Args:
        package: which was read.
        function: its raster function.
        place: where it lies.
        functions: what the operator decided.
        has_read: is called before the function is tried, with what is known then.
    """
    read = CheckedPackage(CheckOutcome(), str(package.folder), None, function.sha256, function)
    if package.folder is None or package.definition is None or function.sha256 is None:
        return msgspec.structs.replace(read, outcome=CheckOutcome(package.problem, conclusive=False))
    try:
        folder = package.folder
        if folder == place.path:  # else it was unpacked, and is the service's own
            folder = trusted_copy(folder, function.sha256, place.unpack_folder, place.max_bytes)
        read = msgspec.structs.replace(read, folder=str(folder))
        has_read(read)
        found = try_function(function, package.id, folder, package.definition, functions)
        return msgspec.structs.replace(read, function=found)
    except (ServiceError, OSError) as err:
        problem = err.detail if isinstance(err, ServiceError) else f"its files cannot be read: {err.strerror}"
        words = problem if isinstance(err, PackageError) else f"its raster function cannot be run: {problem}"
        return msgspec.structs.replace(read, outcome=CheckOutcome(words, conclusive=False))
