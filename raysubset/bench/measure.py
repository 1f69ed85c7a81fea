"""CPU seconds and peak memory of a step, in a process of one thread.

CPU seconds of the whole process are what a loaded machine disturbs least. Memory is the highest resident size of
the process during the step over that before it, so inputs do not count and the result does. The kernel's
high-water mark is reset before each step; where it cannot be (no Linux) memory is not measured.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

Result = TypeVar("Result")

# what the environment of a process must say before it loads any of these libraries
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

_SELF = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one step, or several in a row, took.

    Attributes:
        cpu_s: Process CPU seconds.
        wall_s: Seconds on the clock.
        extra_bytes: Highest resident bytes during a step over those before it; None where that is not known.
    """

    cpu_s: float
    wall_s: float
    extra_bytes: int | None

    def then(self, later: Reading) -> Reading:
        """Return both in a row: times add up, the larger memory counts."""
        known = self.extra_bytes is not None and later.extra_bytes is not None
        extra = max(self.extra_bytes or 0, later.extra_bytes or 0) if known else None
        return Reading(self.cpu_s + later.cpu_s, self.wall_s + later.wall_s, extra)


def metered(step: Callable[[], Result]) -> tuple[Result, Reading]:
    """Call ``step``; return its result and what it took."""
    gc.collect()
    _give_back_freed_pages()
    before = _status("VmRSS") if _reset_peak() else None
    wall, cpu = perf_counter(), process_time()
    result = step()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    extra = None if before is None else max(0, _status("VmHWM") - before)
    return result, Reading(cpu, wall, extra)


def environment() -> dict[str, str]:
    """Return this process's environment with one thread for every library."""
    return {**os.environ, **dict.fromkeys(_THREADS, "1")}


def _give_back_freed_pages() -> None:
    """Pages that were freed but kept would be used again unseen."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)


def _reset_peak() -> bool:
    """Set the high-water mark to the present size; False where the system does not let us."""
    try:
        (_SELF / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    for line in (_SELF / "status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(field)
