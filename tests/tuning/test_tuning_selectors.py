"""Searches that look at their models, or at evidence that all trials share: charged, kept, resumed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import raysubset as rs
from raysubset.errors import SlowSelectorWarning
from raysubset.report.records import read_records
from raysubset.report.run_info import RunInfo

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RECIPE = rs.Recipe(epochs=6, batch_size=32, lr=0.05)


def search(digits, root: Path, plan: rs.SubsetPlan, name: str = "s", **options) -> None:
    rs.tune(
        model="mlp",
        data=digits,
        space={"lr": rs.loguniform(1e-2, 1e-1)},
        plan=plan,
        recipe=RECIPE,
        trials=2,
        search="random",
        scheduler="none",
        name=name,
        root=root,
        progress=False,
        **options,
    )


def test_every_look_at_the_model_is_charged(digits, ray_cluster, tmp_path) -> None:
    plan = rs.SubsetPlan(selector="craig", ratio=0.2, schedule="static", select_every=2)
    search(digits, tmp_path, plan)
    n = RunInfo.read(tmp_path / "s").n_train
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    quota = round(0.2 * n)
    costs = [quota + (round(n / 3) if epoch in (1, 3, 5) else 0) for epoch in range(6)]
    expected = np.cumsum(costs).tolist()
    for trial in {row.trial for row in rows}:
        own = sorted((row for row in rows if row.trial == trial), key=lambda row: row.epoch)
        assert [row.samples_consumed for row in own] == expected
        assert [row.metric_used for row in own] == ["random"] + ["craig"] * 5


def test_shared_evidence_is_gathered_charged_and_kept_once(digits, ray_cluster, tmp_path, monkeypatch) -> None:
    plan = rs.SubsetPlan(selector="el2n", ratio=0.3, schedule="static", scout_epochs=2)
    search(digits, tmp_path, plan)
    info = RunInfo.read(tmp_path / "s")
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    trained = sum(max(r.samples_consumed for r in rows if r.trial == t) for t in {row.trial for row in rows})
    assert info.stages["search"].samples == trained + plan.scouting_samples(info.n_train)
    assert {row.metric_used for row in rows} == {"el2n"}
    monkeypatch.setattr("raysubset.tuning.evidence._gather", None)  # it lies in the run's folder
    search(digits, tmp_path, plan, resume=True)


def test_a_selector_dearer_than_all_data_gives_way_once(digits, ray_cluster, tmp_path) -> None:
    plan = rs.SubsetPlan(selector="craig", ratio=0.8, schedule="static", select_every=1)
    with warnings.catch_warnings(record=True) as caught:  # Ray's own come, too
        warnings.simplefilter("always")
        search(digits, tmp_path, plan)
    said = [str(each.message) for each in caught if each.category is SlowSelectorWarning]
    assert len(said) == 1
    assert "adaptive random takes its place" in said[0]
    info = RunInfo.read(tmp_path / "s")
    assert info.selector == "adaptive-random"
    assert "adaptive-random" in (tmp_path / "s" / "experiment.toml").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlowSelectorWarning)
        search(digits, tmp_path, plan, resume=True)


def test_a_selector_that_trains_on_fewer_rows_than_planned_reaches_every_rung(
    digits, ray_cluster, tmp_path
) -> None:
    rs.tune(
        model="mlp",
        data=digits,
        space={"lr": rs.loguniform(1e-2, 1e-1)},
        plan=rs.SubsetPlan(selector="infobatch", ratio=1.0, schedule="static"),
        recipe=rs.Recipe(epochs=9, batch_size=32),
        trials=1,
        search="random",
        scheduler="asha",
        name="s",
        root=tmp_path,
        progress=False,
    )
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    assert rows[-1].samples_consumed < 9 * RunInfo.read(tmp_path / "s").n_train
    assert {row.epoch: row.rung for row in rows if row.rung is not None} == {1: 0, 3: 1, 9: 2}
