"""Do the rungs rank right? The trials judged at a rung and again later, and how alike both judged them.

A search trusts its low rungs to name the trials worth more samples. After it, two things can be measured: tau
between the scores at a rung and at each later one, and tau between the last scores on subsets and those of the
retrainings on all data.

Only trials that passed a rung are judged later. They are its best and lie close together, and tau among them is
lower than it would be among all (restriction of range [1]): what is measured here understates how well a rung
ranks, and says nothing of the trials it stopped.

References:
    [1] Sackett, Yang, 2000, "Correction for range restriction: an expanded typology",
        doi:10.1037/0021-9010.85.1.112.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from raysubset.report.agreement import FEWEST, bootstrap_interval, kendall, kendall_resampled, resample_counts
from raysubset.report.intervals import Estimate
from raysubset.report.trials import TrialOutcome, outcomes, score_of
from raysubset.types import TrialRecord


@dataclass(frozen=True, slots=True)
class RankPair:
    """The trials judged twice, and how alike.

    Attributes:
        rung: Where they were judged first, lowest 0; None if the trials were judged at no rung.
        later: The rung where they were judged again; None is the retraining on all data.
        judged: Trials judged at ``rung`` (of a retraining: retrained).
        n: Trials judged at both.
        tau: Kendall's tau-b of the two scores; nan if fewer than two, or if all scores of a side are equal.
        interval: Its 95 % bootstrap interval over the trials, None below `agreement.FEWEST` and where every pair
            agrees.
    """

    rung: int | None
    later: int | None
    judged: int
    n: int
    tau: float
    interval: Estimate | None

    @property
    def means_little(self) -> bool:
        """True for so few trials that chance alone orders them as often as not."""
        return self.n < FEWEST


@dataclass(frozen=True, slots=True)
class RankCheck:
    """What the records of one run say of its rungs.

    Attributes:
        pairs: Of the search's rungs, lowest first; empty with fewer than two.
        retrained: Last score on subsets against the score on all data; None if none was retrained.
    """

    pairs: tuple[RankPair, ...]
    retrained: RankPair | None

    @property
    def widest(self) -> RankPair | None:
        """The pair that spans most of the search with enough trials: lowest rung, then latest later one."""
        telling = [pair for pair in self.pairs if not pair.means_little and not math.isnan(pair.tau)]
        lowest = [pair for pair in telling if pair.rung == telling[0].rung]
        return lowest[-1] if lowest else None


def rank_check(search: Sequence[TrialRecord], retrain: Sequence[TrialRecord], score: str) -> RankCheck:
    """Compare what the rungs of a search said, and what the retrainings said of it.

    Args:
        search: Records of the search.
        retrain: Records of the retrainings on all data.
        score: "loss" or "accuracy".
    """
    return RankCheck(rung_agreement(search, score), _retrained(outcomes(search, score), retrain, score))


def rung_agreement(rows: Iterable[TrialRecord], score: str) -> tuple[RankPair, ...]:
    """Compare the scores at every rung with those of the same trials at every later one (the last is the end).

    Args:
        rows: Records of one stage.
        score: "loss" or "accuracy"; a rung's reports without a finite one are left out.

    Returns:
        A pair of rungs each, in order; none where fewer than two rungs judged anybody.

    Cost: see `agreement.agreement`, for each pair of rungs.
    """
    rungs: dict[int, dict[str, float]] = {}
    for row in rows:
        value = score_of(row, score)
        if row.rung is not None and value is not None:
            rungs.setdefault(row.rung, {})[row.trial] = _goodness(value, score)
    return tuple(
        _pair(rung, later, len(rungs[rung]), [(first, rungs[later][trial]) for trial, first in rungs[rung].items()
                                              if trial in rungs[later]])
        for rung, later in combinations(sorted(rungs), 2)
    )  # fmt: skip


def _goodness(value: float, score: str) -> float:
    return -value if score == "loss" else value


def _pair(rung: int | None, later: int | None, judged: int, scores: Sequence[tuple[float, float]]) -> RankPair:
    n = len(scores)
    if n < 2:
        return RankPair(rung, later, judged, n, math.nan, None)
    first, second = zip(*scores, strict=True)
    tau = kendall(first, second)
    interval = None
    if n >= FEWEST:
        interval = bootstrap_interval(tau, kendall_resampled(first, second, resample_counts(n)), n)
    return RankPair(rung, later, judged, n, tau, interval)


def _retrained(trials: Sequence[TrialOutcome], retrain: Sequence[TrialRecord], score: str) -> RankPair | None:
    """Match retrainings to trials by their configuration (equal ones: the best of them was retrained).

    Scores of different rungs do not compare: only trials whose last score is of the latest epoch are paired.
    """
    full = [end for end in outcomes(retrain, score) if end.score is not None and end.status != "failed"]
    proxies = [next((trial for trial in trials if trial.config == end.config), None) for end in full]
    matched = [
        (proxy, end)
        for proxy, end in zip(proxies, full, strict=True)
        if proxy is not None and proxy.score is not None
    ]
    if not matched:
        return None
    latest = max(proxy.score_epoch for proxy, _ in matched)
    scores = [
        (_goodness(proxy.score, score), _goodness(end.score, score))
        for proxy, end in matched
        if proxy.score_epoch == latest and proxy.score is not None and end.score is not None
    ]
    rung = next(proxy.rung for proxy, _ in matched if proxy.score_epoch == latest)
    return _pair(rung, None, len(full), scores)
