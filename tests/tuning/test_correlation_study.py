"""A study of rank correlation with made-up stages: cells, arithmetic, interruptions, calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from raysubset.data.dataset import Dataset
from raysubset.errors import BudgetError, InterruptedRunError, OptionsError, RecordError, SearchSpaceError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.space import choice, loguniform, uniform
from raysubset.report.html import write_report
from raysubset.report.rank_cells import STUDY_FILE, Calibration, Cell, Study, read_study
from raysubset.report.rank_gains import pairing_gains, way_gains
from raysubset.report.rank_study import calibration_rows, rank_rows, recommended
from raysubset.report.rank_tables import study_tables
from raysubset.report.rank_verdict import calibration_words, study_against, study_facts, study_unmeasured
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.run_info import StageInfo
from raysubset.report.tables import summary_rows
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.cells import CellPlan, StudyOptions, cell_of, draw_points, is_complete
from raysubset.tuning.correlation import CorrelationStudy, create_study, open_study
from raysubset.tuning.opening import Drive
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import open_run
from raysubset.tuning.stage import StageOutcome
from raysubset.types import TrialRecord

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests

SPACE = {"lr": loguniform(1e-3, 1e-1), "momentum": uniform(0.5, 0.95)}
SESSION: Any = SimpleNamespace(pool=None, slots=None)
ASKED = Calibration(threshold=0.6, score="loss", pairing="both", by="lower")


def experiment(**changes: Any) -> Experiment:
    parts: dict[str, Any] = {
        "name": "c",
        "model": "mlp",
        "plan": SubsetPlan(selector="adaptive-random"),
        "recipe": Recipe(epochs=2, batch_size=32, lr=0.05),
        "space": SPACE,
        "search": SearchOptions(scheduler="none"),
    }
    return Experiment(**{**parts, **changes})


class FakeStages:
    """Stages that train nothing: losses are a configuration's quality plus noise that falls with the ratio."""

    def __init__(
        self, noise: float = 0.3, fails: tuple[str, ...] = (), dies_in: str = "", asp_noise: float = 1.0
    ) -> None:
        self.asp_noise = asp_noise  # times the noise of the others
        self.noise, self.fails, self.dies_in = noise, fails, dies_in
        self.called: list[str] = []
        self.given: dict[str, dict[str, Any]] = {}

    def __call__(self, stage: str, experiment: Experiment, pool: Any, slots: Any, folder: Path, writer: Any,
                 listener: Any, *, drive: Drive, elapsed_s: float, **_: Any) -> StageOutcome:  # fmt: skip
        self.called.append(stage)
        points = drive.points
        self.given[stage] = {"experiment": experiment, "points": points, "elapsed_s": elapsed_s}
        (folder / "tune" / stage).mkdir(parents=True, exist_ok=True)
        spread = self.noise * (1 - experiment.plan.ratio) ** 2 + 0.02
        spread *= self.asp_noise if experiment.plan.selector == "asp" else 1.0
        for number, point in enumerate(points):
            if stage == self.dies_in and number == 1:
                return StageOutcome(StageInfo(1.0, 0, 1, False), True, {})
            loss = abs(math.log10(point["lr"]) + 2) + spread * self._draw(experiment, number)
            for epoch in (1, 2):
                self._report(writer, stage, experiment, f"{number:04d}", point, epoch, loss)
        return StageOutcome(StageInfo(1.0, 0, len(points), True), False, {})

    @staticmethod
    def _draw(experiment: Experiment, number: int) -> float:
        return float(generator(experiment.seed, number, experiment.search.pairing).normal())

    def _report(self, writer: Any, stage: str, experiment: Experiment, trial: str, point: Any, epoch: int,
                loss: float) -> None:  # fmt: skip
        failed = f"{stage}/{trial}" in self.fails
        early = loss + 0.1 * float(generator(experiment.seed, trial, "early").normal())
        judged = epoch == 2 or experiment.search.evaluate == "epochs"
        value = (loss if epoch == 2 else early) if judged and not failed else None
        writer.append(
            TrialRecord(
                stage=stage, trial=trial, epoch=epoch, epochs=2, config=dict(point),
                status="failed" if failed and epoch == 2 else "done" if epoch == 2 else "running",
                samples_consumed=round(540 * experiment.plan.ratio) * epoch, equiv_epochs=1.0,
                ratio=experiment.plan.ratio, metric_used="random", train_loss=1.0, train_s=1.0, select_s=0.0,
                eval_s=0.0, finished_s=float(epoch), seed=experiment.seed, val_loss=value,
                val_accuracy=None if value is None else round(math.exp(-abs(value)), 1),
            )
        )  # fmt: skip


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeStages]:
    def use(**changes: Any) -> FakeStages:
        made = FakeStages(**changes)
        monkeypatch.setattr("raysubset.tuning.correlation.run_stage", made)
        return made

    return use


