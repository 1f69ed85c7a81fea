"""Searches on numbers to be predicted: RMSE and R2 against scikit-learn's, and what needs classes is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score

import raysubset as rs
from raysubset.cli.defaults import run_label
from raysubset.data.batches import ArraySource
from raysubset.data.split import judging_split, stratified_split
from raysubset.data.transform import Transform
from raysubset.errors import DataError, OptionsError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.pairing import TrialSeeds
from raysubset.models.head import last_linear
from raysubset.proxy.service import SelectorService
from raysubset.proxy.signals import SignalRecorder
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.run_info import RunInfo
from raysubset.report.selections import read_selections
from raysubset.report.tables import summary_rows
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.selection.protocol import Context
from raysubset.tuning.comparing import create_comparison
from raysubset.tuning.progress import Silent
from raysubset.tuning.ranking import rank_trials
from raysubset.tuning.run import create_run
from raysubset.tuning.task import task_words
from raysubset.tuning.watching import fifths
from raysubset.tuning.ways import grid
from tests.report.synthetic import record

ROWS, WIDTH = 160, 6
SPACE = {"lr": rs.loguniform(1e-3, 3e-2)}


def line(rows: int = ROWS) -> rs.Dataset:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((rows + 60, WIDTH))
    targets = inputs @ np.linspace(-1, 1, WIDTH) + 0.3 * rng.standard_normal(rows + 60)
    return rs.Dataset.from_arrays(inputs[:rows], targets[:rows], test=(inputs[rows:], targets[rows:]), name="line")


@pytest.mark.ray
def test_a_search_on_numbers_is_judged_retrained_and_tested(tmp_path: Path) -> None:
    data = line()
    result = rs.tune(
        model="mlp",
        data=data,
        space=SPACE,
        plan=rs.SubsetPlan(ratio=0.4),
        recipe=rs.Recipe(epochs=4, batch_size=16),
        search="random",
        trials=3,
        retrain=2,
        name="line",
        root=tmp_path,
        progress=False,
    )
    found, network = result.retrain(), result.load_model()
    assert last_linear(network).out_features == 1
    with torch.no_grad():
        predicted = network(torch.from_numpy(data.test.inputs))[:, 0].double().numpy()
    targets = data.test.labels.astype(np.float64)
    assert found.test_rmse == pytest.approx(math.sqrt(mean_squared_error(targets, predicted)), rel=1e-6)
    assert found.test_r2 == pytest.approx(r2_score(targets, predicted), rel=1e-5)
    assert found.test_r2 > 0.5  # it has learnt
    assert (found.val_accuracy, found.test_accuracy) == (None, None)
    rows = read_records(tmp_path / "line" / RECORDS_FILE)
    for row in rows.rows:
        assert row.val_accuracy is None
        assert row.metric_used in ("random", "gradient", "loss", "full")
        if row.val_loss is not None:
            assert row.val_rmse == pytest.approx(math.sqrt(row.val_loss))
    winner = min((row for row in rows.stage("retrain") if row.status == "done"), key=lambda row: row.val_loss)
    assert (found.val_rmse, found.val_r2) == (winner.val_rmse, winner.val_r2)
    assert RunInfo.read(tmp_path / "line").regression
    said = dict(summary_rows(tmp_path / "line"))
    assert said["test RMSE"] == f"{found.test_rmse:.4g}"
    assert said["test R2"] == f"{found.test_r2:.4g}"
    page = result.report().read_text(encoding="utf-8")
    assert f"Test RMSE {found.test_rmse:.4g}, R2 {found.test_r2:.4g}, on 60 test rows" in page
    assert "accuracy" not in page
    chosen = read_selections(tmp_path / "line")
    assert len(chosen.classes) == 5
    assert "fifths of them" in page


# ---------------------------------------------------------------------- one trial, no Ray


def trial(data: rs.Dataset, plan: rs.SubsetPlan) -> Trial:
    source = ArraySource(data.train)
    spec = TrialSpec(
        "t", "mlp", rs.Recipe(epochs=6, lr=0.02, batch_size=16), plan, TrialSeeds(0, 0), num_classes=0
    )
    service = SelectorService(Context(len(source)))
    return Trial(spec, source, source, Transform.fit(data.train.inputs), service)


@pytest.mark.parametrize("metric", ["mixture", "loss", "gradient", "random", "adaptive"])
def test_a_trial_learns_numbers_by_every_metric_it_may(metric: str) -> None:
    data = line()
    made = trial(data, rs.SubsetPlan(metric=metric, ratio=0.4, first_epoch="full").for_targets())
    before = made.evaluate().loss
    while not made.done:
        assert made.run_epoch().metric_used in ("full", "random", "gradient", "loss")
    assert made.evaluate().loss < 0.6 * before


def test_what_a_trial_remembers_is_the_squared_error_and_its_last_layers_gradient() -> None:
    data = line(40)
    network = torch.nn.Sequential(torch.nn.Linear(WIDTH, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1)).train()
    recorder = SignalRecorder(network)
    inputs, targets = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    outputs = network(inputs)
    losses = (outputs[:, 0] - targets).square()
    recorder.observe(np.arange(40), outputs.detach(), targets, losses.detach())
    signals = recorder.collect()
    np.testing.assert_allclose(signals.loss, losses.detach().numpy(), rtol=1e-6)
    for row in range(40):
        (gradient,) = torch.autograd.grad(losses[row], network[-1].weight, retain_graph=True)
        assert signals.gradient[row] == pytest.approx(float(gradient.norm()), rel=1e-4)


# ---------------------------------------------------------------------- what is refused


def asked(name: str = "r", **changes) -> Experiment:
    options = {"plan": rs.SubsetPlan(ratio=0.4), "recipe": rs.Recipe(epochs=9, batch_size=8), "space": SPACE}
    return Experiment(name=name, model="mlp", **(options | changes))


def create(folder: Path, data: rs.Dataset, **changes):
    return create_run(asked(**changes), data, folder, Silent(), command="", settings={})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"plan": rs.SubsetPlan(metric="entropy")},
            "metric='entropy' is of class .*gradient and loss are",
        ),
        ({"plan": rs.SubsetPlan(metric="prediction")}, "metric='prediction' is of class probabilities"),
        ({"plan": rs.SubsetPlan(metrics=("loss", "entropy"))}, "entropy are of class probabilities; random"),
        ({"plan": rs.SubsetPlan(per_class=True)}, "per_class=True keeps class proportions.*need False"),
        (
            {"plan": rs.SubsetPlan(selector="craig")},
            "selector='craig' looks at class.*infobatch and adaptive",
        ),
        ({"plan": rs.SubsetPlan(selector="el2n")}, "selector='el2n' looks at class"),
        ({"search": SearchOptions(score="accuracy")}, "score='accuracy' counts classes.*need 'loss'"),
        ({"recipe": rs.Recipe(label_smoothing=0.1)}, "label_smoothing spreads a label.*need 0"),
        ({"space": {"label_smoothing": rs.uniform(0.0, 0.2)}}, "label_smoothing spreads a label"),
    ],
)
def test_what_needs_classes_is_refused_before_anything_is_written(tmp_path, changes, words) -> None:
    with pytest.raises(OptionsError, match=words):
        create(tmp_path, line(), **changes)
    assert not any(tmp_path.iterdir())


def test_a_way_that_needs_classes_is_refused_by_its_name(tmp_path) -> None:
    entrants = grid(["asp-entropy"], [0.3], ["static"], {})
    with pytest.raises(OptionsError, match="asp-entropy-static-r0.3: .*metric='entropy' is of class"):
        create_comparison(asked(), line(), tmp_path, Silent(), entrants, [0], command="")


def test_targets_that_are_not_finite_are_refused() -> None:
    targets = np.array([0.0, 1.0, math.nan, 2.0])
    with pytest.raises(DataError, match="target of row 2 is not finite"):
        rs.Dataset.from_arrays(np.zeros((4, 2)), targets)


def test_who_judges_classifiers_alone_says_what_takes_numbers() -> None:
    with pytest.raises(DataError, match=r"judges classifiers.*raysubset\.tune"):
        stratified_split(line().train.labels, 0.1, 0)


def test_the_mixture_of_numbers_is_of_three_metrics_and_says_so(tmp_path) -> None:
    run = create(tmp_path, line())
    assert run.experiment.plan.metrics == ("random", "gradient", "loss")
    assert "mixture of random, gradient, loss" in task_words(run.experiment, run.data)[0]
    kept = RunInfo.read(tmp_path / "r")
    assert (kept.task, kept.score, kept.unit) == ("regression", "loss", "squared error")


def test_the_bundled_regression_is_what_was_asked_for_and_names_its_units(tmp_path) -> None:
    data = rs.load_dataset("diabetes")
    assert run_label(data, "diabetes") == "diabetes"
    info = create(tmp_path, data).info
    assert info.dataset_note == ""  # a note on the page means that other data were taken
    assert "1 is 77.0 points of progression" in info.dataset_source


def test_a_way_of_a_study_chooses_by_what_numbers_have(tmp_path) -> None:
    entrants = grid(["asp-mixture"], [0.3], ["static"], {})
    study = create_comparison(asked(), line(), tmp_path, Silent(), entrants, [0], command="")
    assert study.comparison.measure == "R2"
    assert study.plans["asp-mixture-static-r0.3"].metrics == ("random", "gradient", "loss")


# ---------------------------------------------------------------------- splits, groups, ranking


def test_numbers_are_split_by_draw_alone() -> None:
    targets = line().train.labels
    train, validation = judging_split(targets, 0.25, 3)
    assert len(validation) == ROWS // 4
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(ROWS))
    assert np.array_equal(judging_split(targets + 5, 0.25, 3)[1], validation)
    assert not np.array_equal(judging_split(targets, 0.25, 4)[1], validation)


def test_fifths_are_of_equal_size_in_order_and_named_by_their_ends() -> None:
    targets = np.random.default_rng(0).permutation(100).astype(np.float32)
    groups, names = fifths(targets)
    assert np.array_equal(groups, targets.astype(int) // 20)
    assert names == ("0 to 19", "20 to 39", "40 to 59", "60 to 79", "80 to 99")


@pytest.mark.parametrize(
    ("targets", "count"), [([1.0] * 9, 1), ([0.0] * 90 + [1.0] * 10, 2), ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], 5)]
)
def test_fifths_of_equal_numbers_leave_no_group_empty(targets, count) -> None:
    groups, names = fifths(np.array(targets, dtype=np.float32))
    assert sorted(set(groups.tolist())) == list(range(count))
    assert len(names) == count


def test_trials_without_accuracies_are_ranked_by_their_loss() -> None:
    scores = {"a": 0.9, "b": 0.4, "c": 0.6}
    rows = [
        record(name, 1, val_loss=loss, val_accuracy=None, val_rmse=math.sqrt(loss), val_r2=1 - loss)
        for name, loss in scores.items()
    ]
    ranked = rank_trials(rows, "loss")
    assert [one.trial for one in ranked] == ["b", "c", "a"]
    assert (ranked[0].val_rmse, ranked[0].val_r2) == (pytest.approx(0.4**0.5), pytest.approx(0.6))
    assert math.isnan(ranked[0].val_accuracy)
