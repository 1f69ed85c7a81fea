"""What a comparison of selectors says: paired differences over seeds, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from raysubset.bench.selectors import BASELINE, Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one ratio, against another one (adaptive random) with the same seeds.

    Attributes:
        selector, ratio: Which.
        seeds: Runs.
        accuracy: Mean, in [0, 1].
        gap: Mean difference to the other one, paired by seed.
        low, high: Its 95 % Student interval; infinite for a single seed.
        samples: Mean share of the budget consumed.
        wall: Median ratio of seconds (training and selection) to the other's.
        cpu: The same of processor seconds.
        selection: Median share of the seconds that went into selection.
        evidence: Samples of the shared evidence, as a multiple of the budget.
        note: Of a run that failed or fell back.
    """

    selector: str
    ratio: float
    seeds: int
    accuracy: float
    gap: float
    low: float
    high: float
    samples: float
    wall: float
    cpu: float
    selection: float
    evidence: float
    note: str

    @property
    def verdict(self) -> str:
        """Whether the interval says better, worse, or neither."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no difference shown"


def compare(outcomes: Iterable[Outcome], against: str = BASELINE) -> list[Row]:
    """Return a row a contender and ratio, best gap to ``against`` first within a ratio."""
    done = list(outcomes)
    base = {(o.ratio, o.seed): o for o in done if o.selector == against}
    cells: dict[tuple[float, str], list[Outcome]] = {}
    for outcome in done:
        cells.setdefault((outcome.ratio, outcome.selector), []).append(outcome)
    rows = [_row(name, ratio, runs, base) for (ratio, name), runs in cells.items()]
    return sorted(rows, key=lambda row: (row.ratio, -row.gap if math.isfinite(row.gap) else math.inf))


def _row(name: str, ratio: float, runs: Sequence[Outcome], base: dict[tuple[float, int], Outcome]) -> Row:
    judged = [(o, b) for o in runs if (b := base.get((ratio, o.seed))) and o.accuracy is not None]
    gaps = np.array([(o.accuracy or 0.0) - (b.accuracy or 0.0) for o, b in judged])
    low, high = _interval(gaps)
    seconds = [o.train_s + o.select_s for o in runs]
    return Row(
        name,
        ratio,
        len(judged),
        float(np.mean([o.accuracy for o, _ in judged])) if judged else math.nan,
        float(gaps.mean()) if len(gaps) else math.nan,
        low,
        high,
        float(np.mean([o.samples / o.budget for o in runs])),
        float(np.median([(o.train_s + o.select_s) / (b.train_s + b.select_s) for o, b in judged] or [math.nan])),
        float(np.median([o.cpu_s / b.cpu_s for o, b in judged] or [math.nan])),
        float(np.median([o.select_s / s for o, s in zip(runs, seconds, strict=True)])),
        runs[0].evidence_samples / runs[0].budget,
        next((o.note for o in runs if o.note), ""),
    )


def _interval(gaps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the 95 % Student interval of a mean of paired differences."""
    if len(gaps) < 2:
        return -math.inf, math.inf
    half = float(student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps)))
    return float(gaps.mean()) - half, float(gaps.mean()) + half
