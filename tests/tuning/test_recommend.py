"""Recommending cells: ranks by validation rows on subsets, judged by test rows after training on everything."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from raysubset.errors import BudgetError, OptionsError
from raysubset.tuning.recommend import recommend
from raysubset.tuning.subselnet_piece import FULL, Outcome, Piece

CELLS = "abcdef"
# Validation accuracy on the subset, test accuracy there (no say), validation and test accuracy on everything.
SUBSET = {"a": 0.50, "b": 0.70, "c": 0.60, "d": 0.40, "e": 0.65, "f": 0.55}
FULLY = {"a": 0.80, "b": 0.90, "c": 0.85, "d": 0.81, "e": 0.95, "f": 0.70}


def outcome(accuracy: float, val_accuracy: float) -> Outcome:
    return Outcome(accuracy, val_accuracy, 0.1, 2.0, 0.01, None)


def evaluation(seeds: int = 1) -> dict[Piece, Outcome]:
    """Test accuracies on subsets, and validation accuracies on everything, run the other way: none may be read."""
    found = {}
    for seed in range(seeds):
        off = 0.02 * (seed - (seeds - 1) / 2)
        for cell in CELLS:
            found[Piece(FULL, cell, seed, 1.0)] = outcome(FULLY[cell] + off, 1 - FULLY[cell])
            found[Piece("gibbs", cell, seed, 0.1)] = outcome(1 - SUBSET[cell], SUBSET[cell] + off)
            found[Piece("gibbs", cell, seed, 0.3)] = outcome(0.5, 1 - SUBSET[cell])
            found[Piece("random", cell, seed, 0.1)] = outcome(0.5, 1 - SUBSET[cell])
    return found


def tau(x: list[float], y: list[float]) -> float:
    signs = [np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in combinations(range(len(x)), 2)]
    return float(np.sum(signs) / len(signs))


@pytest.mark.parametrize("seeds", [1, 3])
def test_cells_are_ranked_by_their_mean_on_the_validation_rows(seeds: int) -> None:
    found = recommend(evaluation(seeds), "gibbs", 0.1, 2)
    assert [cell for cell, _ in found.ranked] == list("becfad")
    assert [value for _, value in found.ranked] == pytest.approx([0.7, 0.65, 0.6, 0.55, 0.5, 0.4])
    assert found.tau == pytest.approx(tau(list(SUBSET.values()), list(FULLY.values())))
    assert found.interval is not None
    assert found.interval.low <= found.tau <= found.interval.high


@pytest.mark.parametrize(("k", "jaccard"), [(1, 0.0), (2, 1.0), (3, 1.0), (4, 0.6), (5, 4 / 6), (6, 1.0)])
def test_the_best_by_subset_beside_the_best_by_full_training(k: int, jaccard: float) -> None:
    """By subset b e c f a d, by everything e b c d a f."""
    found = recommend(evaluation(), "gibbs", 0.1, k)
    assert found.jaccard == pytest.approx(jaccard)
    assert found.k == k


def test_method_and_ratio_choose_what_is_ranked() -> None:
    for method, ratio in (("gibbs", 0.3), ("random", 0.1)):
        found = recommend(evaluation(), method, ratio, 2)
        assert [cell for cell, _ in found.ranked] == list("dafceb")


def test_ties_go_by_name() -> None:
    outcomes = {
        piece: replace(one, val_accuracy=0.5) if piece.method == "gibbs" else one
        for piece, one in evaluation().items()
    }
    found = recommend(dict(reversed(outcomes.items())), "gibbs", 0.1, 2)
    assert [cell for cell, _ in found.ranked] == list(CELLS)
    assert np.isnan(found.tau)
    assert found.interval is None
    assert found.jaccard == pytest.approx(1 / 3)  # a b beside e b


def test_cells_without_full_training_are_not_ranked() -> None:
    outcomes = evaluation()
    for cell in "ab":
        del outcomes[Piece(FULL, cell, 0, 1.0)]
    found = recommend(outcomes, "gibbs", 0.1, 1)
    assert [cell for cell, _ in found.ranked] == list("ecfd")
    assert found.jaccard == 1.0


def test_refusals() -> None:
    for k in (0, 7):
        with pytest.raises(BudgetError, match=f"k={k} of n=6"):
            recommend(evaluation(), "gibbs", 0.1, k)
    for method, ratio in (("hybrid", 0.1), ("gibbs", 0.2)):
        with pytest.raises(OptionsError, match=f"0 cells were trained on subsets of '{method}', ratio {ratio}"):
            recommend(evaluation(), method, ratio, 1)
