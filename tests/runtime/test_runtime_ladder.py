"""A trial in segments: what passes from one to the next, what the rates do, and that it can stop anywhere."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tolerances import FLOAT64

from raysubset.data.batches import ArraySource
from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError, OptionsError
from raysubset.hpo.fidelity import FidelityOptions, Segment
from raysubset.hpo.pairing import TrialSeeds
from raysubset.models.catalog import build_model
from raysubset.proxy.service import SelectorService, UnknownTrialError
from raysubset.runtime import ladder as module
from raysubset.runtime import trial as trial_module
from raysubset.runtime.ladder import LadderTrial, make_trial, shrunk
from raysubset.runtime.segments import plan_ladder, segment_plan
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.seeds import seed64
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.training.recipe import Recipe

SEEDS = TrialSeeds(subset=11, init=12)
RECIPE = Recipe(epochs=2, batch_size=100, lr=0.05, momentum=0.9, weight_decay=1e-4, flip=0.5)
PLAN = SubsetPlan(ratio=0.5, metric="loss", first_epoch="scheduled")
RATIO = FidelityOptions(mode="ratio", levels=3)  # 2, 1 and 1 epochs
RESTART = FidelityOptions(mode="restart", levels=2)  # 1 and 2 epochs
LADDERS = {
    "resume": RATIO,
    "per-level": replace(RATIO, anneal="per-level"),
    "shrink": replace(RATIO, promote="shrink"),
    "restart": replace(RATIO, promote="restart"),
    "restarts": RESTART,
}


class Data:
    """600 digits as a trial wants them."""

    def __init__(self, digits) -> None:
        self.n, self.labels = len(digits.train), digits.train.labels
        self.shape, self.classes = digits.input_shape, digits.num_classes
        self.rows, self.test = ArraySource(digits.train), ArraySource(digits.test)
        self.transform = Transform.fit(digits.train.inputs)

    def service(self) -> SelectorService:
        return SelectorService(Context(self.n, self.labels))

    def trial(
        self, options: FidelityOptions, plan=PLAN, recipe=RECIPE, client=None, kind=LadderTrial, model="mlp"
    ) -> Any:
        ladder = plan_ladder(options, plan, self.n, recipe.epochs, eta=2)
        spec = TrialSpec("t", model, recipe, plan, SEEDS, self.classes)
        return kind(spec, ladder, self.rows, self.test, self.transform, client or self.service())


@pytest.fixture(scope="session")
def data(digits) -> Data:
    return Data(digits)


def equal(one: Any, two: Any) -> bool:
    """Compare states bit for bit."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return bool(np.array_equal(one, two)) if isinstance(one, np.ndarray) else bool(one == two)


@pytest.fixture
def starts(monkeypatch) -> list[dict[str, Any]]:
    """The state of every segment's trial before its first epoch, and its spec."""
    seen: list[dict[str, Any]] = []

    class Recorded(Trial):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append({"spec": self.spec, **copy.deepcopy(self.state())})

    monkeypatch.setattr(module, "Trial", Recorded)
    return seen


@pytest.fixture
def progress(monkeypatch) -> list[tuple[float, float]]:
    """Progress at the first and after the last sample of every epoch."""
    seen: list[tuple[float, float]] = []
    train_epoch = trial_module.train_epoch

    def recorded(*args: Any, **named: Any) -> Any:
        result = train_epoch(*args, **named)
        seen.append((named["progress"](0), named["progress"](result.samples)))
        return result

    monkeypatch.setattr(trial_module, "train_epoch", recorded)
    return seen


def run_segment(trial: LadderTrial, index: int) -> dict[str, Any]:
    """Train to the end of a segment, return a copy of the state there."""
    while trial.epoch < trial.ladder.rungs.epochs[index]:
        trial.run_epoch()
    return copy.deepcopy(trial.state()["trial"])


# ---------------------------------------------------------------- one segment


def test_a_prefix_is_a_plain_trial_bit_for_bit(data) -> None:
    plan = SubsetPlan(ratio=0.3, first_epoch="full")
    assert type(data.trial(FidelityOptions(), plan, kind=make_trial)) is Trial
    plain = data.trial(FidelityOptions(), plan, kind=make_trial)
    ladder = data.trial(FidelityOptions(), plan)
    while not plain.done:
        ours, theirs = (replace(t.run_epoch(), train_s=0, select_s=0) for t in (ladder, plain))
        assert ours == theirs
        assert equal(ladder.state()["trial"], plain.state())
    assert ladder.done
    assert ladder.planned_epochs == plain.planned_epochs == RECIPE.epochs
    assert type(data.trial(RATIO, kind=make_trial)) is LadderTrial


