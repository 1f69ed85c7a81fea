"""What the trainings of a study say together: means over seeds, paired differences, the ASP paper's claims.

Differences are taken seed by seed (equal initial weights and draws on both sides), then averaged. Intervals are
Student's, 95 %, over seeds: another draw of seeds on the same split of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from statistics import fmean
from typing import Any

from raysubset.report.comparison import Comparison, Training, Way
from raysubset.report.intervals import Estimate
from raysubset.report.study_lines import mean_over_seeds

FULL, ADAPTIVE, FIXED, MIXTURE = "full", "adaptive-random", "random", "asp-mixture"
SINGLE = ("asp-gradient", "asp-loss", "asp-entropy", "asp-prediction")


@dataclass(frozen=True, slots=True)
class WayLine:
    """One way, over its seeds; None is not known (yet).

    Attributes:
        way: Which.
        trainings: Those that ended without failing.
        failed: Those that failed.
        missing: Seeds not run (yet).
        accuracy: Mean; here and below of the study's measure, which in a regression is R2.
        gain: Accuracy above that of ``way.against``, paired by seed.
        to_full: Accuracy above training on everything, paired by seed.
        rmse: Mean, of a regression.
    """

    way: Way
    trainings: tuple[Training, ...]
    failed: tuple[Training, ...]
    missing: tuple[int, ...]
    accuracy: Estimate | None
    gain: Estimate | None
    to_full: Estimate | None
    rmse: Estimate | None = None

    def mean(self, reading: Callable[[Training], float]) -> float | None:
        """Return the mean of a quantity over seeds."""
        return fmean(map(reading, self.trainings)) if self.trainings else None

    @property
    def selection_share(self) -> float | None:
        """Share of the trainings' seconds that went to selection."""
        seconds = sum(training.seconds for training in self.trainings)
        return sum(training.select_s for training in self.trainings) / seconds if seconds else None


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the ASP paper at one ratio.

    Attributes:
        words: What is claimed.
        ratio: At which share of the rows.
        difference: Accuracy, mean over the metrics it is about, paired by seed; claimed to be > 0.
    """

    words: str
    ratio: float
    difference: Estimate


def way_lines(comparison: Comparison, trainings: Iterable[Training]) -> tuple[WayLine, ...]:
    """Return a line for each way of the study, those not run included."""
    ended = tuple(trainings)
    scores = _scores(comparison, ended)
    errors = {(t.way, t.seed): t.rmse for t in ended if not t.reason}
    full = next((way.name for way in comparison.ways if way.method == FULL), "")
    lines = []
    for way in comparison.ways:
        own = tuple(training for training in ended if training.way == way.name)
        lines.append(
            WayLine(
                way=way,
                trainings=tuple(training for training in own if not training.reason),
                failed=tuple(training for training in own if training.reason),
                missing=tuple(seed for seed in comparison.seeds if seed not in {t.seed for t in own}),
                accuracy=mean_over_seeds(scores.get((way.name, seed)) for seed in comparison.seeds),
                gain=_paired(scores, comparison.seeds, [(way.name, way.against)]),
                to_full=_paired(scores, comparison.seeds, [(way.name, full)]) if way.name != full else None,
                rmse=mean_over_seeds(errors.get((way.name, seed)) for seed in comparison.seeds),
            )
        )
    return tuple(lines)


def claims(comparison: Comparison, trainings: Iterable[Training]) -> tuple[Claim, ...]:
    """Return what the study says of the ASP paper's claims (figures 2 and 4 to 12), ratio by ratio.

    Dynamic above static: mean over the metrics trained both ways. The mixture above single metrics: mean over
    schedules and the single metrics there are. Chosen anew above a fixed subset: adaptive random against random.
    """
    scores = _scores(comparison, tuple(trainings))
    ways = {(way.method, way.schedule, way.ratio): way.name for way in comparison.ways if not way.details}
    found = []
    for ratio in sorted({way.ratio for way in comparison.ways}):
        schedules = [schedule for schedule in ("static", "dynamic") if (MIXTURE, schedule, ratio) in ways]
        asked: dict[str, list[tuple[str, str]]] = {
            "dynamic above static": [
                (ways[method, "dynamic", ratio], ways[method, "static", ratio])
                for method in (*SINGLE, MIXTURE)
                if (method, "dynamic", ratio) in ways and (method, "static", ratio) in ways
            ],
            "the mixture above single metrics": [
                (ways[MIXTURE, schedule, ratio], ways[method, schedule, ratio])
                for schedule in schedules
                for method in SINGLE
                if (method, schedule, ratio) in ways
            ],
            "chosen anew above a fixed subset": [
                (ways[ADAPTIVE, "static", ratio], ways[fixed])
                for fixed in [(FIXED, "static", ratio)]
                if fixed in ways and (ADAPTIVE, "static", ratio) in ways
            ],
        }
        for words, pairs in asked.items():
            if (difference := _paired(scores, comparison.seeds, pairs)) is not None:
                found.append(Claim(words, ratio, difference))
    return tuple(found)


def derived(comparison: Comparison, trainings: Sequence[Training]) -> dict[str, Any]:
    """Return lines and claims in JSON's types; infinite bounds (one seed) are null."""
    return {
        "lines": [
            {
                "way": line.way.name,
                "seeds": [training.seed for training in line.trainings],
                "failed": [training.seed for training in line.failed],
                "missing": list(line.missing),
                comparison.measure: _plain(line.accuracy),
                **({} if line.rmse is None else {"RMSE": _plain(line.rmse)}),
                "gain": _plain(line.gain),
                "to_full": _plain(line.to_full),
                "samples": line.mean(lambda t: t.samples),
                "seconds": line.mean(lambda t: t.seconds),
                "selection_share": line.selection_share,
            }
            for line in way_lines(comparison, trainings)
        ],
        "claims": [
            {"claim": claim.words, "ratio": claim.ratio, "difference": _plain(claim.difference)}
            for claim in claims(comparison, trainings)
        ],
    }


def _scores(comparison: Comparison, trainings: Sequence[Training]) -> dict[tuple[str, int], float]:
    judged = {(t.way, t.seed): comparison.score(t) for t in trainings if not t.reason}
    return {key: score for key, score in judged.items() if score is not None}


def _paired(
    scores: dict[tuple[str, int], float], seeds: Sequence[int], pairs: Sequence[tuple[str, str]]
) -> Estimate | None:
    """Return first - second, mean over the pairs of a seed that both have, then over seeds."""
    by_seed = []
    for seed in seeds:
        both = [(a, b) for a, b in pairs if (a, seed) in scores and (b, seed) in scores]
        if both and len(both) == len(pairs):
            by_seed.append(fmean(scores[a, seed] - scores[b, seed] for a, b in both))
    return mean_over_seeds(by_seed)


def _plain(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {name: value if isfinite(value) else None for name, value in asdict(estimate).items()}
