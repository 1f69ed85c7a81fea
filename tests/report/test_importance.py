"""Importance: known answers, too little to tell, conditional hyper-parameters."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import record

from raysubset.report.importance import LEAST_TRIALS, encoded, importances, judged_together
from raysubset.types import TrialRecord


def trials(n: int = 60, seed: int = 0) -> list[TrialRecord]:
    """The loss follows lr alone; batch is noise; depth is there for half of the trials, and costs them."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        config = {"lr": float(10 ** rng.uniform(-4, -1)), "batch": int(rng.integers(1, 9))}
        loss = 3.0 * abs(np.log10(config["lr"]) + 2.0)
        if number % 2:
            config["depth"] = int(rng.integers(1, 5))
            loss += 1.5
        rows.append(record(f"t{number:03d}", 1, config=config, val_loss=loss + 0.01 * rng.normal()))
    return rows


def test_what_decides_the_loss_is_important_and_noise_is_not() -> None:
    found = importances(trials(), "loss")
    assert found.why == ""
    assert found.trials == 60
    assert [one.name for one in found.found] == ["lr", "depth", "batch"]
    lr, depth, batch = found.found
    assert lr.low > 0
    assert depth.low > 0, "being there at all counts"
    assert batch.low <= 0 <= batch.high
    assert all(one.low <= one.value <= one.high for one in found.found)
    assert found.explained > 0.5


def test_equal_records_give_equal_numbers_in_any_order() -> None:
    rows = trials()
    assert importances(rows, "loss") == importances(rows[::-1], "loss")


def test_noise_alone_is_told_apart_by_nothing() -> None:
    rng = np.random.default_rng(3)
    rows = [
        record(f"t{i:02d}", 1, config={"a": float(rng.normal())}, val_loss=float(rng.normal())) for i in range(40)
    ]
    found = importances(rows, "loss")
    assert found.found == ()
    assert "no better than their mean" in found.why


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], f"needs at least {LEAST_TRIALS}"),
        (trials(LEAST_TRIALS - 1), "At most 19 trials were judged at one epoch"),
        ([record(f"t{i}", 1, config={"a": 1}, val_loss=float(i)) for i in range(30)], "No hyper-parameter varied"),
        ([record(f"t{i}", 1, config={"a": i}, val_loss=1.0) for i in range(30)], "All trials have the same loss"),
    ],
)
def test_too_little_is_said_to_be(rows: list[TrialRecord], why: str) -> None:
    found = importances(rows, "loss")
    assert found.found == ()
    assert why in found.why


def test_trials_are_compared_at_the_epoch_where_most_were_judged() -> None:
    rows = [record(f"t{i}", epoch, val_loss=float(10 * epoch + i)) for i in range(4) for epoch in (1, 2)]
    rows += [record("t9", 1, val_loss=19.0), record("t8", 3, val_loss=1.0), record("t7", 1, val_loss=float("nan"))]
    epoch, judged = judged_together(rows, "loss")
    assert epoch == 1
    assert [value for _, value in judged] == [10.0, 11.0, 12.0, 13.0, 19.0]
    assert judged_together(rows[:8], "loss")[0] == 2, "of equals the later epoch"


def test_values_stand_by_their_order_and_what_is_not_there_below_all() -> None:
    names, columns = encoded(
        [{"lr": 0.1, "on": True, "k": 1}, {"lr": 0.001, "on": False, "k": 1}, {"lr": 0.1, "k": 1}]
    )
    assert names == ("lr", "on")
    assert columns.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, -1.0]]
