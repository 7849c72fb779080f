"""What Linux has to shut a program in, by its system calls: namespaces, Landlock, a filter of calls, limits.

Each function asks for one thing. Where the kernel, or a container around this process, does not permit it, the function
says so, and nothing has changed. This module needs Python alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
"""Kinds of namespaces, as `unshare` has them."""

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 21, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446
_AT_RECURSIVE, _AT_FDCWD, _ATTR_RDONLY = 0x8000, -100, 1
_LAST_CAPABILITY = 63
_CAPSET, _CAPABILITY_VERSION = {"x86_64": 126, "aarch64": 91}, 0x20080522
_OVER_FILES = 0b11111
"""Capabilities of who owns all files: chown, dac_override, dac_read_search, fowner, fsetid."""

_READS, _LISTS = 0b1101, 0b1000  # execute, read files, read folders; read folders alone
_ON_FILES = 0xC007  # execute, write, read, truncate, and calls of devices: all that a rule for a single file may have
_WRITES_BY_ABI = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""All rights on files that Landlock knows, by the version of its interface."""
_TCP, _TCP_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 3, 4, 3

_ALLOW, _KILL, _DENY, _ABSENT = 0x7FFF0000, 0x80000000, 0x50000 | errno.EACCES, 0x50000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # where they lie in what a filter is given of a call
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 1, 5
_X32 = 0x40000000
_CALLS = {
    # audit's number of the architecture; socket, connect; others that reach out of the process
    "x86_64": (0xC000003E, 41, 42, (101, 310, 311, 438, 248, 249, 250, 298, 321)),
    "aarch64": (0xC00000B7, 198, 203, (117, 270, 271, 438, 217, 218, 219, 241, 280)),
}
"""ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, add_key, request_key, keyctl, perf_event_open, bpf."""
_IO_URING = (425, 426, 427)


def unshare(kinds: int) -> bool:
    """Give this process namespaces of its own; return whether it has them."""
    return bool(_libc.unshare(kinds) == 0)


def keep_ids(user: int, group: int) -> bool:
    """Let user and group have the same numbers within a new namespace of users; return whether they have."""
    try:
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return False
    return True


def make_mounts_private() -> bool:
    """Let no mount that this process makes be seen outside its namespace."""
    return _mount("none", "/", "", _MS_REC | _MS_PRIVATE)


def hide_folder(path: str) -> bool:
    """Put an empty folder in the place of a folder; it can be filled until it is made read-only."""
    return _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")


def mount_memory(path: str, size_bytes: int) -> bool:
    """Put a folder in memory in the place of a folder.

    Args:
        path: of the folder.
        size_bytes: the most that it holds.
    """
    return _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size_bytes},mode=1777")


def bind(source: str, path: str) -> bool:
    """Let a file or a folder be seen at another path too, or be a mount of its own at its path."""
    return _mount(source, path, "", _MS_BIND | _MS_REC)


def mount_processes() -> bool:
    """Let `/proc` tell of the processes of this namespace alone."""
    return _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def make_read_only(path: str, but: Iterable[str] = ()) -> bool:
    """Let nothing be written below a path, on all mounts, but for the mounts at some paths."""
    done = _set_mount(path, _AT_RECURSIVE, _ATTR_RDONLY, 0)
    return done and all(_set_mount(place, 0, 0, _ATTR_RDONLY) for place in but)


def _mount(source: str, path: str, kind: str, flags: int, options: str = "") -> bool:
    texts = (os.fsencode(text) if text else None for text in (source, path, kind))
    return bool(_libc.mount(*texts, ctypes.c_ulong(flags), options.encode() or None) == 0)


def _set_mount(path: str, how: int, to_set: int, to_clear: int) -> bool:
    attributes = struct.pack("QQQQ", to_set, to_clear, 0, 0)
    return _call(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), how, attributes, len(attributes)) == 0


def drop_capabilities() -> None:
    """Let no program that this process starts have any capability, and none gain one."""
    for capability in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    refuse_new_privileges()


