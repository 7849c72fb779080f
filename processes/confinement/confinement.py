"""What is left to a process that reads what strangers made, and how it gives up the rest, for good.

It gives up all rights but those over files, gaining new ones, files outside some folders, the network, and memory and
files beyond a size. What the kernel, or a container, does not offer is done without; `missing` says what that is.
"""

from __future__ import annotations

import contextlib
import glob
import os
import resource
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

import processes
from processes.confinement import kernel
from processes.settings import Settings

_PROGRAMS = ("/usr", "/lib", "/lib64", "/bin", "/nix/store", "/proc", "/sys")
_CONFIGURATION = (
    "ld.so.cache", "localtime", "timezone", "passwd", "group", "nsswitch.conf", "hosts", "host.conf", "resolv.conf",
    "gai.conf", "services", "protocols", "mime.types", "alternatives", "OpenCL", "ca-certificates", "ssl/certs",
    "ssl/openssl.cnf", "pki",
)  # fmt: skip
"""What libraries look for in `/etc`; other files there hold keys."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "dri", "nvidia*")
_CREDENTIALS = ("~/.aws", "~/.config/gcloud", "~/.azure")
"""Where clients of object stores look for those of the operator; also in the files that variables name."""
_WRITTEN = ("work", "packages", "checks", "copies", "forms", "raster-functions")
"""Folders of the state folder in which processes write that are confined; the job store is not among them."""
_TEMPORARY = "work"
_SHARE = 0.75
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The memory that a container may use, as Linux states it within; absent or `max` = no limit."""


class NetworkNeededError(Exception):
    """The work asks hosts, and this process may not. Nothing of it is done yet."""


class Confinement(msgspec.Struct, frozen=True):
    """What is left to a process."""

    readable: tuple[str, ...]
    """Files and folders that it may read, beside its programs."""
    writable: tuple[str, ...]
    """Folders in which it may write, too."""
    linking: tuple[str, ...] = ()
    """Folders whose own entries may be links to elsewhere, which are followed."""
    memory_bytes: int | None = None
    """Memory that it may have for itself; None = as much as there is."""
    file_bytes: int | None = None
    """The largest file that it may write; None = any."""
    has_network: bool = False
    """True = it may ask hosts."""
    has_own_mounts: bool = False
    """True = it starts processes that have mounts of their own, which Landlock forbids: files are not restricted."""

    @classmethod
    def of(cls, settings: Settings, configuration: Path | None = None, has_network: bool = False) -> Confinement:
        """Return what is left to a process that does the work of jobs.

        Args:
            settings: what the deployment decides.
            configuration: the `pygeoapi-config.yml`; None = it is not read.
            has_network: True = the process may ask hosts. It may too where results lie in an object store.
        """
        results, limits = settings.results.removeprefix("file://"), settings.limits
        is_elsewhere = "://" in results
        state = settings.state.absolute()
        return cls(
            readable=tuple(
                map(str, (*settings.imagery, *settings.models, *[configuration] * (configuration is not None)))
            ),
            writable=(*(str(state / name) for name in _WRITTEN), *[results] * (not is_elsewhere)),
            linking=tuple(map(str, settings.models)),
            memory_bytes=limits.max_slot_mb * 2**20 or int(memory_bytes() * _SHARE),
            file_bytes=limits.max_file_mb * 2**20,
            has_network=has_network or is_elsewhere,
            has_own_mounts=bool(settings.trusted) and settings.raster_function_python is not None,
        )

    def apply(self) -> None:
        """Confine this process and all that it starts, before it has a second thread. There is no way back."""
        for folder in self.writable:
            with contextlib.suppress(OSError):
                os.makedirs(folder, exist_ok=True)
        temporary = next((path for path in self.writable if os.path.basename(path) == _TEMPORARY), None)
        if temporary is not None:
            os.environ["TMPDIR"] = temporary
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_DATA, self.memory_bytes)
        _limit(resource.RLIMIT_FSIZE, self.file_bytes)
        kernel.refuse_new_privileges()
        if not self.has_own_mounts:
            kernel.keep_capabilities_over_files()
            has_network = self.has_network or not kernel.can_refuse_calls()  # else `may_ask_hosts` would be wrong
            own = {path: _has_this_program(path) for path in sys.path if path.startswith("/")}
            libraries, roots = ([path for path in own if own[path] is is_root] for is_root in (False, True))
            kernel.restrict_files([*self.writable, *_devices()], self._readable(libraries), roots, has_network)
        kernel.refuse_calls(self.has_network)

    def places(self) -> Mapping[str, tuple[int, int] | None]:
        """Return what stands at the paths that may be read, as device and number; None = nothing.

        Where that changes, a process that is confined already does not see what is new.
        """
        return {path: _identity(path) for path in (*self.readable, *_targets(self.linking))}

    def _readable(self, libraries: Iterable[str]) -> list[str]:
        """Return what may be read: the given, programs, and libraries, this program's own folder among them."""
        own = [sys.prefix, sys.base_prefix, os.path.dirname(processes.__file__), *libraries]
        own += filter(os.path.isabs, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
        given = [*self.readable, *_targets(self.linking), *(_credentials() if self.has_network else ())]
        return [*_PROGRAMS, *(f"/etc/{name}" for name in _CONFIGURATION), *own, *given]


def missing() -> list[str]:
    """Return what this machine's kernel does not offer of what processes are confined by, in words."""
    lacking = {
        "files are not restricted, as the kernel has no Landlock": kernel.landlock_version() < 1,
        "the network is not refused, as system calls cannot be filtered": not kernel.can_refuse_calls(),
    }
    return [words for words, is_so in lacking.items() if is_so]


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this process is in."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is no limit
            memory = min(memory, int(Path(path).read_text()))
    return memory


def may_ask_hosts() -> bool:
    """Return whether this process has not given up the network."""
    try:
        socket.socket(socket.AF_INET).close()
    except PermissionError:
        return False
    return True


def require_network(is_needed: bool) -> None:
    """Raise NetworkNeededError where hosts are to be asked, and this process has given up the network."""
    if is_needed and not may_ask_hosts():
        raise NetworkNeededError


def memory_limit_mb() -> int | None:
    """Return the memory that this process may have for itself, in MiB; None = as much as there is."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit // 2**20


def file_limit_mb() -> int | None:
    """Return the size of the largest file that this process may write, in MiB; None = any."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit // 2**20


def _limit(kind: int, limit: int | None) -> None:
    """Set a limit, unless a lower one holds already."""
    _, hard = resource.getrlimit(kind)
    if limit is not None and (hard == resource.RLIM_INFINITY or limit < hard):
        resource.setrlimit(kind, (limit, limit))


def _has_this_program(folder: str) -> bool:
    """Return whether a folder is a checkout, which may hold the state folder too: only its names are to be read."""
    return os.path.isdir(os.path.join(folder, "processes")) and "site-packages" not in folder


def _devices() -> list[str]:
    return [path for name in _DEVICES for path in glob.glob(f"/dev/{name}")]


def _credentials() -> list[str]:
    """Return where the operator's credentials for object stores may lie, and certificates."""
    named = [value for name, value in os.environ.items() if name.endswith(("_FILE", "_CREDENTIALS", "_BUNDLE", "_DIR"))]
    return [*(path for path in named if os.path.isabs(path)), *map(os.path.expanduser, _CREDENTIALS)]


def _targets(folders: Iterable[str]) -> list[str]:
    """Return what the links lead to that lie directly in folders."""
    found = []
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found += [os.path.realpath(entry.path) for entry in entries if entry.is_symlink()]
    return sorted(found)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
