"""The environment of the converters, and the process that runs there.

Keras and PyTorch are no part of the service. They live in an environment of their own, which `make convert-env` makes
in the folder of the service's own one. The process there gets no variable of this one, and limits of time and memory.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import processes
from processes.convert.messages import ConversionAnswer, ConversionRequest
from processes.errors import FailureError, InputError, PackageError

_PYTHON = Path("bin", "python")
_SHOWN_CHARACTERS = 300


def find_environment(given: Path | None) -> Path:
    """Return the Python of the environment of the converters.

    Args:
        given: the environment's folder; None = where `make convert-env` puts it.

    Raises:
        InputError: it is not there; the message says how to make it.
    """
    root = Path(processes.__file__).resolve().parents[1]
    folders = [Path(sys.prefix, "convert"), root / ".venv" / "convert"] if given is None else [given]
    for folder in folders:
        if (folder / _PYTHON).is_file():
            return folder.absolute() / _PYTHON
    if given is not None:
        raise InputError(f"{given} is no environment of Python: it has no {_PYTHON}")
    raise InputError(
        "the converters are not installed: `make convert-env` in the folder of this program makes their environment, "
        ".venv/convert (4.7 GB, most of it PyTorch); --environment names another one"
    )


def run_converter(python: Path, request: ConversionRequest, folder: Path, timeout_s: float) -> ConversionAnswer:
    """Run the process of the converter, and wait for it.

    Args:
        python: of its environment.
        request: what it is to do.
        folder: where it works; it exists.
        timeout_s: seconds that it may take.

    Raises:
        PackageError: the network cannot be converted; the message says why.
        FailureError: the process ended without an answer, or took too long.
    """
    library = folder / "library"
    library.mkdir(exist_ok=True)
    package = library / "processes"
    if not package.exists():  # this package alone, without what lies beside it
        package.symlink_to(Path(processes.__file__).resolve().parent)
    request.write(folder)
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-P", "-m", "processes.convert", str(folder)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=_variables(folder, library),
            start_new_session=True,
        )
        try:
            _limit_memory(process.pid)
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as err:
            raise FailureError(f"the conversion took longer than {timeout_s:g} s; --time-limit allows more") from err
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
    try:
        answer = ConversionAnswer.read(folder)
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise FailureError(f"the process of the converter ended without an answer: {_last_line(log)}") from err
    finally:
        (folder / "answer.json").unlink(missing_ok=True)
    if answer.problem is not None:
        raise PackageError(answer.problem)
    return answer


def _variables(folder: Path, library: Path) -> dict[str, str]:
    """Return the variables of the process: no host is asked, no GPU is used, and nothing is kept elsewhere."""
    return {
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder),
        "KERAS_BACKEND": "torch",
        "KERAS_HOME": str(folder),
        "LANG": "C.UTF-8",
        "PATH": os.defpath,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(library),
        "TMPDIR": str(folder),
        "TORCH_HOME": str(folder),
    }


def _limit_memory(process: int) -> None:
    """Limit a process to half of the memory of this machine."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a lower limit holds already, or not Linux
        resource.prlimit(process, resource.RLIMIT_DATA, (most, most))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() or ["it was ended, perhaps for lack of memory"]
    return lines[-1].strip()[:_SHOWN_CHARACTERS]
