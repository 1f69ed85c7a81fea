"""Warm start: results of an earlier search as the history of a new one."""

from __future__ import annotations

import math

import pytest

from raysubset.errors import SearchSpaceError
from raysubset.hpo.history import History
from raysubset.hpo.space import Space, choice, loguniform, uniform, when
from raysubset.hpo.tpe import TpeProposer
from raysubset.hpo.warm_start import Result, history_from, results_of
from raysubset.types import TrialRecord

SPACE: Space = {
    "lr": loguniform(1e-4, 1e-1),
    "optimizer": choice(["sgd", "adam"]),
    "momentum": when(uniform(0.5, 0.99), optimizer="sgd"),
}
ADAM = {"lr": 0.01, "optimizer": "adam"}
SGD = {"lr": 0.1, "optimizer": "sgd", "momentum": 0.9}
SHARES = (0.1, 0.3, 1.0)


def test_losses_go_to_the_rung_of_their_fidelity() -> None:
    results = [
        Result("a", ADAM, 0.1, 0.9),
        Result("b", SGD, 0.104, 0.8),
        Result("a", ADAM, 0.2, 0.7),  # of no rung
        Result("a", ADAM, 0.3, None),  # not judged
        Result("a", ADAM, 0.31, 0.6),
        Result("a", ADAM, 1.0, 0.5),
    ]
    start = history_from(results, SPACE, SHARES)
    assert start.history.points == {"earlier/a": ADAM, "earlier/b": SGD}
    assert start.history.losses == [
        {"earlier/a": 0.9, "earlier/b": 0.8},
        {"earlier/a": 0.6},
        {"earlier/a": 0.5},
    ]
    assert (start.trials, start.outside, start.unmatched) == (2, 0, 1)
    assert start.history.pending() == []


def test_the_nearest_of_several_losses_counts_and_the_first_of_equally_near() -> None:
    near = [Result("a", ADAM, 0.98, 3.0), Result("a", ADAM, 1.0, 1.0), Result("a", ADAM, 1.0, 2.0)]
    assert history_from(near, SPACE, SHARES).history.losses[2] == {"earlier/a": 1.0}
    assert history_from(near[:1], SPACE, SHARES).history.losses[2] == {"earlier/a": 3.0}


@pytest.mark.parametrize(("share", "taken"), [(0.96, True), (1.04, True), (0.94, False), (1.06, False)])
def test_five_percent_are_the_same_fidelity(share: float, taken: bool) -> None:
    results = [Result("a", ADAM, share, 1.0), Result("b", ADAM, 0.1, 1.0)]
    start = history_from(results, SPACE, SHARES)
    assert ("earlier/a" in start.history.points) == taken
    assert start.unmatched == (not taken)


@pytest.mark.parametrize(
    "point",
    [
        {"lr": 0.2, "optimizer": "adam"},  # out of range
        {"lr": 0.01, "optimizer": "rmsprop"},  # no option
        {"lr": 0.01},  # one is missing
        {"lr": 0.01, "optimizer": "sgd"},  # an active one is missing
        {"lr": 0.01, "optimizer": "adam", "momentum": 0.9},  # an inactive one is there
        {**ADAM, "nesterov": True},  # unknown
        {"lr": "0.01", "optimizer": "adam"},
    ],
)
def test_points_outside_the_space_are_left_out_and_counted(point: dict[str, object]) -> None:
    results = [Result("a", point, 1.0, 0.1), Result("b", ADAM, 1.0, 0.2)]  # type: ignore[arg-type]
    start = history_from(results, SPACE, SHARES)
    assert list(start.history.points) == ["earlier/b"]
    assert (start.trials, start.outside) == (1, 1)


def test_a_failed_trial_is_as_bad_as_can_be_where_it_was_heading() -> None:
    results = [
        Result("a", ADAM, 0.1, 0.9),
        Result("a", ADAM, 0.2, None, failed=True),
        Result("b", SGD, 0.0, None, failed=True),
    ]
    history = history_from(results, SPACE, SHARES).history
    assert history.losses == [{"earlier/a": 0.9, "earlier/b": math.inf}, {"earlier/a": math.inf}, {}]
    assert history.failed == {"earlier/a", "earlier/b"}


def test_nothing_left_says_why() -> None:
    strange = [Result("a", {"lr": 5.0}, 1.0, 0.1), Result("b", ADAM, 0.5, 0.2)]
    with pytest.raises(SearchSpaceError) as caught:
        history_from(strange, SPACE, SHARES)
    message = str(caught.value)
    assert "1 of its 2 configurations lie outside the space of lr, optimizer, momentum" in message
    assert "{'lr': 5.0}" in message
    assert "1 of the others' losses are of other fidelities than 0.1, 0.3, 1 of a training" in message
    with pytest.raises(SearchSpaceError, match="0 of its 0"):
        history_from([], SPACE, SHARES)


def record(trial: str, epoch: int, samples: int, status: str = "running", **more: object) -> TrialRecord:
    values: dict[str, object] = {
        "stage": "search",
        "trial": trial,
        "epoch": epoch,
        "epochs": 3,
        "config": ADAM,
        "status": status,
        "samples_consumed": samples,
        "equiv_epochs": samples / 1000,
        "ratio": 0.1,
        "metric_used": "random",
        "train_loss": 1.0,
        "train_s": 1.0,
        "select_s": 0.0,
        "eval_s": 0.0,
        "finished_s": 1.0,
        "seed": 0,
        **more,
    }
    return TrialRecord(**values)  # type: ignore[arg-type]


def test_results_of_records() -> None:
    records = [
        record("a", 1, 100, val_loss=2.0, val_accuracy=0.25),
        record("a", 2, 200),
        record("a", 3, 400, "done", val_loss=1.0, val_accuracy=0.75),
        record("b", 2, 200, "failed"),
        record("a", 3, 9000, "done", stage="retrain", val_loss=0.1),
    ]
    assert results_of(records, "loss") == [
        Result("a", ADAM, 0.25, 2.0),
        Result("a", ADAM, 0.5, None),
        Result("a", ADAM, 1.0, 1.0),
        Result("b", ADAM, 0.5, None, failed=True),
    ]
    assert [result.loss for result in results_of(records, "accuracy")] == [0.75, None, 0.25, None]
    with pytest.raises(SearchSpaceError, match="2 records, but trained no trial to its end"):
        results_of(records[:2], "loss")


def test_a_search_starts_where_the_earlier_one_ended() -> None:
    """TPE has no random phase when the earlier trials fill it, and looks where they were good."""
    results = [Result(str(i), {**SGD, "lr": 10 ** -(1 + i / 4)}, 1.0, abs(i - 6) / 10) for i in range(12)]
    warm = history_from(results, SPACE, SHARES).history
    proposer = TpeProposer(SPACE, seed=0, startup=10)
    proposals = [proposer.propose(warm, draw, 0) for draw in range(8)]
    cold = [proposer.propose(History(3), draw, 0) for draw in range(8)]
    assert proposals != cold
    best = results[6].point["lr"]
    assert isinstance(best, float)

    def misses(points: list[object]) -> float:
        return sum(abs(math.log10(point["lr"] / best)) for point in points) / len(points)  # type: ignore[index]

    assert misses(list(proposals)) < misses(list(cold))
