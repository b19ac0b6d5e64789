"""What the process does with memory that a training step has given back."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
NEVER = 2**31 - 1


def disable_malloc_trim() -> bool:
    """Tell the C library to keep freed memory for the next step; whether it is one that can be told.

    Else glibc gives every large block back to the system, which clears its pages anew in the next step: a step of
    32 images at 224 px touches 2 GB. The process never needs more than at its highest, and stays there.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
