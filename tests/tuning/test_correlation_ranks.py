"""The numbers of a correlation study against scipy and plain loops; what could not be measured is said."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from raysubset.data.dataset import Dataset
from raysubset.experiment import SearchOptions
from raysubset.report.html import write_report
from raysubset.report.rank_cells import Cell, Study, read_study
from raysubset.report.rank_gains import pairing_gains, way_gains
from raysubset.report.rank_study import rank_rows
from raysubset.report.rank_tables import study_tables
from raysubset.report.rank_verdict import study_against, study_facts, study_unmeasured
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.seeds import generator
from raysubset.tuning.correlation import CorrelationStudy
from tests.tuning.made_up_stages import SESSION, experiment, study_in

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests


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
