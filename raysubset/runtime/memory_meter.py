"""Memory over time: GB min of a piece of work, and its peak, by sampling.

    GB min = integral of mem(t) dt        by trapezoids between samples; GB = 1e9 bytes, min = 60 s

Host memory is the resident set of this process alone: not that of its children or of other Ray workers (meter each
in its own process), but with the pages of Ray's object store that it has touched. Device memory is what torch has
allocated there for this process, without what its allocator keeps in reserve. What rises and falls between two
samples is not seen: at 5 Hz a peak of less than 0.2 s may be missed.

References:
    [1] Jain et al., 2023, "Efficient data subset selection to generalize training across models", NeurIPS,
        arXiv:2409.12255, section 5.1: memory as an integral over the inference task.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from raysubset.errors import OptionsError, StorageError

GB = 1e9  # bytes
STATM = Path("/proc/self/statm")
Reader = Callable[[], int]  # -> bytes


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a piece of work used.

    Attributes:
        gb_min: Integral of host memory, in GB min.
        peak_gb: Largest sample of it, in GB.
        device_gb_min, device_peak_gb: The same of the device; None where none was metered.
        seconds: From the first sample to the last.
        samples: How many were taken; with two, the integral is the mean of the ends.
    """

    gb_min: float
    peak_gb: float
    device_gb_min: float | None
    device_peak_gb: float | None
    seconds: float
    samples: int


@dataclass(slots=True)
class Integral:
    """Trapezoid integral and maximum of bytes over time, sample by sample."""

    byte_seconds: float = 0.0
    peak: int = 0
    _last: tuple[float, int] | None = None

    def add(self, at: float, used: int) -> None:
        """Take in a sample.

        Args:
            at: Seconds, not before the last sample.
            used: Bytes, >= 0.
        """
        if self._last is not None:
            before, then = self._last
            self.byte_seconds += (at - before) * (then + used) / 2
        self._last = (at, used)
        self.peak = max(self.peak, used)

    @property
    def gb_min(self) -> float:
        """The integral in GB min."""
        return self.byte_seconds / GB / 60


@dataclass(slots=True)
class MemoryMeter:
    """Samples memory while a with-block runs, from a thread of its own; stops with the block, whatever ends it.

        with MemoryMeter() as meter:
            work()
        meter.use().gb_min

    One block a meter. The first sample is taken on entry, the last on exit, so even a block of no length has two.

    Attributes:
        hz: Samples a second, in (0, 100].
        host: Bytes of the process.
        device: Bytes on the device, see `cuda_bytes`, or None to meter the host alone.
        clock: Seconds, never falling.

    Cost: About 20 microseconds a sample; memory does not grow with time.
    """

    hz: float = 5.0
    host: Reader = field(default_factory=lambda: resident_bytes)
    device: Reader | None = None
    clock: Callable[[], float] = time.monotonic
    _on_host: Integral = field(default_factory=Integral, init=False)
    _on_device: Integral = field(default_factory=Integral, init=False)
    _begun: float = field(default=0.0, init=False)
    _ended: float = field(default=0.0, init=False)
    _samples: int = field(default=0, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _failure: Exception | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.hz <= 100:
            raise OptionsError.of("MemoryMeter", [f"hz={self.hz!r}, need samples a second in (0, 100]"])

    def __enter__(self) -> Self:
        """Take the first sample and start the thread.

        Raises:
            OptionsError: The meter was entered before.
            StorageError: The host's memory cannot be read here.
        """
        if self._thread is not None:
            raise OptionsError("MemoryMeter: entered a second time; a meter serves one block, make another.")
        self.sample()
        self._thread = threading.Thread(target=self._watch, name="memory-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread and take the last sample; the block's own exception passes.

        Raises:
            Exception: What a reader raised in the meantime, unless the block raised itself.
        """
        assert self._thread is not None  # entered
        self._stop.set()
        self._thread.join()
        try:
            if self._failure is not None:
                raise self._failure
            self.sample()
        except Exception:
            if error is None:
                raise

    def sample(self) -> None:
        """Take a sample now, besides those of the thread: at the end of a phase, say."""
        with self._lock:
            host, device = self.host(), self.device() if self.device else 0
            now = self.clock()
            self._on_host.add(now, host)
            self._on_device.add(now, device)
            self._begun = now if not self._samples else self._begun
            self._ended, self._samples = now, self._samples + 1

    def use(self) -> MemoryUse:
        """Return what was used so far, up to the last sample.

        Raises:
            OptionsError: The meter was never entered.
        """
        with self._lock:
            if not self._samples:
                raise OptionsError("MemoryMeter: asked what was used before it was entered; nothing is measured.")
            return MemoryUse(
                gb_min=self._on_host.gb_min,
                peak_gb=self._on_host.peak / GB,
                device_gb_min=self._on_device.gb_min if self.device else None,
                device_peak_gb=self._on_device.peak / GB if self.device else None,
                seconds=self._ended - self._begun,
                samples=self._samples,
            )

    def _watch(self) -> None:
        while not self._stop.wait(1 / self.hz):
            try:
                self.sample()
            except Exception as failure:  # a thread's exception would be lost: kept for the block's end
                self._failure = failure
                return


def resident_bytes() -> int:
    """Return the bytes of this process that are in memory, from /proc/self/statm (Linux).

    Raises:
        StorageError: There is no such file (another system), or it cannot be read. Give the meter a ``host``
            reader of your own there; nothing is put in its place, since peaks of other calls are not this figure.
    """
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError) as error:
        raise StorageError(
            f"The resident memory of this process cannot be read from {STATM}: {error}. The file is Linux's; "
            "elsewhere give MemoryMeter(host=...), a function that returns bytes."
        ) from error


def cuda_bytes(device: str) -> Reader:
    """Return a reader of what torch has allocated for this process on a CUDA device.

    Args:
        device: "cuda" or "cuda:<index>".

    Raises:
        OptionsError: Not a CUDA device, or there is none here.
    """
    import torch

    count, (kind, _, index) = torch.cuda.device_count(), device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal() or int(index or 0) >= count:
        raise OptionsError(
            f"device={device!r}: need 'cuda' or 'cuda:<index>', and there are {count} such devices."
        )
    return lambda: int(torch.cuda.memory_allocated(device))
