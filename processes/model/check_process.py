"""The check of a package in a process of its own, started by `processes.model.check`.

`python -m processes.model.check_process OWNER LOG FILE_OR_FOLDER UNPACK_FOLDER MAX_BYTES FUNCTIONS` prints a line of
JSON when the package is read, and one with the outcome at its end. It ends with the process OWNER. What a raster
function prints goes to the open file LOG, for the owner's log.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from processes.confinement.confinement import Confinement, memory_bytes
from processes.errors import ForeignNetworkError, PackageError
from processes.model.card import contradictions, read_card
from processes.model.check import CheckedPackage, CheckOutcome
from processes.model.digests import file_digests, joined_digest
from processes.model.function_check import FunctionPlace, check_function, function_of, with_untrusted
from processes.model.graph.weights import weight_files
from processes.model.package import Package, read_package, with_advice
from processes.model.pytorch.conversion import convert
from processes.model.raster_functions import FunctionSettings
from processes.model.runtime.runtimes import available_threads
from processes.model.session import Session, SessionKey
from processes.model.trial import try_network

_PR_SET_PDEATHSIG = 1
_MAX_OUTPUT_BYTES = 2**20


def check(
    path: Path,
    unpack_folder: Path,
    max_bytes: int,
    functions: FunctionSettings | None = None,
    has_read: Callable[[CheckedPackage], None] = lambda _: None,
) -> CheckedPackage:
    """Read a package, open its network and run it on random chips, in this process. One of PyTorch is made ONNX before.

    Where its raster function is trusted, that is run instead, in a process of its own.

    Args:
        path: the `.dlpk` file or the package folder.
        unpack_folder: folder for the contents of `.dlpk` files.
        max_bytes: limit of the unpacked size.
        functions: what the operator decided about raster functions; None = none is trusted.
        has_read: is called before the network or the function is tried, with what is known then.
    """
    package, decided = read_package(path, unpack_folder, max_bytes), functions or FunctionSettings()
    function = function_of(package, decided)
    if function is not None and function.is_trusted:
        place = FunctionPlace(path, unpack_folder, max_bytes)
        return _with_card(check_function(package, function, place, decided, has_read), package)
    checked = _with_card(_check_network(_with_network(_with_weight_files(package), path), has_read), package)
    return checked if function is None else with_untrusted(checked, function)


def _check_network(package: Package, has_read: Callable[[CheckedPackage], None]) -> CheckedPackage:
    if package.folder is None:
        return CheckedPackage(CheckOutcome(package.problem, conclusive=package.is_final))
    if package.network is None:
        return CheckedPackage(CheckOutcome(package.problem, conclusive=package.is_final), str(package.folder))
    is_made = package.weights is not None
    network = str(package.network.absolute() if is_made else package.network.relative_to(package.folder))
    read = CheckedPackage(CheckOutcome(), str(package.folder), network, package.sha256)
    has_read(read)
    return msgspec.structs.replace(read, outcome=_try(package))


def _with_card(checked: CheckedPackage, package: Package) -> CheckedPackage:
    """Return a package that can be used with a warning for each thing that its card says in another way."""
    outcome, definition = checked.outcome, package.definition
    if outcome.problem is not None or definition is None:
        return checked
    bands = outcome.bands or (None if definition.bands is None else len(definition.bands))
    found = contradictions(read_card(Path(checked.folder)), definition.classes, bands)
    return msgspec.structs.replace(
        checked, outcome=msgspec.structs.replace(outcome, warnings=(*outcome.warnings, *found))
    )


def _with_weight_files(package: Package) -> Package:
    """Return a package whose digest tells of the weights beside its network too."""
    if package.folder is None or package.network is None or package.weights is not None:
        return package
    try:
        files = file_digests(package.folder, weight_files(package.network))
    except OSError as err:
        problem = f"the package cannot be read: {err.strerror or 'its files are damaged'}"
        return msgspec.structs.replace(package, network=None, sha256=None, problem=problem, is_final=False)
    return msgspec.structs.replace(package, sha256=joined_digest({**package.digests, **files})) if files else package


def _with_network(package: Package, path: Path) -> Package:
    """Return a package whose network is there: one of PyTorch is made ONNX, if that was not done before.

    Args:
        package: what was read.
        path: the `.dlpk` file or the package folder.
    """
    definition = package.definition
    if definition is None or package.weights is None or package.network is None or package.network.is_file():
        return package
    try:
        convert(package.weights, definition.backbone, package.network)
    except ForeignNetworkError as err:
        return msgspec.structs.replace(package, network=None, problem=with_advice(err, path))
    except PackageError as err:
        return msgspec.structs.replace(package, network=None, problem=err.detail)
    except OSError as err:
        problem = f"its network cannot be made ONNX: {err.strerror or 'its file cannot be read'}"
        return msgspec.structs.replace(package, network=None, problem=problem, is_final=False)
    except MemoryError:
        problem = "to make its network ONNX needs more memory than a check may use"
        return msgspec.structs.replace(package, network=None, problem=problem, is_final=False)
    return package


def _try(package: Package) -> CheckOutcome:
    if package.network is None or package.sha256 is None or package.definition is None:
        return CheckOutcome(package.problem or "the package has no network")
    try:
        key = SessionKey(package.network, package.sha256, package.definition, "none", "CPU", available_threads())
        return try_network(Session(key))
    except PackageError as err:
        return CheckOutcome(err.detail)
    except MemoryError:
        return CheckOutcome("the network needs more memory than a trial run may use", conclusive=False)


def _end_with(owner: int) -> None:
    """End this process as soon as its owner has ended, for whatever reason."""
    with contextlib.suppress(AttributeError, OSError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:
        sys.exit(1)


def _confine(package: str, unpack_folder: str, functions: FunctionSettings) -> None:
    """Make this process the first to be killed where memory runs out, and leave it what a check needs."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
    folders = (functions.scratch,) if functions.scratch else ()
    Confinement(
        readable=(package,),
        writable=(unpack_folder, *folders),
        memory_bytes=memory_bytes() // 2,
        has_own_mounts=bool(functions.trusted) and functions.python is not None,
    ).apply()


def _print(checked: CheckedPackage) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(checked) + b"\n")
    sys.stdout.buffer.flush()


def _has_read(checked: CheckedPackage) -> None:
    """Tell what is known, and let this process write no more than an outcome from now on."""
    _print(checked)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_OUTPUT_BYTES, hard))


def _log_to(descriptor: int) -> None:
    """Let our log go to an open file; this process has no other."""
    os.set_inheritable(descriptor, False)
    logger = logging.getLogger("processes")
    logger.addHandler(logging.StreamHandler(os.fdopen(descriptor, "w")))
    logger.setLevel(logging.INFO)


if __name__ == "__main__":
    owner, log, path, unpack_folder, max_bytes, functions = sys.argv[1:]
    _end_with(int(owner))
    _log_to(int(log))
    decided = msgspec.json.decode(functions, type=FunctionSettings)
    _confine(path, unpack_folder, decided)
    _print(check(Path(path), Path(unpack_folder), int(max_bytes), decided, _has_read))
