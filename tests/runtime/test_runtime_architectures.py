"""Searches over architectures without Ray: trials that resume, judges that do not depend on each other."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Split
from raysubset.data.embedded import embedded_mnist
from raysubset.data.split import stratified_split
from raysubset.data.transform import Transform
from raysubset.errors import BudgetError, NonFiniteLossError, OptionsError
from raysubset.models.catalog import build_model
from raysubset.nas.cell201 import Cell201
from raysubset.nas_experiment import CandidateOptions, NasExperiment
from raysubset.runtime.architectures import (
    EpochTrial,
    SearchRows,
    derived_cell,
    final_builder,
    find_space,
    open_network,
    open_supernet,
    probabilities_of,
    supernet_builder,
)
from raysubset.runtime.bilevel import BilevelTrial
from raysubset.runtime.judges import SupernetJudge, TrainingJudge
from raysubset.runtime.sides import FixedSides, first_pool
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.training.bilevel import ArchitectureRecipe
from raysubset.training.recipe import Recipe

KINDS = [
    ("nb201", "spos", 2, 1),
    ("nb201", "gdas", 2, 1),
    pytest.param("nb201", "darts", 2, 1, marks=pytest.mark.slow),
    pytest.param("darts", "darts", 1, 3, marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def rows() -> SearchRows:
    data = embedded_mnist().thin(160).shrunk(3)
    train, validation = stratified_split(data.train.labels, 0.5, 0)
    sources = (ArraySource(data.train.take(train)), ArraySource(data.train.take(validation)))
    return SearchRows(*sources, Transform.fit(data.train.inputs), data.num_classes)


def experiment(
    space: str = "nb201", algo: str = "spos", channels: int = 2, cells: int = 1, **options
) -> NasExperiment:  # type: ignore[no-untyped-def]
    asked = {
        "plan": SubsetPlan(ratio=0.5, metric="loss"),
        "recipe": Recipe(epochs=3, batch_size=32, lr=0.05, gradient_clip=5.0),
        "architecture": ArchitectureRecipe(lr=0.05),
        "candidates": CandidateOptions(batch=40, count=6, population=4),
    }
    return NasExperiment(name="x", space=space, algo=algo, channels=channels, cells=cells, **{**asked, **options})


def train(trial: EpochTrial, epochs: int = 99) -> list[object]:
    reports = []
    while not trial.done and len(reports) < epochs:
        report = trial.run_epoch()
        reports.append(
            (report.epoch, report.samples_consumed, report.ratio, report.metric_used, report.train_loss)
        )
    return reports


@pytest.mark.parametrize(("space", "algo", "channels", "cells"), KINDS)
@pytest.mark.parametrize("split", ["fixed", "refresh"])
def test_the_same_seed_trains_the_same_supernet_also_after_a_checkpoint(
    space: str, algo: str, channels: int, cells: int, split: str, rows: SearchRows
) -> None:
    asked = experiment(space, algo, channels, cells, split=split)
    whole, _ = open_supernet(asked, rows)
    reports = train(whole)
    begun, _ = open_supernet(asked, rows)
    first = train(begun, 1)
    state = copy.deepcopy(begun.state())
    resumed, _ = open_supernet(asked, rows)
    resumed.restore(state)
    assert first + train(resumed) == reports
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    other, _ = open_supernet(replace(asked, seed=1), rows)
    assert train(other) != reports


@pytest.mark.slow
def test_a_search_counts_its_samples_on_both_sides(rows: SearchRows) -> None:
    plan = SubsetPlan(ratio=0.5, metric="loss")
    for algo, pools in (("spos", [80]), ("darts", [80, 80])):
        trial, _ = open_supernet(experiment("nb201", algo, plan=plan), rows)
        expected = sum(int(plan.resolved("full").timetable(n, 3).costs.sum()) for n in pools)
        assert train(trial)[-1][1] == expected  # type: ignore[index]


@pytest.mark.slow
def test_everything_in_every_epoch_is_plain_training(rows: SearchRows) -> None:
    full = train(open_supernet(experiment(plan=SubsetPlan.full()), rows)[0])
    static = train(open_supernet(experiment(plan=SubsetPlan(ratio=1.0, schedule="static")), rows)[0])
    assert [report[4] for report in full] == [report[4] for report in static]  # type: ignore[index]


@pytest.mark.parametrize("algo", ["darts", "gdas"])
def test_alphas_move_and_name_a_cell(algo: str, rows: SearchRows) -> None:
    trial, _ = open_supernet(experiment("nb201", algo), rows)
    before = np.array(probabilities_of(trial.model)["cell"])
    train(trial)
    after = np.array(probabilities_of(trial.model)["cell"])
    assert np.abs(after - before).max() > 0.01
    assert Cell201.parse(derived_cell(trial.model)).ops == tuple(after.argmax(axis=1))


@pytest.mark.parametrize(
    "plan",
    [
        SubsetPlan(selector="adaptive-random", ratio=0.5),
        SubsetPlan(selector="infobatch", ratio=1.0),
        SubsetPlan(selector="craig", ratio=0.5, select_every=2),
        SubsetPlan(selector="gradmatch", ratio=0.5, select_every=2, warm_start=0.3),
        SubsetPlan(selector="proxy-data-p1", ratio=0.5, scout_model="lenet", scout_epochs=1),
        SubsetPlan(selector="facility-location", ratio=0.5, embedding="pca"),
    ],
    ids=lambda plan: plan.name,
)
@pytest.mark.parametrize("algo", ["spos", "darts"])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::raysubset.errors.SlowSelectorWarning")
def test_any_plan_chooses_for_a_supernet(plan: SubsetPlan, algo: str) -> None:
    data = embedded_mnist().thin(160)
    train_rows, validation = stratified_split(data.train.labels, 0.5, 0)
    sources = (ArraySource(data.train.take(train_rows)), ArraySource(data.train.take(validation)))
    whole = SearchRows(*sources, Transform.fit(data.train.inputs), data.num_classes)
    trial, evidence = open_supernet(experiment("nb201", algo, plan=plan), whole)
    reports = train(trial)
    assert all(math.isfinite(report[4]) for report in reports)  # type: ignore[index]
    assert (evidence > 0) == (plan.habits.evidence == "scout")


def test_rows_chosen_inside_batches_do_not_go_with_two_sides(rows: SearchRows) -> None:
    with pytest.raises(OptionsError, match="inside each batch"):
        open_supernet(
            experiment("nb201", "darts", plan=SubsetPlan(selector="selective-backprop", ratio=0.5)), rows
        )


def test_a_ratio_that_empties_a_side_is_refused(rows: SearchRows) -> None:
    with pytest.raises(BudgetError, match="leaves one of them without a row"):
        open_supernet(experiment("nb201", "darts", plan=SubsetPlan(ratio=0.001)), rows)


def test_a_supernet_that_diverges_says_so(rows: SearchRows) -> None:
    recipe = Recipe(epochs=3, batch_size=32, lr=1e30)
    with pytest.raises(NonFiniteLossError):
        train(open_supernet(experiment("nb201", "darts", recipe=recipe), rows)[0])


# ---------------------------------------------------------------------- judges


@pytest.fixture(scope="module")
def weights(rows: SearchRows) -> dict[str, torch.Tensor]:
    builder = supernet_builder(experiment())
    model = build_model(builder, num_classes=rows.num_classes, input_shape=(1, 9, 9), seed=3)
    return dict(model.state_dict())


def cells(count: int) -> list[str]:
    return [str(find_space("nb201").draw(generator(0, number))) for number in range(count)]


@pytest.mark.parametrize("statistics", ["batch", "recalibrated"])
def test_a_judgement_depends_on_the_cell_alone(
    statistics: str, rows: SearchRows, weights: dict[str, torch.Tensor]
) -> None:
    asked = experiment(candidates=CandidateOptions(batch=40, statistics=statistics, recalibration=2))  # type: ignore[arg-type]
    named = cells(4)
    forward = SupernetJudge(asked, rows, weights).judge(named)
    backward = SupernetJudge(asked, rows, weights).judge(named[::-1])[::-1]
    assert [(one.cell, one.score, one.loss) for one in forward] == [
        (one.cell, one.score, one.loss) for one in backward
    ]
    assert all(one.score == one.accuracy for one in forward)
    assert len({one.loss for one in forward}) == 4


def test_the_two_kinds_of_statistics_judge_differently(rows: SearchRows, weights: dict[str, torch.Tensor]) -> None:
    losses = []
    for statistics in ("batch", "recalibrated"):
        asked = experiment(candidates=CandidateOptions(batch=40, statistics=statistics))  # type: ignore[arg-type]
        losses.append(SupernetJudge(asked, rows, weights).judge(cells(1))[0].loss)
    assert losses[0] != losses[1]


def test_batch_statistics_do_not_depend_on_how_the_rows_are_sorted(
    rows: SearchRows, weights: dict[str, torch.Tensor]
) -> None:
    """Judged class by class, every batch would be of one class and normalised by that class alone."""
    order = np.argsort(rows.validation.labels, kind="stable")
    inputs, labels = rows.validation.rows(order)
    by_class = replace(rows, validation=ArraySource(Split(inputs, labels)))
    asked = experiment(candidates=CandidateOptions(batch=8))
    judge = SupernetJudge(asked, by_class, weights)
    assert all(len(np.unique(batch.targets.numpy())) > 1 for batch in judge._batches)


def test_a_cell_without_a_path_scores_chance(rows: SearchRows, weights: dict[str, torch.Tensor]) -> None:
    (found,) = SupernetJudge(experiment(), rows, weights).judge(
        ["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"]
    )
    counts = np.bincount(rows.validation.labels, minlength=10) / len(rows.validation)
    assert found.accuracy in counts
    assert math.isfinite(found.loss)


def test_judging_rows_are_so_many_and_score_may_be_the_loss(
    rows: SearchRows, weights: dict[str, torch.Tensor]
) -> None:
    asked = experiment(candidates=CandidateOptions(batch=40, rows=24, score="loss"))
    judge = SupernetJudge(asked, rows, weights)
    assert sum(len(batch) for batch in judge._batches) == 24
    (found,) = judge.judge(cells(1))
    assert found.score == -found.loss


@pytest.mark.parametrize("space", ["nb201", "nb101", "darts"])
def test_cells_are_judged_by_a_short_training_of_their_own(space: str, rows: SearchRows) -> None:
    asked = experiment(space, "random", channels=4, recipe=Recipe(epochs=1, batch_size=32, lr=0.05))
    cell = str(find_space(space).draw(generator(1)))
    found, again = (TrainingJudge(asked, rows).judge([cell])[0] for _ in range(2))
    assert replace(found, seconds=0) == replace(again, seconds=0)
    assert found.samples == int(asked.plan.resolved("full").timetable(len(rows.train), 1).costs.sum())


def test_a_cell_whose_training_diverges_is_the_worst(rows: SearchRows) -> None:
    asked = experiment("nb201", "random", recipe=Recipe(epochs=3, batch_size=8, lr=1e30))
    (found,) = TrainingJudge(asked, rows).judge([str(Cell201((3, 3, 3, 3, 3, 3)))])
    assert found.score == -math.inf


@pytest.mark.slow
def test_a_genotype_is_trained_with_auxiliary_head_and_drop_path(rows: SearchRows) -> None:
    asked = experiment("darts", "darts", cells=3, retrain_epochs=2)
    genotype = str(find_space("darts").draw(generator(2)))
    recipe = Recipe(epochs=2, batch_size=32, lr=0.02, cutout=4)
    trial = open_network(asked, final_builder(genotype, 4, 3), recipe, SubsetPlan.full(), rows)
    heads = [name for name, _ in trial.model.named_parameters() if name.startswith("auxiliary")]
    before = copy.deepcopy(trial.model.state_dict())
    train(trial)
    assert heads
    assert any(not torch.equal(before[name], trial.model.state_dict()[name]) for name in heads)
    assert trial.model._dropping == pytest.approx(0.1)  # 0.2 at the end, half of it in the second of two epochs
    assert 0 <= trial.evaluate().accuracy <= 1


# ---------------------------------------------------------------------- what was chosen is counted


def counting(trial: EpochTrial, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Return a list that fills with the rows of each subset, taken where they are handed out."""
    if isinstance(trial, BilevelTrial):
        sides = trial._sides
        service = sides._services[0] if isinstance(sides, FixedSides) else sides._service
    else:
        service = trial._client
    handed: list[np.ndarray] = []
    given = service.next

    def seen(name: str, epoch: int):  # type: ignore[no-untyped-def]
        subset = given(name, epoch)
        handed.append(subset.selection.indices)
        return subset

    monkeypatch.setattr(service, "next", seen)
    return handed