def study_in(root: Path, digits: Dataset, base: Experiment | None = None, **changes: Any) -> CorrelationStudy:
    options = StudyOptions(**{"configs": 8, "ratios": (0.2, 0.1), "repeats": 2, **changes})
    return create_study(base or experiment(), digits, root, Silent(), options, command="raysubset corr")


# ---------------------------------------------------------------------- cells


def test_cells_have_the_seeds_that_a_comparison_needs(digits: Dataset, tmp_path: Path) -> None:
    study = study_in(tmp_path, digits)
    plans = list(study.options.plans())
    assert [plan.name for plan in plans[:6]] == [
        "full-0", "full-1", "r0.1-none-0", "r0.1-subset-0", "r0.1-both-0", "r0.1-none-1",
    ]  # fmt: skip
    assert len(plans) == 2 + 2 * 2 * 3
    made = {plan.name: plan.experiment(study.run.experiment) for plan in plans}
    seeds = {name: variant.seed for name, variant in made.items()}
    assert seeds["r0.1-none-0"] == seeds["r0.1-both-0"] == seeds["r0.2-subset-0"]
    assert len({seeds["full-0"], seeds["full-1"], seeds["r0.1-both-0"], seeds["r0.1-both-1"]}) == 4
    assert study.run.experiment.seed not in seeds.values()
    assert {v.search.scheduler for v in made.values()} == {"none"}
    assert [made[n].search.pairing for n in ("r0.1-none-0", "r0.1-subset-0", "full-0")] == [
        "none",
        "subset",
        "both",
    ]
    assert (made["full-0"].plan, made["r0.2-both-1"].plan.ratio) == (SubsetPlan.full(), 0.2)
    assert made["r0.2-both-1"].plan.first_epoch == "scheduled"