# ---------------------------------------------------------------- counting


@pytest.mark.parametrize("name", LADDERS)
def test_epochs_and_samples_are_counted_over_all_segments(data, name: str) -> None:
    trial = data.trial(LADDERS[name])
    reports = []
    while not trial.done:
        reports.append(trial.run_epoch())
        assert (trial.epoch, trial.samples_consumed) == (reports[-1].epoch, reports[-1].samples_consumed)
    ladder = trial.ladder
    assert [r.epoch for r in reports] == list(range(1, trial.planned_epochs + 1))
    assert [r.samples_consumed for r in reports] == np.cumsum(ladder.costs).tolist()
    reached = [ladder.rungs.reached(r.samples_consumed) for r in reports]
    assert [reached.index(k) + 1 for k in range(len(ladder.segments))] == list(ladder.rungs.epochs)
    assert trial.samples_trained == trial.samples_consumed  # this plan charges nothing
    assert trial.evaluate().loss == trial.evaluate_on(data.test).loss


def test_the_ladder_of_a_plan_costs_what_its_timetables_say(data) -> None:
    """C.3: N (1 + K (1 - 1/eta)) epochs, levels C eta^(k-K) within the schedule's 1 % and rounding."""
    ladder = plan_ladder(replace(RATIO, levels=4), replace(PLAN, schedule="static"), 6000, 27)
    assert len(ladder.costs) == 27 * (1 + 3 * 2 / 3)
    np.testing.assert_allclose(np.array(ladder.rungs.levels) / 27 / 3000, [1 / 27, 1 / 9, 1 / 3, 1], rtol=0.01)
    charged = plan_ladder(RATIO, SubsetPlan(selector="craig", ratio=0.5, select_every=1), 6000, 9)
    tables = [segment_plan(SubsetPlan(selector="craig", ratio=0.5, select_every=1), s) for s in charged.segments]
    costs = [t.timetable(6000, s.epochs).costs for t, s in zip(tables, charged.segments, strict=True)]
    assert list(charged.costs) == np.concatenate(costs).tolist()


# ---------------------------------------------------------------- stopping anywhere


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "shrink" else pytest.mark.slow) for name in LADDERS]
)
def test_every_epoch_can_be_gone_on_from(data, tmp_path, name: str) -> None:
    """A fresh trial restored from any epoch does the next epoch as the uninterrupted one did, bit for bit."""
    plan = SubsetPlan(ratio=0.5, metric="mixture", first_epoch="scheduled")
    whole, again = data.trial(LADDERS[name], plan), data.trial(LADDERS[name], plan)
    again.run_epoch()  # so that no state is left from the last one restored
    save_checkpoint(tmp_path / "-1", whole.state())
    for epoch in range(whole.planned_epochs):
        report = whole.run_epoch()
        expected = copy.deepcopy(whole.state())
        save_checkpoint(tmp_path / str(epoch), expected)
        again.restore(load_checkpoint(tmp_path / str(epoch - 1)))
        repeated = again.run_epoch()
        assert equal(again.state(), expected)
        assert replace(repeated, train_s=0, select_s=0) == replace(report, train_s=0, select_s=0)
        assert again.done == whole.done
    again.restore(load_checkpoint(tmp_path / "0"))  # and back, from another segment
    assert (again.epoch, again.done) == (1, False)


# ---------------------------------------------------------------- what passes on


@pytest.mark.parametrize("name", ["resume", "shrink", "restart", "restarts"])
def test_what_is_remembered_of_the_rows_passes_on(data, starts, name: str) -> None:
    trial = data.trial(LADDERS[name])
    for index in range(len(trial.ladder.segments) - 1):
        end = run_segment(trial, index)
        run_segment(trial, index + 1)
        stream = starts[index + 1]["stream"]
        assert end["stream"]["memory"]["seen"].any()
        assert equal(stream["memory"], end["stream"]["memory"])
        assert (stream["recorded"], stream["active"]) == (-1, None)