def refuse_new_privileges() -> bool:
    """Let neither this process nor what it starts gain rights by programs that give them; return whether so."""
    return bool(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def keep_capabilities_over_files() -> bool:
    """Give up all capabilities, as root has them, but those over files; return whether they are given up."""
    number = _CAPSET.get(platform.machine())
    if number is None:
        return False
    kept = _OVER_FILES if os.geteuid() == 0 else 0
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    return _call(number, header, struct.pack("6I", kept, kept, 0, 0, 0, 0)) == 0


def end_with_parent(signal_number: int) -> None:
    """Let this process get a signal when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def adopt_orphans() -> None:
    """Let descendants of this process whose parents end become its children."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has; 0 = it has none, or it is switched off."""
    return max(0, _call(_LANDLOCK_CREATE, None, 0, 1))


def restrict_files(
    writable: Iterable[str], readable: Iterable[str] = ("/",), listed: Iterable[str] = (), has_network: bool = False
) -> bool:
    """Let this process write below some paths only, and reach no process outside by signals; after `drop_capabilities`.

    It is Landlock that does so, which also refuses TCP where it is new enough.

    Args:
        writable: paths of files and folders; those that are not there are left out.
        readable: what can be read and executed beside them.
        listed: folders below which names can be read, too.
        has_network: True = TCP is not refused.
    """
    version = landlock_version()
    if version < 1:
        return False
    rights = max(known for abi, known in _WRITES_BY_ABI.items() if abi <= version)
    tcp = _TCP if version >= _TCP_SINCE and not has_network else 0
    handled = struct.pack("QQQ", rights, tcp, _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= _TCP_SINCE else 8
    rules = _call(_LANDLOCK_CREATE, handled, size, 0)
    if rules < 0:
        return False
    try:
        given = ((_LISTS, listed), (_READS, readable), (rights, writable))
        for path, allowed in [(path, allowed) for allowed, paths in given for path in paths]:
            with suppress(OSError):
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
                own = allowed if stat.S_ISDIR(os.fstat(place).st_mode) else allowed & _ON_FILES
                _call(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", own, place), 0)
                os.close(place)
        return _call(_LANDLOCK_RESTRICT, rules, 0) == 0
    finally:
        os.close(rules)


def can_refuse_calls() -> bool:
    """Return whether `refuse_calls` knows this machine's calls, and the kernel filters them."""
    return platform.machine() in _CALLS and _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def refuse_calls(has_network: bool = False) -> bool:
    """Let this process have no sockets but those that it shares with its children; after `refuse_new_privileges`.

    Pairs of sockets are allowed, and listening to processes of its own kind. Whatever connects, or reaches into other
    processes, is refused.

    Args:
        has_network: True = sockets are not refused, all else is.
    """
    if platform.machine() not in _CALLS:
        return False
    architecture, socket, connect, others = _CALLS[platform.machine()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *(((_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _DENY)) if platform.machine() == "x86_64" else ()),
    ]
    for number in others if has_network else (connect, *others):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    for number in _IO_URING:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ABSENT)]
    program += [(_RETURN, 0, 0, _ALLOW)] if has_network else _only_own_sockets(socket)
    content = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    about = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(content))
    return bool(_libc.prctl(_PR_SET_SECCOMP, 2, about, 0, 0) == 0)


def _only_own_sockets(socket: int) -> list[tuple[int, int, int, int]]:
    """Return the end of a filter that refuses the call `socket` for all but streams between processes."""
    return [
        (_EQUAL, 1, 0, socket),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST),
        (_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _SECOND),
        (_AND, 0, 0, 0xF),
        (_EQUAL, 1, 0, _SOCK_STREAM),
        (_EQUAL, 0, 1, _SOCK_SEQPACKET),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]


def _call(number: int, *values: object) -> int:
    plain = (ctypes.c_long(value) if isinstance(value, int) else value for value in values)
    return int(_libc.syscall(ctypes.c_long(number), *plain))
