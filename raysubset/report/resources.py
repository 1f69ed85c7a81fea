"""What a run took of the machine: energy, measured or estimated, and memory."""

from __future__ import annotations

from raysubset.report.costs import StageCost
from raysubset.report.summary import Summary
from raysubset.report.wording import NOT_MEASURED, seconds

JOULES_A_WH = 3600.0
GB = 1e9


def energy_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return (label, value) pairs for each search that was run."""
    return [
        (f"energy, {words}", _energy(cost, summary.run.watts))
        for stage, words in (("search", "search"), ("search-full", "search on all data"))
        if (cost := summary.cost(stage)) is not None
    ]


def _energy(cost: StageCost, watts: float | None) -> str:
    if cost.energy_j is not None:
        return (
            f"{watt_hours(cost.energy_j)} measured: the CPU packages of the machine it was started on, with all "
            "else that ran there; no GPU, no other node"
        )
    if cost.wall_s is None:
        return NOT_MEASURED
    if watts is None:
        return f"{NOT_MEASURED} (no energy counter can be read here; --watts gives an estimate)"
    power = f"{watts:g} W, as was said by --watts, for {seconds(cost.wall_s)}"
    return f"{watt_hours(watts * cost.wall_s)} estimated: {power}"


def watt_hours(joules: float) -> str:
    """5400.0 -> "1.5 Wh"."""
    return f"{joules / JOULES_A_WH:.3g} Wh"


def memory_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return (label, value) pairs: peaks of one process of trials, and of a selector's."""
    trials, selector = summary.trial_peak_bytes, summary.selector_peak_bytes
    return [
        ("peak memory, a trial's process", gigabytes(trials)),
        ("peak memory, a selector's process", gigabytes(selector)),
    ]


def gigabytes(size: int | None) -> str:
    """1234000000 -> "1.23 GB"."""
    return NOT_MEASURED if not size else f"{size / GB:.2f} GB"
