"""Memory that a program frees and asks for again many times a second, on a CPU."""

from __future__ import annotations

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names and numbers of glibc's malloc.h
LARGEST = 32 * 2**20
"""The largest block that glibc can be told to keep; activations of the models that plan on a CPU are smaller."""
KEPT = 2**30
"""Bytes freed at the end of the heap that stay with the process."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tells glibc to hand freed memory out again instead of giving it back to the system; whether that was possible.

    Every tensor between two layers lies in memory of its own. Blocks of megabytes come from the system by default and return to it, and
    a page that comes back has to be found and cleared first. It holds for the whole
    process, which keeps up to `KEPT` bytes more than it uses. Other allocators (jemalloc, tcmalloc, other systems') are left alone.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, KEPT))