def test_resuming_keeps_weights_and_optimiser(data, starts) -> None:
    trial = data.trial(RATIO)
    end = run_segment(trial, 0)
    trial.run_epoch()
    assert equal(starts[1]["model"], end["model"])
    assert equal(starts[1]["optimizer"]["state"], end["optimizer"]["state"])
    assert end["optimizer"]["state"][0]["momentum_buffer"].any()


@pytest.mark.parametrize("name", ["restart", "restarts"])
def test_a_restart_begins_with_the_initial_weights(data, starts, name: str) -> None:
    trial = data.trial(LADDERS[name])
    end = run_segment(trial, 0)
    trial.run_epoch()
    initial = build_model("mlp", num_classes=10, input_shape=data.shape, seed=SEEDS.init).state_dict()
    assert equal(starts[1]["model"], dict(initial))
    assert not equal(end["model"], dict(initial))
    assert starts[1]["optimizer"]["state"] == {}


def test_shrinking_halves_the_weights_and_adds_fresh_ones(data, starts) -> None:
    trial = data.trial(LADDERS["shrink"])
    end = run_segment(trial, 0)
    trial.run_epoch()
    seed = seed64(SEEDS.init, "shrink", 1)
    fresh = build_model("mlp", num_classes=10, input_shape=data.shape, seed=seed).state_dict()
    for name, weight in starts[1]["model"].items():
        torch.testing.assert_close(weight, end["model"][name] / 2 + fresh[name] / 20)
    assert starts[1]["optimizer"]["state"] == {}
    assert seed != SEEDS.init


def test_shrinking_leaves_statistics_and_frozen_weights_alone() -> None:
    def net(value: float) -> torch.nn.Sequential:
        built = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
        for tensor in built.state_dict().values():
            tensor.fill_(value)
        return built

    model, fresh = net(4), net(2)
    model[2].weight.requires_grad_(False)
    state = shrunk(model, fresh)
    assert state.keys() == model.state_dict().keys()
    kept = ("1.running_mean", "1.running_var", "1.num_batches_tracked", "2.weight")
    for name, value in state.items():
        expected = 4.0 if name in kept else 0.5 * 4 + 0.05 * 2
        assert value.double().numpy() == pytest.approx(expected), name
    assert all(bool((value == 4).all()) for value in model.state_dict().values())  # the old model is left alone


@pytest.mark.parametrize("name", ["resume", "restart"])
def test_segments_draw_from_streams_of_their_own(data, starts, name: str) -> None:
    trial = data.trial(LADDERS[name], replace(PLAN, selector="adaptive-random", metric="random"))
    run_segment(trial, 2)
    subsets = [start["spec"].seeds.subset for start in starts]
    assert subsets[0] == SEEDS.subset
    assert len(set(subsets)) == 3
    assert {start["spec"].seeds.init for start in starts} == {SEEDS.init}


def test_nothing_is_passed_on_where_nothing_was_remembered(data, starts) -> None:
    trial = data.trial(RATIO, replace(PLAN, metric="random"))
    run_segment(trial, 1)
    assert not starts[1]["stream"]["memory"]["seen"].any()


# ---------------------------------------------------------------- rates and mixture


def test_the_rate_is_continuous_over_the_ladder(data, progress) -> None:
    trial = data.trial(RATIO)
    run_segment(trial, 2)
    done = np.concatenate([[0], np.cumsum(trial.ladder.costs)]) / sum(trial.ladder.costs)
    np.testing.assert_allclose(progress, list(pairwise(done)), rtol=FLOAT64)
    assert all(before[1] == after[0] for before, after in pairwise(progress))  # to the last bit: no jump


@pytest.mark.parametrize("name", ["per-level", "restart", "restarts"])
def test_per_level_every_segment_anneals_to_its_end(data, progress, name: str) -> None:
    trial = data.trial(LADDERS[name])
    run_segment(trial, len(trial.ladder.segments) - 1)
    ends = trial.ladder.rungs.epochs
    for begin, end in pairwise([0, *ends]):
        costs = np.array(trial.ladder.costs[begin:end])
        done = np.concatenate([[0], np.cumsum(costs)]) / costs.sum()
        np.testing.assert_allclose(progress[begin:end], list(pairwise(done)), rtol=FLOAT64)


def test_the_rate_by_epochs_counts_those_of_the_whole_ladder(data, progress) -> None:
    trial = data.trial(RATIO, recipe=replace(RECIPE, schedule_unit="epochs"))
    run_segment(trial, 2)
    assert [at for at, _ in progress] == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4])