@pytest.mark.parametrize(("algo", "split"), [("spos", "fixed"), ("gdas", "fixed"), ("gdas", "refresh")])
def test_a_supernets_state_counts_the_rows_it_was_handed_over_an_interruption_too(
    rows: SearchRows, algo: str, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = experiment("nb201", algo, split=split)
    trial, _ = open_supernet(asked, rows)
    handed = counting(trial, monkeypatch)
    trial.run_epoch()
    halfway = copy.deepcopy(trial.state())
    later, _ = open_supernet(asked, rows)
    later.restore(halfway)
    more = counting(later, monkeypatch)
    while not trial.done:
        trial.run_epoch()
        later.run_epoch()
    assert [one.tolist() for one in handed[1:]] == [one.tolist() for one in more]
    train, validation = rows.train.labels, rows.validation.labels
    labels = np.concatenate([train, validation]) if split == "refresh" else train
    assert np.array_equal(first_pool(split, rows.train, rows.validation).labels, labels)
    times = np.bincount(np.concatenate(handed), minlength=len(labels))
    classes = [np.bincount(labels[one], minlength=10).tolist() for one in handed]
    for made in (trial, later):
        counted = made.state()["counted"]
        assert counted["times"].tolist() == times.tolist()
        assert counted["epochs"].tolist() == [0, 1, 2]
        assert counted["by_class"].tolist() == classes
        assert counted["subsets"].tolist() == [1, 1, 1]
        assert np.flatnonzero(counted["rank_weight"]).tolist() == np.flatnonzero(times).tolist()
    first, second = (made.state()["counted"] for made in (trial, later))
    np.testing.assert_allclose(first["rank_sum"], second["rank_sum"], rtol=1e-5)


def test_a_state_of_before_counts_from_where_it_is(rows: SearchRows) -> None:
    trial, _ = open_supernet(experiment(), rows)
    trial.run_epoch()
    state = trial.state()
    del state["counted"]
    trial.restore(state)
    trial.run_epoch()
    assert trial.state()["counted"]["epochs"].tolist() == [1]
