"""How a process gives back memory that it does not need any more."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Options of glibc's `mallopt`."""
_LARGE_BLOCK_BYTES = 4 * 2**20
"""More than most decoded tiles: what is needed again at once is not asked of the system each time."""


def return_large_blocks(from_bytes: int = _LARGE_BLOCK_BYTES, arenas: int | None = None) -> None:
    """Let large blocks of this process's memory go back to the system as soon as they are free.

    By itself glibc keeps ever larger ones for later, up to 32 MiB. Other libraries for C do not, and nothing happens.

    Args:
        from_bytes: size of a large block.
        arenas: places that threads take memory from; None = eight for each core.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, from_bytes)
        if arenas is not None:
            libc.mallopt(_M_ARENA_MAX, arenas)