def test_configurations_are_distinct_and_more_of_them_begin_alike() -> None:
    assert draw_points(SPACE, 5, 0) == draw_points(SPACE, 9, 0)[:5]
    assert draw_points(SPACE, 5, 0) != draw_points(SPACE, 5, 1)
    few = {"batch_size": choice([16, 32, 64])}
    assert sorted(point["batch_size"] for point in draw_points(few, 3, 0)) == [16, 32, 64]
    with pytest.raises(SearchSpaceError, match="configs=4, but 400 draws from the space gave 3 distinct"):
        draw_points(few, 4, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"configs": 1}, "configs=1, need at least 2"),
        ({"repeats": 0}, "repeats=0"),
        ({"full_seeds": 0}, "full_seeds=0"),
        ({"ratios": (0.1, 1.5)}, "ratio 1.5, need 0 < ratio <= 1"),
        ({"ratios": (0.1, 0.1)}, "each once"),
        ({"ratios": (0.1, 0.1000001)}, "each once"),  # they would share their stages
        ({"ratios": ()}, "at least one"),
        ({"pairings": ("none", "all")}, "pairing 'all', need one of both, subset, none"),
        ({"calibration": ASKED}, "a calibration has one"),
        ({"pairings": ("both",), "calibration": Calibration(threshold=2, score="f1", pairing="both", by="mean")},
         "tau=2.*by='mean'.*score='f1'"),
    ],
)  # fmt: skip
def test_options_say_what_is_wrong(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        StudyOptions(**options)


def test_a_study_that_does_not_fit_leaves_nothing_behind(digits: Dataset, tmp_path: Path) -> None:
    exact = SubsetPlan(selector="adaptive-random", budget="exact")
    with pytest.raises(BudgetError, match=r"0\.0005"):
        study_in(tmp_path, digits, experiment(plan=exact), ratios=(0.2, 0.0005))
    with pytest.raises(SearchSpaceError):
        study_in(tmp_path, digits, experiment(space={"batch_size": choice([16, 32])}))
    assert list(tmp_path.iterdir()) == []


def test_the_prediction_is_what_is_consumed(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages()
    study = study_in(tmp_path, digits, ratios=(0.1,), pairings=("both",), repeats=1)
    full = 8 * 2 * study.run.info.n_train
    subset = SubsetPlan(selector="adaptive-random", ratio=0.1, first_epoch="scheduled")
    per_trial = int(subset.timetable(study.run.info.n_train, 2).sizes.sum())
    assert study.planned_samples == 2 * full + 8 * per_trial
    assert sum(cell.samples for cell in study.measure(SESSION).full) == 2 * full


# ---------------------------------------------------------------------- arithmetic


def vectors(study: CorrelationStudy, score: str) -> dict[str, np.ndarray]:
    """Every cell's scores, higher is better, straight from the records."""
    found: dict[str, dict[str, float]] = {}
    for row in read_records(study.run.folder / RECORDS_FILE).rows:
        if row.status in ("done", "failed"):
            value = row.val_loss if score == "loss" else row.val_accuracy
            found.setdefault(row.stage, {})[row.trial] = -math.inf if value is None else value
    sign = -1 if score == "loss" else 1
    return {
        stage: np.array([values[t] if values[t] == -math.inf else sign * values[t] for t in sorted(values)])
        for stage, values in found.items()
    }


def test_rows_are_means_over_repeats_and_seeds(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(fails=("r0.1-both-0/0003", "full-1/0003"))
    study = study_in(tmp_path, digits, configs=10, repeats=3, pairings=("none", "both"), ratios=(0.1,))
    measured = study.measure(SESSION)
    rows = {(r.ratio, r.pairing, r.score, r.reference): r for r in rank_rows(measured) if not r.full}
    assert len(rows) == 2 * 2 * 2
    by = {score: vectors(study, score) for score in ("loss", "accuracy")}
    for (ratio, pairing, score, reference), row in rows.items():
        fulls = [by[reference][f"full-{seed}"] for seed in (0, 1)]
        proxies = [by[score][f"r{ratio:g}-{pairing}-{repeat}"] for repeat in (0, 1, 2)]
        taus = [np.mean([stats.kendalltau(x, y).statistic for y in fulls]) for x in proxies]
        assert row.tau == pytest.approx(np.mean(taus), abs=1e-9)
        low, high = stats.t.interval(0.95, 2, np.mean(taus), stats.sem(taus))
        assert (row.over_repeats.low, row.over_repeats.high) == (pytest.approx(low), pytest.approx(high))
        assert row.over_configs.low <= row.tau <= row.over_configs.high
        ranked = [np.mean([stats.spearmanr(x, y).statistic for y in fulls]) for x in proxies]
        assert row.spearman == pytest.approx(np.mean(ranked), abs=1e-9)
        mean_full = np.mean(fulls, axis=0)
        regrets = [mean_full.max() - mean_full[x == x.max()].mean() for x in proxies]
        assert row.regret == pytest.approx(np.mean(regrets), abs=1e-9)
        assert row.cost == pytest.approx(round(540 * ratio) / 540)
    ceilings = {(r.score, r.reference): r.tau for r in rank_rows(measured) if r.full}
    for (score, reference), tau in ceilings.items():
        pairs = [(by[score]["full-0"], by[reference]["full-1"]), (by[score]["full-1"], by[reference]["full-0"])]
        assert tau == pytest.approx(np.mean([stats.kendalltau(x, y).statistic for x, y in pairs]), abs=1e-9)


def test_a_row_s_interval_resamples_configurations_in_all_its_cells_alike(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    stages()
    study = study_in(tmp_path, digits, configs=7, ratios=(0.1,), pairings=("none", "both"), full_seeds=1)
    measured = study.measure(SESSION)
    by = vectors(study, "loss")
    draws = generator(0, 7, "bootstrap").integers(0, 7, size=(1000, 7))

    def order(scores: np.ndarray) -> np.ndarray:
        return np.sign(scores[:, None] - scores)

    def tau(x: np.ndarray, y: np.ndarray) -> float:
        a, b = order(x), order(y)
        return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())

    def resampled(pairing: str) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.array(
                [np.mean([tau(by[f"r0.1-{pairing}-{r}"][d], by["full-0"][d]) for r in (0, 1)]) for d in draws]
            )

    both, none = resampled("both"), resampled("none")
    row = next(r for r in rank_rows(measured) if (r.pairing, r.score, r.reference) == ("both", "loss", "loss"))
    assert (row.over_configs.low, row.over_configs.high) == pytest.approx(
        tuple(np.nanquantile(both, (0.025, 0.975)))
    )
    gain = next(g for g in pairing_gains(measured) if (g.score, g.reference) == ("loss", "loss"))
    expected = np.nanquantile(both - none, (0.025, 0.975))
    assert (gain.over_configs.low, gain.over_configs.high) == pytest.approx(tuple(expected))


def test_gains_are_paired_by_repeat(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages()
    study = study_in(tmp_path, digits, ratios=(0.1,))
    measured = study.measure(SESSION)
    by = vectors(study, "loss")
    taus = {(r.pairing, r.score, r.reference): r.tau for r in rank_rows(measured) if not r.full}
    found = pairing_gains(measured)
    assert {gain.pairing for gain in found} == {"subset", "both"}
    for gain in found:
        key = gain.score, gain.reference
        assert gain.gain == pytest.approx(taus[(gain.pairing, *key)] - taus[("none", *key)], abs=1e-9)
        if key == ("loss", "loss"):
            first, second = (
                np.mean([stats.kendalltau(by[f"r0.1-{p}-{repeat}"], by[f"full-{f}"]).statistic for f in (0, 1)])
                - np.mean([stats.kendalltau(by[f"r0.1-none-{repeat}"], by[f"full-{f}"]).statistic for f in (0, 1)])
                for p, repeat in ((gain.pairing, 0), (gain.pairing, 1))
            )
            half = 12.706204736 * abs(first - second) / 2  # t(1), two-sided 95 %, from a table
            assert gain.over_repeats.high - gain.gain == pytest.approx(half)
    said = " ".join(study_against(measured))
    assert said.count("ranks worse than none") == sum(gain.gain < 0 for gain in found)


def test_ways_are_compared_on_the_same_configurations_and_draws(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    made = stages(asp_noise=8.0)
    ways = ("adaptive-random", "asp-mixture")
    study = study_in(tmp_path, digits, ratios=(0.1, 0.3), pairings=("both",), ways=ways, configs=12)
    measured = study.measure(SESSION)
    assert made.called[:2] == ["full-0", "full-1"]
    assert set(made.called[2:]) == {f"{w}-r{r}-both-{k}" for w in ways for r in (0.1, 0.3) for k in (0, 1)}
    base, other = (made.given[f"{way}-r0.3-both-1"]["experiment"] for way in ways)
    assert (base.seed, base.plan.ratio, base.plan.schedule) == (other.seed, 0.3, other.plan.schedule)
    assert (other.plan.metric, base.plan.selector) == ("mixture", "adaptive-random")
    costs = [plan.timetable(540, 2).costs.sum() for plan in (base.plan, other.plan)]
    assert costs[0] == costs[1]  # equal samples
    by = vectors(study, "loss")

    def tau(way: str, ratio: float, repeat: int) -> float:
        mine = by[f"{way}-r{ratio}-both-{repeat}"]
        return float(np.mean([stats.kendalltau(mine, by[f"full-{f}"]).statistic for f in (0, 1)]))

    gains = {g.ratio: g for g in way_gains(measured) if (g.score, g.reference) == ("loss", "loss")}
    assert set(gains) == {0.1, 0.3}
    for ratio, gain in gains.items():
        first, second = (tau("asp-mixture", ratio, k) - tau("adaptive-random", ratio, k) for k in (0, 1))
        assert (gain.way, gain.over, gain.gain) == (
            "asp-mixture",
            "adaptive-random",
            pytest.approx((first + second) / 2),
        )
        half = 12.706204736 * abs(first - second) / 2  # t(1), two-sided 95 %, from a table
        if gain.over_repeats is None:  # both repeats say the same, which is no certainty
            assert half == pytest.approx(0, abs=1e-9)
        else:
            assert gain.over_repeats.high - gain.gain == pytest.approx(half)
        assert gain.over_configs.low <= gain.gain <= gain.over_configs.high
    assert any(gain.over_repeats for gain in gains.values())
    said = [value for label, value in study_facts(measured) if label == "ways of choosing rows"]
    assert len(said) == 2
    assert all("asp-mixture" in line and "adaptive-random in ranking by loss" in line for line in said)
    assert read_study(study.run.folder) == measured
    tables = {table.title: table for table in study_tables(measured)}
    assert len(tables["What a way of choosing rows adds to tau"].rows) == 2 * 4
    assert "asp-mixture" in write_report(study.run.folder).read_text(encoding="utf-8")


def test_ways_that_a_study_cannot_have(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="el2n: chooses by evidence gathered beforehand"):
        study_in(tmp_path, digits, ways=("adaptive-random", "el2n"))
    with pytest.raises(OptionsError, match="ways=asp-loss, asp-loss, need each once"):
        StudyOptions(ways=("asp-loss", "asp-loss"))
    with pytest.raises(OptionsError, match="a calibration has one plan"):
        StudyOptions(ways=("adaptive-random", "asp-loss"), pairings=("both",), calibration=ASKED)
    assert list(tmp_path.iterdir()) == []


def test_scores_before_the_end_are_ranked_too(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages()
    base = experiment(search=SearchOptions(scheduler="none", evaluate="epochs"))
    study = study_in(tmp_path, digits, base, ratios=(0.1,), pairings=("both",))
    measured = study.measure(SESSION)
    row = next(r for r in rank_rows(measured) if r.at == "epoch 1" and (r.score, r.reference) == ("loss", "loss"))
    rows = read_records(study.run.folder / RECORDS_FILE)
    fulls = vectors(study, "loss")
    early = [
        [-r.val_loss for r in sorted(rows.stage(f"r0.1-both-{repeat}"), key=lambda r: r.trial) if r.epoch == 1]
        for repeat in (0, 1)
    ]
    expected = np.mean([stats.kendalltau(x, fulls[f"full-{seed}"]).statistic for x in early for seed in (0, 1)])
    assert row.tau == pytest.approx(expected, abs=1e-9)
    assert all(set(cell.scores) == {"end", "epoch 1"} for cell in measured.cells)
    assert "Judged before the end" in [table.title for table in study_tables(measured)]


def test_what_could_not_be_measured_is_said(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(fails=("full-0/0000",))
    measured = study_in(tmp_path, digits, ratios=(0.1,), repeats=1, full_seeds=1).measure(SESSION)
    assert not [row for row in rank_rows(measured) if row.full]
    assert "the ceiling is not measured" in " ".join(study_unmeasured(measured))
    said = " ".join(study_against(measured))
    assert "1 of 32 trainings failed" in said
    assert "how much tau varies from draw to draw is not measured" in said
    assert all(row.over_repeats is None for row in rank_rows(measured))


def test_equal_scores_leave_tau_undefined_and_the_file_valid(tmp_path: Path) -> None:
    def cell(name: str, full: bool, losses: tuple[float | None, ...]) -> Cell:
        scores = {"end": {"loss": losses, "accuracy": (0.1,) * 5}}
        return Cell(name=name, full=full, ratio=1.0 if full else 0.1, pairing="both", repeat=0, samples=10,
                    wall_s=1.0, scores=scores)  # fmt: skip

    cells = (
        cell("full-0", True, (1.0, 2.0, 3.0, 4.0, 5.0)),
        cell("r0.1-both-0", False, (1.0, 2.0, 3.0, 5.0, None)),
    )
    study = Study(configs=tuple({"lr": i} for i in range(5)), cells=cells, finished=True)
    taus = {(row.score, row.reference): row.tau for row in rank_rows(study)}
    assert taus[("loss", "loss")] == pytest.approx(1)
    assert all(math.isnan(tau) for key, tau in taus.items() if key != ("loss", "loss"))
    (table, *_) = study_tables(study)
    assert table.rows[0][4] == "-"
    study.write(tmp_path, {})
    assert read_study(tmp_path) == study
    assert cells[1].failed == 1


# ---------------------------------------------------------------------- interruption


def test_a_finished_cell_is_read_back_and_an_interrupted_one_goes_on(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    first = stages(dies_in="r0.1-both-1")
    study = study_in(tmp_path, digits, ratios=(0.1,), pairings=("both",), repeats=3)
    with pytest.raises(InterruptedRunError, match="r0.1-both-1"):
        study.measure(SESSION)
    assert first.called == ["full-0", "full-1", "r0.1-both-0", "r0.1-both-1"]
    assert sorted(path.name for path in (tmp_path / "c" / "tune").iterdir()) == ["r0.1-both-1"]
    partial = read_study(tmp_path / "c")
    assert ([cell.name for cell in partial.cells], partial.finished) == (
        ["full-0", "full-1", "r0.1-both-0"],
        False,
    )
    assert dict(summary_rows(tmp_path / "c"))["state"].startswith("UNFINISHED")

    second = stages()
    again = open_study(open_run(tmp_path / "c", digits, Silent()))
    assert again.options == study.options
    assert again.points == study.points
    measured = again.measure(SESSION)
    assert second.called == ["r0.1-both-1", "r0.1-both-2"]
    assert second.given["r0.1-both-1"]["elapsed_s"] == 2.0
    assert second.given["r0.1-both-1"]["points"] == study.points
    assert measured.finished
    assert read_study(tmp_path / "c") == measured

    third = stages()
    open_study(open_run(tmp_path / "c", digits, Silent())).measure(SESSION)
    assert third.called == []
    whole = stages()
    alone = study_in(tmp_path / "alone", digits, ratios=(0.1,), pairings=("both",), repeats=3).measure(SESSION)
    assert len(whole.called) == 5
    assert [cell.scores for cell in alone.cells] == [cell.scores for cell in measured.cells]


def test_the_records_of_another_study_are_refused(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages()
    study = study_in(tmp_path, digits, ratios=(0.1,), pairings=("both",), repeats=1)
    study.measure(SESSION)
    other = CorrelationStudy(study.run, study.options, draw_points(SPACE, 8, seed=5))
    with pytest.raises(RecordError, match="Is the folder that of another study"):
        other.measure(SESSION)


def test_a_search_is_no_study(digits: Dataset, tmp_path: Path) -> None:
    from raysubset.tuning.run import create_run

    create_run(experiment(), digits, tmp_path, Silent(), command="", settings={})
    with pytest.raises(OptionsError, match="is a search, not a study"):
        open_study(open_run(tmp_path / "c", digits, Silent()))


@pytest.mark.parametrize("text", ["{}", "[1]", '{"schema": 9}', "no json", '{"schema": 1, "cells": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / STUDY_FILE).write_text(text)
    with pytest.raises(RecordError, match=r"correlation\.json"):
        read_study(tmp_path)


# ---------------------------------------------------------------------- calibration


def calibrated(root: Path, digits: Dataset, asked: Calibration) -> Study:
    options = {"ratios": (0.9, 0.1, 0.5), "pairings": ("both",), "full_seeds": 1, "calibration": asked}
    study = study_in(root, digits, configs=12, **options)
    return study.measure(SESSION)


def test_calibration_takes_the_smallest_ratio_that_holds_and_trains_no_larger(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    made = stages(noise=0.3)
    asked = replace(ASKED, threshold=0.3)
    measured = calibrated(tmp_path, digits, asked)
    rows = {r.ratio: r for r in rank_rows(measured) if (r.score, r.reference, r.full) == ("loss", "loss", False)}
    assert [(r.ratio, r.tau) for r in calibration_rows(measured, asked)] == [(k, rows[k].tau) for k in (0.1, 0.5)]
    assert rows[0.1].over_configs.low < 0.3 <= rows[0.5].over_configs.low
    chosen = recommended(measured)
    assert chosen == 0.5
    assert made.called == ["full-0", "r0.1-both-0", "r0.1-both-1", "r0.5-both-0", "r0.5-both-1"]
    words = calibration_words(measured)
    assert words.startswith(
        f"Recommended: --ratio {chosen:g}, the smallest tried at which the lower end of tau's 95 %"
    )
    spent = sum(cell.samples for cell in measured.cells)
    assert f"It cost {spent:,} samples, {12 * 1080:,} of them on all data." in words
    assert json.loads((tmp_path / "c" / STUDY_FILE).read_text())["recommended_ratio"] == chosen
    assert dict(study_facts(measured))["calibration"] == words


def test_tau_itself_holds_sooner_than_its_lower_end(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(noise=0.6)
    by_tau = Calibration(threshold=0.6, score="loss", pairing="both", by="estimate")
    soon = recommended(calibrated(tmp_path / "soon", digits, by_tau))
    late = recommended(calibrated(tmp_path / "late", digits, ASKED))
    assert soon is not None
    assert late is None or late > soon


def test_where_no_ratio_holds_none_is_recommended(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    made = stages(noise=30.0)
    measured = calibrated(tmp_path, digits, Calibration(threshold=0.99, score="loss", pairing="both", by="lower"))
    assert recommended(measured) is None
    assert measured.finished
    assert len(made.called) == 1 + 3 * 2
    assert calibration_words(measured).startswith("At no ratio tried the lower end")


def test_an_unfinished_calibration_decides_nothing(tmp_path: Path) -> None:
    study = Study(configs=({"lr": 1},), cells=(), finished=False, calibration=ASKED)
    assert "Not decided yet" in calibration_words(study)
    assert rank_rows(study) == ()


# ---------------------------------------------------------------------- page, Ray


@pytest.mark.slow
def test_the_page_of_a_study(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(dies_in="r0.2-both-1")
    study = study_in(tmp_path, digits)
    with pytest.raises(InterruptedRunError):
        study.measure(SESSION)
    assert "This run is unfinished" in write_report(study.run.folder).read_text()
    stages()
    study.measure(SESSION)
    text = write_report(study.run.folder).read_text()
    assert "Against the ranking by accuracy on all data" in text
    assert "How well subsets rank" in text
    assert "unfinished" not in text
    assert "The same search on all data was not run" not in text


@pytest.fixture
def tiny() -> StudyOptions:
    return StudyOptions(configs=3, ratios=(0.3,), pairings=("both",), repeats=1, full_seeds=1)


@pytest.mark.ray
@pytest.mark.slow
def test_a_tiny_study_runs_and_is_gone_on_with(
    digits: Dataset, ray_cluster: None, tmp_path: Path, tiny: StudyOptions
) -> None:
    from raysubset.tuning.session import open_session

    study = create_study(experiment(), digits, tmp_path, Silent(), tiny, command="raysubset corr")
    with open_session(study.run) as session:
        measured = study.measure(session)
    full, subset = measured.cells
    assert (full.samples, full.failed, subset.failed) == (3 * 2 * study.run.info.n_train, 0, 0)
    assert full.samples + subset.samples == study.planned_samples
    assert all(0 <= value <= 1 for value in subset.scores["end"]["accuracy"])
    assert list((tmp_path / "c" / "tune").iterdir()) == []

    records = tmp_path / "c" / RECORDS_FILE
    lines = records.read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["stage"] == "full-0"]
    records.write_text("\n".join(kept) + "\n")  # as if the study had been stopped after its first cell
    (tmp_path / "c" / f"search-{subset.name}.jsonl").unlink()
    again = open_study(open_run(tmp_path / "c", digits, Silent()))
    with open_session(again.run) as session:
        repeated = again.measure(session)
    assert repeated.cells[0] == full
    assert repeated.cells[1].scores == subset.scores
    assert records.read_text().splitlines()[: len(kept)] == kept


def report(trial: str, epoch: int, status: str, loss: float | None) -> TrialRecord:
    return TrialRecord(
        "full-0", trial, epoch, 3, {"lr": trial}, status, 10 * epoch, 0.1, 1.0, "full", 1.0, 1.0, 0.0, 0.0,
        float(epoch), 0, val_loss=loss, val_accuracy=None if loss is None else 0.5,
    )  # fmt: skip


def test_a_cell_of_trials_that_failed_late() -> None:
    rows = [
        *(report("0000", epoch, "running" if epoch < 3 else "done", 1.0 / epoch) for epoch in (1, 2, 3)),
        report("0001", 1, "running", 0.1), report("0001", 2, "failed", 0.2),
        report("0002", 1, "running", None), report("0002", 2, "running", 0.4), report("0002", 3, "done", math.inf),
        report("0003", 2, "running", 0.6), report("0003", 3, "done", 0.5),
    ]  # fmt: skip
    points = [{"lr": f"{number:04d}"} for number in range(4)]
    cell = cell_of(CellPlan(True, 1.0, "both", 0), rows, points)
    assert {at: scores["loss"] for at, scores in cell.scores.items()} == {
        "end": (1 / 3, None, None, 0.5),
        "epoch 2": (0.5, None, None, 0.6),  # epoch 1 did not judge the last one
    }
    assert (cell.samples, cell.wall_s, cell.failed) == (30 + 20 + 30 + 30, 3.0, 2)
    assert cell.goodness("accuracy").tolist() == [0.5, -math.inf, -math.inf, 0.5]


def test_a_cell_is_complete_when_all_its_trials_have_ended() -> None:
    rows = [report("0000", 3, "done", 1.0), report("0001", 1, "failed", None)]
    assert is_complete(rows, 2)
    assert not is_complete(rows, 3)
    assert not is_complete([*rows[:1], report("0001", 1, "running", 0.5)], 2)


def test_a_cell_is_named_by_what_it_trains() -> None:
    assert CellPlan(False, 0.05, "subset", 2).name == "r0.05-subset-2"
    assert CellPlan(True, 1.0, "both", 1).name == "full-1"
