"""Tasks to simulate with: the power law against its formula, replays against a linear scan, the table by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import DataError
from raysubset.hpo.curves import POWER_LAW_SPACE, PowerLaw
from raysubset.hpo.replay import CELL_SPACE, NasBench201, RecordedTrial, Replay, cell_of
from raysubset.hpo.space import sample_space
from raysubset.seeds import generator

# ---------------------------------------------------------------------- power law

SUMMIT = {
    "lr": 10**-0.5 * 0.1,  # step 10^-.5 at momentum .9 and batches of 128
    "momentum": 0.9,
    "nesterov": True,
    "batch_size": 128,
    "weight_decay": 10**-3.3,
}
COSTS = np.array([400, 300, 200, 100], dtype=np.int64)


def test_power_law_by_hand() -> None:
    """At the summit c_0 = 1000 / 4 and a_inf = .95: after 700 samples .95 - .85 (1 + 2.8)^-.7."""
    task = PowerLaw(COSTS, rows=1000, noise=0.0)
    assert task.regret(SUMMIT) == pytest.approx(0.0, abs=FLOAT64)
    assert task.loss(SUMMIT, "0000", 2) == pytest.approx(1 - (0.95 - 0.85 * 3.8**-0.7), rel=FLOAT64)
    # a step of 10^-2.5 is 2.5 widths away: q = 6.25, and ten times as slow
    slow = {**SUMMIT, "lr": 10**-2.5 * 0.1}
    limit = 0.1 + 0.85 / 1.625
    assert task.regret(slow) == pytest.approx(0.95 - limit, rel=FLOAT64)
    assert task.loss(slow, "", 4) == pytest.approx(1 - (limit - (limit - 0.1) * 1.4**-0.7), rel=FLOAT64)
    # batches of 256 halve the step, nesterov counts a tenth, weight decay by decades of 1.5
    step = math.log10(2) / 0.8
    other = {**SUMMIT, "batch_size": 256, "nesterov": False, "weight_decay": 10**-4.8}
    assert task.regret(other) == pytest.approx(0.85 - 0.85 / (1 + (step**2 + 0.1 + 1) / 10), rel=FLOAT64)


def points(count: int, seed: int = 0) -> list[dict[str, Any]]:
    return [sample_space(POWER_LAW_SPACE, generator(seed, i)) for i in range(count)]


def test_the_summit_is_in_the_space_and_nobody_is_above() -> None:
    task = PowerLaw(COSTS, rows=1000)
    assert all(POWER_LAW_SPACE[name].holds(value) for name, value in SUMMIT.items())
    regrets = [task.regret(point) for point in points(300)]
    assert min(regrets) > 0
    assert max(regrets) < 0.85


def test_curves_fall_and_cross() -> None:
    task = PowerLaw(np.full(81, 100, dtype=np.int64), rows=1000, noise=0.0)
    some = points(60)
    early, late = ([task.loss(point, "", epoch) for point in some] for epoch in (1, 81))
    assert all(a > b for a, b in zip(early, late, strict=True))
    order = [np.argsort(np.argsort(losses)) for losses in (early, late)]
    rank_correlation = float(np.corrcoef(*order)[0, 1])
    assert 0.3 < rank_correlation < 0.98, "a low rung tells something, and not everything"


def test_noise_belongs_to_seed_configuration_and_epoch() -> None:
    noisy, other = PowerLaw(COSTS, 1000, seed=3), PowerLaw(COSTS, 1000, seed=4)
    clean = PowerLaw(COSTS, 1000, noise=0.0)
    point = points(1)[0]
    shuffled = dict(reversed(point.items()))
    assert noisy.loss(point, "0000", 2) == noisy.loss(shuffled, "0017", 2)
    draws = [
        task.loss(one, "", epoch) - clean.loss(one, "", epoch)
        for task in (noisy, other)
        for one in points(250)
        for epoch in (1, 2, 3, 4)
    ]
    assert len(set(draws)) == len(draws)
    error = 0.01 / math.sqrt(len(draws))
    assert abs(np.mean(draws)) < 5 * error
    assert abs(np.std(draws) - 0.01) < 5 * error / math.sqrt(2)


# ---------------------------------------------------------------------- replay


def test_replay_by_hand() -> None:
    """Epochs end at 10, 30, 60; measured at 10 and 60, or cut short at 10, or failed at 30."""
    task = Replay(
        np.array([10, 20, 30]),
        [
            RecordedTrial({"lr": 0.1}, [10, 60], [0.9, 0.3], whole=True),
            RecordedTrial({"lr": 0.2}, [10], [0.2], whole=False),
            RecordedTrial({"lr": 0.3}, [10, 30], [0.7, math.inf], whole=False),
            RecordedTrial({"lr": 0.4}, [], [], whole=False),
            RecordedTrial({"lr": 0.5}, [60], [0.5], whole=True),
            RecordedTrial({"lr": 0.1}, [10], [0.0], whole=True),
        ],
    )
    assert [[task.loss(point, "", epoch) for epoch in (1, 2, 3)] for point in task.points] == [
        [0.9, 0.9, 0.3],
        [0.2, 0.2, 0.2],
        [0.7, math.inf, math.inf],
        [0.5, 0.5, 0.5],
    ]
    assert [point["lr"] for point in task.points] == [0.1, 0.2, 0.3, 0.5], "judged ones, each once, in order"
    assert [task.regret(point) for point in task.points] == [0.0, None, None, pytest.approx(0.2)]
    assert task.cut_short == 2


@PROPERTY
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.integers(1, 40), st.floats(0, 9)), min_size=1, max_size=6, unique_by=lambda pair: pair[0]
    ),
)
def test_replay_is_a_step_function(costs: list[int], measured: list[tuple[int, float]]) -> None:
    measured.sort()
    samples, losses = zip(*measured, strict=True)
    task = Replay(np.array(costs), [RecordedTrial({"x": 1}, samples, losses, whole=False)])
    for epoch in range(1, len(costs) + 1):
        known = [loss for at, loss in measured if at <= sum(costs[:epoch])]
        assert task.loss({"x": 1}, "", epoch) == (known[-1] if known else losses[0])


def test_replay_of_nothing() -> None:
    with pytest.raises(DataError, match="none of the 1 recorded trials was judged"):
        Replay(np.array([1]), [RecordedTrial({"x": 1}, [], [], whole=False)])


# ---------------------------------------------------------------------- NAS-Bench-201


def cell(*ops: str) -> dict[str, str]:
    return dict(zip(CELL_SPACE, ops, strict=True))


CONV = cell(*["nor_conv_3x3"] * 6)
MIXED = cell("avg_pool_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_1x1", "skip_connect", "none")


def name_of(point: dict[str, str]) -> str:
    return str(cell_of(point))


def test_cells_have_the_names_of_the_table() -> None:
    three = "nor_conv_3x3"
    assert name_of(CONV) == f"|{three}~0|+|{three}~0|{three}~1|+|{three}~0|{three}~1|{three}~2|"
    assert name_of(MIXED) == (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|none~2|"
    )
    ops = CELL_SPACE["1<-0"].options  # type: ignore[union-attr]
    assert len({name_of(cell(*six)) for six in itertools.product(ops, repeat=6)}) == 15_625


def bench(costs: list[int], **changes: Any) -> NasBench201:
    names = [name_of(CONV), name_of(MIXED)]
    fields: dict[str, Any] = {
        "epoch_costs": np.array(costs),
        "rows": 100,
        "knots": (0, 3, 15),
        "curves": {names[0]: (0.1, 0.5, 0.9), names[1]: (0.1, 0.6, 0.7)},
        "test": {names[0]: 0.88, names[1]: 0.69},
    }
    return NasBench201(**(fields | changes))


def test_the_table_by_hand() -> None:
    """log2(1 + epochs) is 0, 2, 4 at the knots; 1 epoch is at 1, 7 epochs at 3, and after 15 nothing changes."""
    task = bench([100, 200, 400, 800, 5000])
    losses = [[task.loss(point, "", epoch) for epoch in range(1, 6)] for point in (CONV, MIXED)]
    assert losses[0] == pytest.approx([0.7, 0.5, 0.3, 0.1, 0.1], rel=FLOAT64)
    assert losses[1] == pytest.approx([0.65, 0.4, 0.35, 0.3, 0.3], rel=FLOAT64)
    assert task.regret(CONV) == 0
    assert task.regret(MIXED) == pytest.approx(0.19)


def test_a_cell_that_the_table_lacks() -> None:
    with pytest.raises(DataError, match=r"table of 2 cells has no \|none~0\|\+"):
        bench([100]).loss(cell(*["none"] * 6), "", 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"knots": (1, 3, 15)}, "ascending from 0"),
        ({"knots": (0, 3, 3)}, "got 2 cells and epochs 0, 3, 3"),
        ({"knots": (0,)}, "two or more"),
        ({"curves": {}}, "got 0 cells"),
        ({"curves": {"|a~0|": (0.1, 0.5)}}, r"cell \|a~0\| has accuracies .*need 3 validation"),
        ({"curves": {"|a~0|": (0.1, 0.5, 90.0)}, "test": {"|a~0|": 0.5}}, "shares in"),
        ({"test": {}}, "and the test accuracy"),
        ({"test": {name_of(CONV): 0.5, name_of(MIXED): math.nan}}, "nan"),
    ],
)
def test_tables_that_are_none(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        bench([100], **changes)
