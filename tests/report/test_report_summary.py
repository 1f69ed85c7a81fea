from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from synthetic import record, run_info, search_records, whole_run, write_run

from raysubset.report.headline import headline
from raysubset.report.intervals import Estimate, difference, wilson
from raysubset.report.progress import best_so_far, curves
from raysubset.report.records import Records
from raysubset.report.run_info import Result, StageInfo
from raysubset.report.summary import read_summary, summarise
from raysubset.report.trials import epoch_mix, outcomes, rung_counts

NOT_RUN = None


def test_incumbent_is_the_best_at_the_highest_epoch_so_far() -> None:
    rows = [
        record("a", 1, val_loss=0.9, samples_consumed=100, finished_s=1.0),
        record("b", 1, val_loss=0.5, samples_consumed=100, finished_s=2.0),
        record("c", 1, val_loss=0.7, samples_consumed=100, finished_s=3.0),  # worse: no change
        record("a", 2, val_loss=0.6, samples_consumed=250, finished_s=4.0),  # later epoch: steps back to 0.6
        record("c", 2, val_loss=0.4, samples_consumed=300, finished_s=5.0),
        record("d", 1, val_loss=0.1, samples_consumed=100, finished_s=6.0),  # earlier epoch: does not compare
    ]
    found = [(p.samples, p.seconds, p.score, p.trial, p.epoch) for p in best_so_far(rows[::-1], "loss")]
    assert found == [
        (100, 1.0, 0.9, "a", 1),
        (200, 2.0, 0.5, "b", 1),
        (450, 4.0, 0.6, "a", 2),
        (650, 5.0, 0.4, "c", 2),
        (750, 6.0, 0.4, "c", 2),
    ]


def test_accuracy_is_maximised_and_ties_keep_the_earlier_trial() -> None:
    rows = [
        record(t, 1, val_accuracy=a, finished_s=i) for i, (t, a) in enumerate([("a", 0.5), ("b", 0.8), ("c", 0.8)])
    ]
    assert [p.trial for p in best_so_far(rows, "accuracy")] == ["a", "b", "b"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.floats(0, 9)), min_size=1, max_size=30))
def test_incumbent_matches_a_search_through_every_prefix(reports: list[tuple[str, int, float]]) -> None:
    unique = {(trial, epoch): (trial, epoch, loss) for trial, epoch, loss in reports}
    rows = [record(t, e, val_loss=v, finished_s=float(i)) for i, (t, e, v) in enumerate(unique.values())]
    points = best_so_far(rows, "loss")
    for i in range(len(rows)):
        top = max(row.epoch for row in rows[: i + 1])
        expected = min(row.val_loss for row in rows[: i + 1] if row.epoch == top and row.val_loss is not None)
        assert [p for p in points if p.seconds <= i][-1].score == expected
    spent = {t: max(r.samples_consumed for r in rows if r.trial == t) for t in {r.trial for r in rows}}
    assert points[-1].samples <= sum(spent.values())


@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
def test_no_evaluation_gives_no_incumbent_no_curve_no_score(loss: float | None) -> None:
    rows = [record("a", 1, val_loss=loss)]
    assert best_so_far(rows, "loss") == ()
    assert curves(rows, "loss") == ()
    assert outcomes(rows, "loss")[0].score is None


def test_trials_rank_by_epoch_then_score_with_failures_last() -> None:
    rows = [
        record("stopped", 1, val_loss=0.1, status="stopped"),
        record("worse", 1), record("worse", 2, val_loss=0.4, status="done"),
        record("better", 1), record("better", 2, val_loss=0.3, status="done"),
        record("failed", 2, val_loss=0.2), record("failed", 3, val_loss=None, val_accuracy=None, status="failed"),
        record("silent", 3, val_loss=None, val_accuracy=None, status="done"),
    ]  # fmt: skip
    assert [t.trial for t in outcomes(rows, "loss")] == ["better", "worse", "stopped", "failed", "silent"]
    assert [t.trial for t in outcomes(rows, "accuracy")][:3] == ["better", "worse", "stopped"]  # tie: by id


def test_an_outcome_adds_up_its_trial() -> None:
    rows = [record("a", 2, train_s=2.0, val_loss=None, status="done", rung=1), record("a", 1, rung=0)]
    (outcome,) = outcomes(rows, "loss")
    assert (outcome.epochs, outcome.samples, outcome.seconds) == (2, 200, 2.0 + 0.5 + 0.25 + 1.0 + 0.5 + 0.25)
    assert (outcome.score, outcome.score_epoch, outcome.rung, outcome.status) == (1.0, 1, 1, "done")


def test_rungs_count_who_came_and_who_left() -> None:
    rows = [
        record("a", 1, rung=0), record("a", 3, rung=1), record("a", 9, rung=2, status="done"),
        record("b", 1, rung=0), record("b", 3, rung=1, status="stopped"),
        record("c", 1, rung=0, status="stopped"),
        record("d", 1, rung=0), record("d", 2, status="failed"),
        record("e", 1),
    ]  # fmt: skip
    counts = [(r.rung, r.epoch, r.reached, r.stopped, r.failed) for r in rung_counts(rows, outcomes(rows, "loss"))]
    assert counts == [(0, 1, 4, 1, 1), (1, 3, 2, 1, 0), (2, 9, 1, 0, 0)]
    assert rung_counts([rows[-1]], outcomes([rows[-1]], "loss")) == ()