@pytest.mark.parametrize(("anneal", "whole"), [("continuous", True), ("per-level", False)])
def test_the_mixture_follows_the_same_time(data, anneal: Any, whole: bool) -> None:
    """With a tiny sigma the group is sure: random to 3/8, prediction or gradient to 5/8, then loss or entropy."""
    plan = replace(PLAN, metric="mixture", sigma=1e-3, schedule="static")
    recipe = replace(RECIPE, epochs=6)
    trial = data.trial(replace(RATIO, anneal=anneal), plan, recipe)
    reports = []
    while not trial.done:
        reports.append(trial.run_epoch())
    costs, ends = np.array(trial.ladder.costs), trial.ladder.rungs.epochs
    firsts = {0, *ends[:-1]}
    for epoch, report in enumerate(reports):
        begin = max(first for first in firsts if first <= epoch)
        end = min(last for last in ends if last > epoch)
        if whole:
            time = (costs[:epoch].sum() + costs[epoch] / 2) / costs.sum()
        else:
            time = (epoch - begin + 0.5) / (end - begin)
        groups = ("random",), ("prediction", "gradient"), ("loss", "entropy")
        expected = groups[0 if time < 3 / 8 else 1 if time < 5 / 8 else 2]
        known = epoch > 0  # a later segment's first epoch goes by what the one before it found out
        assert report.metric_used in (expected if known else ("random",)), (epoch, time)
    assert len({report.metric_used for report in reports}) > 1


def test_a_single_metric_stays_what_it_is(data) -> None:
    trial = data.trial(replace(RATIO, levels=2), replace(PLAN, schedule="static"))
    used = [trial.run_epoch().metric_used for _ in range(3)]
    assert used == ["random", "loss", "loss"]  # the last is the first of a segment


# ---------------------------------------------------------------- plans of segments


@pytest.mark.parametrize(
    ("segment", "first_epoch", "warm_start"),
    [
        (Segment(0, 0.2, 5, True), "full", 0.4),
        (Segment(1, 0.2, 5, True), "scheduled", 0.4),
        (Segment(1, 0.2, 5, False), "scheduled", 0.0),
    ],
)
def test_later_segments_need_not_get_to_know_the_rows(segment: Segment, first_epoch: str, warm_start) -> None:
    plan = segment_plan(SubsetPlan(ratio=0.6, first_epoch="full", warm_start=0.4, sigma=0.2), segment)
    assert (plan.ratio, plan.first_epoch, plan.warm_start, plan.sigma) == (0.2, first_epoch, warm_start, 0.2)


@pytest.mark.parametrize("selector", ["full", "infobatch"])
def test_a_selector_without_a_ratio_has_no_ratio_ladder(selector: str) -> None:
    plan = SubsetPlan(selector=selector, ratio=1.0, schedule="static")
    with pytest.raises(OptionsError, match=f"mode='ratio' with selector='{selector}'"):
        plan_ladder(RATIO, plan, 600, 9)
    assert len(plan_ladder(replace(RESTART, levels=3), plan, 600, 9).segments) == 3


def test_the_recipe_has_the_epochs_of_the_ladder(data) -> None:
    ladder = plan_ladder(RATIO, PLAN, data.n, 3)
    spec = TrialSpec("t", "mlp", replace(RECIPE, epochs=4), PLAN, SEEDS, data.classes)
    with pytest.raises(OptionsError, match="epochs=4, its ladder 3: the levels"):
        make_trial(spec, ladder, data.rows, data.test, data.transform, data.service())


# ---------------------------------------------------------------- faults


def test_a_diverged_epoch_is_counted_over_all_segments(data) -> None:
    trial = data.trial(RATIO)
    run_segment(trial, 0)
    spent = trial.samples_consumed
    with torch.no_grad():
        next(trial.model.parameters()).fill_(float("inf"))
    with pytest.raises(NonFiniteLossError):
        trial.run_epoch()
    assert trial.epoch == 2
    assert trial.samples_consumed == spent + trial.ladder.costs[2]


def test_closing_forgets_the_trial(data) -> None:
    client = data.service()
    trial = data.trial(RATIO, client=client)
    run_segment(trial, 1)
    assert client.trials() == ("t",)
    trial.close()
    with pytest.raises(UnknownTrialError):
        client.state("t")
