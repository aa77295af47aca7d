"""The C library's heap, which keeps what was freed unless told otherwise."""

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def limit_arenas() -> None:
    """Let threads share a few heaps: each of gRPC's and of our own would else keep one, with holes of its own."""
    with suppress(AttributeError):  # musl has one heap
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return freed memory to the system."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
