"""Parallel coordinates: where values stand, and what is said of them."""

from __future__ import annotations

import pytest
from synthetic import record, run_info

from raysubset.report.parallel import axis, parallel_picture
from raysubset.report.records import Records
from raysubset.report.spread import spread
from raysubset.report.summary import Summary, summarise


def test_numbers_stand_linear_or_logarithmic_and_names_in_sorted_steps() -> None:
    assert axis("width", [8, 16, 24]).places == (0.0, 0.5, 1.0)
    lr = axis("lr", [1e-4, 1e-2, 1.0])
    assert lr.places == pytest.approx((0.0, 0.5, 1.0))
    assert (lr.low, lr.high) == ("0.0001", "1 (log)")
    assert axis("opt", ["sgd", "adam", None]).places == (1.0, 0.0, None)
    assert axis("flag", [True, False]).places == (1.0, 0.0)


def summary(rows: list) -> Summary:
    return summarise(run_info(), Records(tuple(rows)))


def test_the_best_trial_is_named_with_its_values() -> None:
    rows = [record(f"t{i}", 4, config={"lr": 10.0 ** -i, "opt": "ab"[i % 2]}, val_loss=1.0 + i, status="done")
            for i in range(5)]  # fmt: skip
    picture = parallel_picture(summary(rows))
    assert picture is not None
    assert "The best trial, t0: lr = 1.0; opt = a." in picture.alt


def test_a_trial_without_a_hyper_parameter_is_drawn_too() -> None:
    rows = [
        record(f"t{i}", 4, config={"a": i, **({"deep": i} if i > 1 else {})}, val_loss=1.0 + i) for i in range(4)
    ]
    picture = parallel_picture(summary(rows))
    assert picture is not None
    assert "2 hyper-parameters for 4 trials" in picture.alt


def test_nothing_is_drawn_of_one_trial_or_of_a_space_that_did_not_vary() -> None:
    assert parallel_picture(summary([])) is None
    assert parallel_picture(summary([record()])) is None
    assert parallel_picture(summary([record("a"), record("b")])) is None


def test_of_many_trials_few_reach_the_last_epoch_and_the_picture_may_draw_one_of_them() -> None:
    rows = [
        record(f"t{n}", 9 if n < 2 else 1, config={"lr": 0.1 + n}, val_loss=0.1 + n / 1000) for n in range(400)
    ]
    assert parallel_picture(summary(rows)) is not None


def test_some_of_many_keeps_the_ends() -> None:
    assert spread(list(range(10)), 20) == list(range(10))
    kept = spread(list(range(1000)), 200)
    assert (len(kept), kept[0], kept[-1]) == (200, 0, 999)
