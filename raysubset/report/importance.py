"""Which hyper-parameters mattered: how much worse a forest tells held-out trials apart without one of them.

    for each of 20 bootstrap draws of the trials:
        fit a random forest [1] on the draw:            hyper-parameters -> rank of the score
        importance = R2 on the trials left out - R2 there with one hyper-parameter's values shuffled [1, 2]

Mean and 1.96 standard deviations over the draws: the estimate and its 95 % interval, for another draw of trials.
Ranks of scores, so that one diverged trial does not decide everything. Scores of different epochs do not compare;
taken are those of the epoch at which most trials were judged (of equals the later): all trials of a search without
early stopping, those that reached its lowest rung with it.

A hyper-parameter that some trials do not have (a conditional one) has a value of its own for "not there", so its
importance contains that of being there at all. Interactions count for every hyper-parameter that takes part; of
two that vary together each may look unimportant, since the other stands in for it. The trials of a searcher that
follows its own findings crowd where it looked: importance speaks of that region, not of the whole space.

References:
    [1] Breiman, 2001, "Random forests", doi:10.1023/A:1010933404324, section 10; scikit-learn's implementation.
    [2] Fisher, Rudin, Dominici, 2019, "All models are wrong, but many are useful", JMLR 20(177): held-out rows.
    [3] Hutter, Hoos, Leyton-Brown, 2014, "An efficient approach for assessing hyperparameter importance", ICML:
        forests for the purpose, marginal variances in place of shuffling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.report.trials import score_of
from raysubset.seeds import generator
from raysubset.types import TrialRecord

LEAST_TRIALS = 20  # fewer leave some seven outside a draw, too few to tell R2 from noise
MOST_TRIALS = 1000  # more change nothing that can be seen, and a forest's cost grows with them
DRAWS, TREES = 20, 32
ABSENT = -1.0


@dataclass(frozen=True, slots=True)
class Importance:
    """One hyper-parameter's importance: what is lost of the variance explained, with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Importances:
    """What was found, or why nothing could be.

    Attributes:
        epoch: At which the trials were judged.
        trials: Judged there, and looked at.
        explained: Mean R2 of the forests on trials left out; at most 0, they know nothing.
        found: Largest first; empty where ``why`` says why.
        why: "" or a sentence.
    """

    epoch: int
    trials: int
    explained: float
    found: tuple[Importance, ...]
    why: str = ""


def importances(records: Sequence[TrialRecord], score: str) -> Importances:
    """Estimate the importance of every hyper-parameter that varied.

    Args:
        records: Of one stage.
        score: "loss" or "accuracy".

    Cost: 20 forests of 32 trees: 0.6 s for 200 trials of four hyper-parameters, 3 s for 1,000 or more.
    """
    epoch, judged = judged_together(records, score)
    if len(judged) < LEAST_TRIALS:
        why = f"At most {len(judged)} trials were judged at one epoch; importance needs at least {LEAST_TRIALS}."
        return Importances(epoch, len(judged), 0.0, (), why)
    if len(judged) > MOST_TRIALS:
        kept = generator(0, "importance", "trials").choice(len(judged), MOST_TRIALS, replace=False)
        judged = [judged[i] for i in np.sort(kept)]
    names, columns = encoded([config for config, _ in judged])
    values = np.array([value for _, value in judged])
    if not names or len(np.unique(values)) < 2:
        what = "No hyper-parameter varied" if not names else f"All trials have the same {score}"
        return Importances(epoch, len(judged), 0.0, (), f"{what}: there is nothing to tell apart.")
    losses, explained = _shuffled(columns, _ranks(values))
    if explained <= 0:
        why = (
            f"A forest fitted on {len(judged)} trials tells others apart no better than their mean does "
            f"(R2 {explained:.2f}): importance cannot be told."
        )
        return Importances(epoch, len(judged), explained, (), why)
    means, spreads = losses.mean(axis=0), 1.96 * losses.std(axis=0, ddof=1)
    found = [
        Importance(name, float(mean), float(mean - spread), float(mean + spread))
        for name, mean, spread in zip(names, means, spreads, strict=True)
    ]
    return Importances(epoch, len(judged), explained, tuple(sorted(found, key=lambda one: (-one.value, one.name))))


def judged_together(
    records: Sequence[TrialRecord], score: str
) -> tuple[int, list[tuple[Mapping[str, Any], float]]]:
    """Return the epoch at which most trials were judged, and each one's hyper-parameters and score there."""
    scored = [(row, value) for row in records if (value := score_of(row, score)) is not None]
    if not scored:
        return 0, []
    counts = Counter(row.epoch for row, _ in scored)
    epoch = max(counts, key=lambda each: (counts[each], each))
    chosen = sorted((pair for pair in scored if pair[0].epoch == epoch), key=lambda pair: pair[0].trial)
    return epoch, [(row.config, value) for row, value in chosen]


def encoded(configs: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the hyper-parameters that varied and float64[trials, names].

    A value stands as its place among the sorted distinct ones (a tree asks for order alone, so no scale is
    needed), and as -1, below all of them, where a trial has no such hyper-parameter.
    """
    names = tuple(dict.fromkeys(name for config in configs for name in config))
    columns = {name: _column([config.get(name, _NOT_THERE) for config in configs]) for name in names}
    varied = {name: column for name, column in columns.items() if len(np.unique(column)) > 1}
    return tuple(varied), np.stack(list(varied.values()), axis=1) if varied else np.zeros((len(configs), 0))


_NOT_THERE = object()


def _column(values: Sequence[Any]) -> NDArray[np.float64]:
    there = [value for value in values if value is not _NOT_THERE]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)
    order = sorted({float(value) for value in there}) if numeric else sorted({str(value) for value in there})
    places = {value: float(place) for place, value in enumerate(order)}
    read = float if numeric else str
    return np.array([ABSENT if value is _NOT_THERE else places[read(value)] for value in values])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks in [0, 1], ties at their mean."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = (rankdata(values) - 1) / (len(values) - 1)
    return ranks


def _shuffled(columns: NDArray[np.float64], ranks: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return what R2 loses in each draw, float64[draws, names], and its mean before shuffling."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    lost, explained = [], []
    for draw in range(DRAWS):
        rng = generator(0, "importance", draw)
        seed = int(rng.integers(2**31))
        drawn = rng.integers(len(ranks), size=len(ranks))
        left = np.setdiff1d(np.arange(len(ranks)), drawn)
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.7, random_state=seed)
        forest.fit(columns[drawn], ranks[drawn])
        explained.append(forest.score(columns[left], ranks[left]))
        shuffled = permutation_importance(forest, columns[left], ranks[left], n_repeats=3, random_state=seed)
        lost.append(shuffled.importances_mean)
    return np.stack(lost), float(np.mean(explained))