def test_epoch_mix_means_and_metrics() -> None:
    rows = [record("a", 1, ratio=0.1, metric_used="loss"), record("b", 1, ratio=0.3), record("a", 2, ratio=0.5)]
    first, second = epoch_mix(rows)
    assert (first.ratio_mean, first.ratio_low, first.ratio_high) == (pytest.approx(0.2), 0.1, 0.3)
    assert dict(first.metrics) == {"loss": 1, "gradient": 1}
    assert (second.epoch, second.ratio_mean) == (2, 0.5)


def test_an_epoch_that_failed_chose_nothing() -> None:
    failed = record("b", 1, ratio=0.0, metric_used="none", status="failed")
    (mix,) = epoch_mix([record("a", 1, ratio=0.2), failed])
    assert (mix.ratio_mean, mix.ratio_low, dict(mix.metrics)) == (0.2, 0.2, {"gradient": 1})


def two_searches(subset: StageInfo, full: StageInfo, **changes: object) -> object:
    rows = (record("a", 4, train_s=6.0, select_s=3.0, eval_s=1.0), record("a", 4, stage="search-full"))
    run = run_info(n_train=1000, trials=5, epochs=4, stages={"search": subset, "search-full": full}, **changes)
    return summarise(run, Records(rows))


def test_savings_by_hand() -> None:
    made = two_searches(StageInfo(10.0, 2000, 5, True), StageInfo(40.0, 16000, 5, True))
    saved = made.savings
    assert saved.planned_full == 5 * 4 * 1000
    assert saved.planned_factor == 10.0
    assert (saved.samples_factor, saved.wall_factor) == (8.0, 4.0)
    assert (saved.whole_samples_factor, saved.whole_wall_factor) == (NOT_RUN, NOT_RUN)
    search = made.cost("search")
    assert (search.selection_share, search.evaluation_share) == (0.3, 0.1)


def test_trials_that_a_budget_left_out_are_no_savings() -> None:
    stages = {"search": StageInfo(10.0, 2000, 5, True)}
    made = summarise(run_info(n_train=1000, trials=50, epochs=4, stages=stages), Records((record("a", 4),)))
    assert (made.savings.planned_trials, made.savings.planned_factor) == (5, 10.0)
    told = " ".join(headline(made).found)
    assert "each of its 5 trials for every epoch on all rows would be 20,000" in told


def test_whole_savings_add_the_final_training() -> None:
    stages = {
        "search": StageInfo(10.0, 2000, 5, True),
        "search-full": StageInfo(40.0, 16000, 5, True),
        "retrain": StageInfo(5.0, 4000, 1, True),
        "retrain-full": StageInfo(5.0, 4000, 1, True),
    }
    saved = summarise(run_info(stages=stages), Records(())).savings
    assert saved.whole_samples_factor == pytest.approx(20000 / 6000)
    assert saved.whole_wall_factor == 3.0


def test_an_unfinished_stage_is_compared_with_nothing() -> None:
    made = two_searches(StageInfo(10.0, 2000, 5, True), StageInfo(40.0, 16000, 5, False))
    assert (made.savings.samples_factor, made.savings.wall_factor) == (NOT_RUN, NOT_RUN)
    assert made.savings.planned_factor == 10.0
    made = two_searches(StageInfo(10.0, 0, 0, False), StageInfo(40.0, 16000, 5, True))
    assert made.savings.planned_factor is NOT_RUN
    assert made.cost("search").samples == 400  # from the records: run.json is stale until the stage ends
    assert not made.finished


def test_a_comparison_without_its_result_is_unfinished() -> None:
    stages = StageInfo(10.0, 2000, 5, True), StageInfo(40.0, 16000, 5, True)
    assert not two_searches(*stages, result=Result({})).finished
    assert two_searches(*stages, result=Result({}), result_full=Result({})).finished


def test_no_records_at_all(tmp_path: Path) -> None:
    run_info().write(tmp_path)
    made = read_summary(tmp_path)
    assert made.costs == ()
    assert not made.finished
    assert "no trial has reported" in made.warnings[0]


def test_resumed_duplicates_count_once(tmp_path: Path) -> None:
    rows = search_records(trials=3)
    once = summarise(run_info(), Records(tuple(rows)))
    again = read_summary(write_run(tmp_path, run_info(), rows + rows[-4:]))
    assert again.costs == once.costs
    assert again.trials == once.trials


def test_a_generated_run_adds_up(tmp_path: Path) -> None:
    made = read_summary(whole_run(tmp_path))
    assert made.finished
    assert made.failed == 1
    assert made.best[-1].samples == made.cost("search").samples
    assert made.best_full[-1].samples == made.cost("search-full").samples
    assert made.rungs[0].reached == 24


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (93, 100), (465, 500), (1, 3)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    theirs = binomtest(right, n).proportion_ci(0.95, method="wilson")
    ours = wilson(right / n, n)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))


def test_difference_agrees_with_the_published_example() -> None:
    # Newcombe 1998, Table II, method 10: 56/70 - 48/80 = 0.2000 with limits 0.0524 and 0.3339.
    gap = difference(wilson(56 / 70, 70), wilson(48 / 80, 80))
    assert [round(x, 4) for x in (gap.value, gap.low, gap.high)] == [0.2, 0.0524, 0.3339]


def test_gap_is_subset_minus_full() -> None:
    run = run_info(result=Result({}, test_accuracy=0.90), result_full=Result({}, test_accuracy=0.94), n_test=100)
    made = summarise(run, Records(())).accuracy
    assert made.gap is not None
    assert made.gap.value == pytest.approx(-0.04)
    assert made.gap.low < made.gap.value < made.gap.high
    assert summarise(run_info(result=Result({}, test_accuracy=0.9)), Records(())).accuracy.gap is None
    assert isinstance(made.test, Estimate)
