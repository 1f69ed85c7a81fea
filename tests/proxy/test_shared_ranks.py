"""What several memories say together: ranks and their means by hand, by brute force, and by weight."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from raysubset.proxy.memory import REMEMBERED
from raysubset.proxy.shared import SharedMemory
from tests.proxy.made_memories import LOSS, SMALL, prior_of, remembered, shared_by


def test_ranks_by_hand() -> None:
    shared = shared_by(remembered([3, 9, 1, 1, 7], seen=[0, 2, 3, 4]))
    left = shared.contribution("t0")
    assert left is not None
    # among 1, 1, 3, 7 the ranks are 0.5, 0.5, 2, 3 of 3; 43.3 and 170.3 and 255 in bytes
    assert left["codes"][LOSS].tolist() == [170, 0, 43, 43, 255]
    assert left["codes"][REMEMBERED.index("prediction")].tolist() == [86, 0, 213, 213, 1]
    assert left["quantiles"][LOSS][[0, 84, 127, 128, 254]].tolist() == [1, 1, 3, 3, 7]
    assert left["quantiles"][REMEMBERED.index("entropy")][-1] == 14
    assert (left["number"], left["epochs"], left["loss"]) == (1, 1, None)


def test_mean_ranks_by_hand() -> None:
    first, second = remembered([0, 1, 2, 9, 9], seen=[0, 1, 2]), remembered([9, 50, 30, 40, 9], seen=[1, 2, 3])
    # codes 1, 128, 255 and 255, 1, 128; means 1, 191.5, 128, 128, nobody; ranks 0, 3, 1.5, 1.5 of 3
    assert prior_of(first, second).codes[LOSS].tolist() == [1, 255, 128, 128, 0]
    assert prior_of(first, second).codes[REMEMBERED.index("prediction")].tolist() == [255, 1, 128, 128, 0]


integers = st.lists(st.integers(0, 5), min_size=8, max_size=8)
rows = st.sets(st.integers(0, 7), min_size=1).map(sorted)
memories = st.lists(st.tuples(integers, rows), min_size=1, max_size=6)


@SMALL
@given(memories)
def test_a_prior_ranks_the_mean_ranks_of_those_who_saw_the_row(given_: list[tuple[list[int], list[int]]]) -> None:
    prior = prior_of(*(remembered(np.float32(values), seen) for values, seen in given_))
    spoken: dict[int, list[int]] = {}
    for values, seen in given_:
        middle = rankdata([values[row] for row in seen]) - 1
        for row, rank in zip(seen, middle, strict=True):
            spoken.setdefault(row, []).append(round(1 + 254 * rank / max(len(seen) - 1, 1)))
    known = sorted(spoken)
    means = [Fraction(sum(spoken[row]), len(spoken[row])) for row in known]
    order = {mean: place for place, mean in enumerate(sorted(set(means)))}
    ranks = (rankdata([order[mean] for mean in means]) - 1) / max(len(known) - 1, 1)
    expected = np.zeros(8, dtype=int)
    expected[known] = np.rint(1 + 254 * ranks)
    assert np.abs(prior.codes[LOSS].astype(int) - expected).max() <= 1  # a half may be rounded either way
    assert ((prior.codes[LOSS] == 0) == (expected == 0)).all()


@SMALL
@given(memories, st.permutations(range(8)), st.randoms(use_true_random=False))
def test_only_the_order_of_a_trials_values_counts(given_, order, random) -> None:
    plain = prior_of(*(remembered(np.float32(values), seen) for values, seen in given_))
    scaled = [remembered(np.exp(random.uniform(0.1, 3) * np.float32(values)) - 2, seen) for values, seen in given_]
    np.testing.assert_array_equal(prior_of(*scaled).codes, plain.codes)
    moved = [
        remembered(np.float32(values)[list(order)], [order.index(row) for row in seen]) for values, seen in given_
    ]
    np.testing.assert_array_equal(prior_of(*moved).codes, plain.codes[:, list(order)])


def test_the_better_a_trial_the_more_it_counts() -> None:
    up, down, level = remembered([0, 1, 2]), remembered([2, 1, 0]), remembered([1, 1, 1])
    shared = SharedMemory(3)
    shared.learn("down", 1, 0.1, down)
    shared.learn("up", 1, 0.9, up)
    codes = {}
    for name in ("equal", "score"):
        prior = shared.prior("new", name)
        assert prior is not None
        codes[name] = prior.codes[LOSS].tolist()
    assert codes == {"equal": [128, 128, 128], "score": [255, 128, 1]}
    shared.learn("down", 1, float("nan"), down)  # judged again: diverged
    prior = shared.prior("new", "score")
    assert prior is not None
    assert prior.codes[LOSS].tolist() == [1, 128, 255]
    shared.learn("silent", 1, None, level)
    assert shared.prior("new", "score") is not None


def test_weights_by_hand() -> None:
    """Losses .1, .3, .3, none: weights 3/4, 3/8, 3/8 and 1/2, each seen in a row that only it and `rest` saw."""
    values = [[9.0, 9, 9, 9, 0], [9, 9, 9, 9, 0], [9, 9, 9, 9, 0], [9, 9, 9, 9, 0]]
    shared = SharedMemory(5)
    for trial, loss in enumerate((0.1, 0.3, 0.3, None)):
        shared.learn(f"t{trial}", 1, loss, remembered(values[trial], seen=[trial, 4]))
    shared.learn("rest", 1, 0.2, remembered([0, 0, 0, 0, 9]))
    prior = shared.prior("new", "score")
    assert prior is not None
    # m = 4: ranks 1, 3.5, 3.5, 2; weights .8, .3, .3, .5 and .6 for rest, whose rows 0..3 share rank 3/8
    low = round(1 + 254 * 0.375)
    means = [(w * 255 + 0.6 * low) / (w + 0.6) for w in (0.8, 0.3, 0.3, 0.5)]
    last = (0.6 * 255 + 1.9 * 1) / 2.5
    ranks = (rankdata([*means, last]) - 1) / 4
    assert prior.codes[LOSS].tolist() == [round(1 + 254 * rank) for rank in ranks]
