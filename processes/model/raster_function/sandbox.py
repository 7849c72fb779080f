"""The program that shuts a raster function in, and ends it with all that it has started.

It is three processes. This one waits for the end of its owner, which the descriptor `control` tells. Its child has
namespaces of its own, and adopts what the function leaves behind. The grandchild gives up its rights, and becomes the
operator's Python with `host.py`.

What the kernel, or a container, does not permit is done without, but not without a network that is shut off: then the
function is not run. One line of the log says what holds.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from processes.confinement import kernel

_END_S = 2
"""Seconds that the end of all processes may take where they have no namespace of their own."""
_MAX_PROCESSES = 4096
_MAX_FILE_BYTES = 2**30
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - of the function's own
_DEVICES = "/dev"
_REFUSED = 125


def main() -> NoReturn:
    """Run what the first argument describes, as JSON; see `processes.model.raster_function.process`."""
    options = json.loads(sys.argv[1])
    control = options["control"]
    for descriptor in (control, options["lock"]):
        os.set_inheritable(descriptor, False)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    own = _namespaces()
    alive, held = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(control)
        _keep(options, own)
    os.close(held)
    _let_go_of_streams()
    events = select.poll()
    events.register(control)
    events.register(alive)
    if alive not in [descriptor for descriptor, _ in events.poll()]:
        _end(keeper, has_own_processes=bool(own & kernel.NEW_PROCESSES))
    status = os.waitpid(keeper, 0)[1]
    shutil.rmtree(options["scratch"], ignore_errors=True)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _namespaces() -> int:
    """Give this process namespaces of its own, and return which ones its children have."""
    kinds = kernel.NEW_NETWORK | kernel.NEW_PROCESSES | kernel.NEW_IPC
    user, group = os.geteuid(), os.getegid()
    if kernel.unshare(kernel.NEW_USER | kinds):
        kernel.keep_ids(user, group)  # else its ids have no names, which does no harm
        return kernel.NEW_USER | kinds
    return kinds if kernel.unshare(kinds) else 0  # as root without namespaces of users


def _end(keeper: int, has_own_processes: bool) -> None:
    """End the child; with it the kernel ends all processes of its namespace, else it ends them itself."""
    if not has_own_processes:
        os.kill(keeper, signal.SIGTERM)
        end_s = time.monotonic() + _END_S
        while time.monotonic() < end_s:
            if os.waitid(os.P_PID, keeper, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.01)
    os.kill(keeper, signal.SIGKILL)


def _keep(options: dict[str, Any], own: int) -> NoReturn:
    """Start the function's process, adopt what it leaves behind, and end with it."""
    has_own_processes = bool(own & kernel.NEW_PROCESSES)
    kernel.end_with_parent(signal.SIGKILL if has_own_processes else signal.SIGTERM)
    if not has_own_processes:
        kernel.adopt_orphans()
        signal.signal(signal.SIGTERM, lambda *_: _end_descendants(_REFUSED))
    holds = [name for name, kind in _NAMES.items() if own & kind]
    holds += _mounts(options)
    worker = os.fork()
    if worker == 0:
        _become(options, own, holds)
    _let_go_of_streams()
    while True:
        ended, status = os.wait()
        if ended == worker:
            code = os.waitstatus_to_exitcode(status)
            _end_descendants(code if code >= 0 else 128 - code)


_NAMES = {
    "users": kernel.NEW_USER,
    "network": kernel.NEW_NETWORK,
    "processes": kernel.NEW_PROCESSES,
}


def _end_descendants(code: int) -> NoReturn:
    """End all processes that are left, and this one. In a namespace of processes the kernel does that."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with suppress(OSError, ValueError):
        while left := [int(name) for name in children.read_text().split()]:
            for child in left:
                os.kill(child, signal.SIGKILL)
            for child in left:
                os.waitpid(child, 0)
    os._exit(code)


def _mounts(options: dict[str, Any]) -> list[str]:
    """Make everything read-only but a folder of the function's own, and hide what is none of its business.

    Returns what could be done.
    """
    package, scratch = options["package"], options["scratch"]
    if not kernel.unshare(kernel.NEW_MOUNTS) or not kernel.make_mounts_private():
        return []
    places = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (package, scratch)}
    holds = [f"without {folder}" for folder in options["hidden"] if _hide(folder, options["command"])]
    for path, place in places.items():
        os.makedirs(path, exist_ok=True)  # it was hidden, too
        kernel.bind(f"/proc/self/fd/{place}", path)
        os.close(place)
    writable = [scratch]
    if os.path.isdir(_SHARED_MEMORY) and kernel.mount_memory(_SHARED_MEMORY, options["memory_bytes"] // 2):
        writable.append(_SHARED_MEMORY)
    if kernel.mount_processes():
        holds.append("own /proc")
    if kernel.make_read_only("/", writable):
        holds.append("read-only files")
    return holds


def _hide(folder: str, command: list[str]) -> bool:
    """Hide a folder, but for one that holds the function's own program; return whether it is hidden."""
    parts = [part for part in command if part.startswith("/")]
    programs = [*parts, *map(os.path.realpath, parts)]  # a link to a Python stands in the environment itself
    if not os.path.isdir(folder) or any(
        Path(item).is_relative_to(place) for item in programs for place in (folder, os.path.realpath(folder))
    ):
        return False
    return kernel.hide_folder(folder)


def _become(options: dict[str, Any], own: int, holds: list[str]) -> NoReturn:
    """Give up all rights but those that the function needs, and become its program."""
    kernel.end_with_parent(signal.SIGKILL)
    limits = {resource.RLIMIT_DATA: options["memory_bytes"], resource.RLIMIT_FSIZE: _MAX_FILE_BYTES}
    if own & kernel.NEW_USER:  # else those of the service count too
        limits[resource.RLIMIT_NPROC] = _MAX_PROCESSES
    for kind, limit in {**limits, resource.RLIMIT_CORE: 0}.items():
        _limit(kind, limit)
    os.chdir(options["scratch"])
    kernel.drop_capabilities()
    holds += ["Landlock"] if kernel.restrict_files([options["scratch"], _DEVICES]) else []
    has_filter = kernel.refuse_calls()
    holds += ["no sockets"] if has_filter else []
    if not has_filter and not own & kernel.NEW_NETWORK:
        _refuse("this machine cannot shut off its network")
    print("sandbox:", ", ".join(holds), file=sys.stderr, flush=True)  # noqa: T201 - goes to the log
    try:
        variables = {**os.environ, **options["variables"]}
        os.execve(options["command"][0], options["command"], variables)  # noqa: S606 - there is no shell
    except OSError as err:
        _refuse(f"its Python cannot be started: {err.strerror}")


def _limit(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, value))


def _refuse(reason: str) -> NoReturn:
    """Answer in the place of the function, as `host.py` would."""
    answer = json.dumps({"error": {"call": "start", "kind": "Refused", "text": reason}}).encode()
    os.write(1, len(answer).to_bytes(4, "little") + answer)
    os._exit(_REFUSED)


def _let_go_of_streams() -> None:
    """Let the owner see the end of the function's streams as soon as the function has none."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    main()
