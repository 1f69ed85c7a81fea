"""Energy that the CPU packages of this machine took, where the kernel lets us read its counters.

Linux shows Intel's and AMD's running average power limit (RAPL) counters under /sys/class/powercap; since 2020
(CVE-2020-8694) only root may read them, unless the machine's owner allows more. A counter starts again at 0 after
``max_energy_range_uj``, some 260 kJ or 45 minutes at 100 W, so it is read while the stage goes on.

Not measured: memory outside the package, GPUs, disks, fans, and other nodes. Counted too: whatever else ran here.

References:
    [1] Khan et al., 2018, "RAPL in action", doi:10.1145/3177754: within a few percent of a power meter.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

POWERCAP = Path("/sys/class/powercap")
LOOK_EVERY_S = 60.0
MICRO = 1e-6


class EnergyMeter(Callback):
    """Joules since it was made, over all packages; None from the first counter on that cannot be read.

    Args:
        root: Where the kernel shows its counters.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        packages = [zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1]
        self._packages = tuple(sorted(packages))
        self._last: list[int] | None = [0] * len(packages)
        self._used = 0
        self._next_look = 0.0
        self._look()
        self._used = 0  # what the counters showed before is not ours

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look, if it is time."""
        if perf_counter() >= self._next_look:
            self._look()

    def joules(self) -> float | None:
        """Return what was taken up to now; None where that cannot be known."""
        self._look()
        return None if self._last is None or not self._packages else self._used * MICRO

    def _look(self) -> None:
        self._next_look = perf_counter() + LOOK_EVERY_S
        if self._last is None:
            return
        try:
            now = [int((package / "energy_uj").read_text()) for package in self._packages]
            ranges = [int((package / "max_energy_range_uj").read_text()) for package in self._packages]
        except (OSError, ValueError):
            self._last = None
            return
        for before, after, wrap in zip(self._last, now, ranges, strict=True):
            self._used += after - before if after >= before else after - before + wrap
        self._last = now
