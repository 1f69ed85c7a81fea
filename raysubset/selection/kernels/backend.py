"""Which code a kernel runs: numba on the CPU where it is installed, torch everywhere else."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec


@cache
def numba_available() -> bool:
    """Return True if numba can be imported. Cost: one look-up a process; nothing is imported."""
    return find_spec("numba") is not None


def uses_numba(device: str) -> bool:
    """Return True if a kernel on this torch device runs through numba."""
    return device == "cpu" and numba_available()
