"""Ray Tune's own schedulers and searchers in the place of ours: searches end, and say what happened."""

from __future__ import annotations

import time

import pytest
import torch

import raysubset as rs
from raysubset.errors import OptionsError
from raysubset.report.records import read_records
from raysubset.report.run_info import RunInfo
from tests.tuning.test_tuning_search import SPACE, failures, search

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_ray_s_own_scheduler_and_searcher_objects_work(digits, ray_cluster, tmp_path) -> None:
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.hyperopt import HyperOptSearch

    from raysubset.tuning.space import tune_space

    scheduler = ASHAScheduler(time_attr="samples_consumed", max_t=5000, grace_period=300, reduction_factor=3)
    searcher = HyperOptSearch(space=tune_space(SPACE), metric="score", mode="min", random_state_seed=0)
    result = search(digits, tmp_path, scheduler=scheduler, search=searcher, trials=5)
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    assert len({row.trial for row in rows}) == 5
    assert all(row.val_loss is not None for row in rows)  # a foreign scheduler reads every report
    assert result.best.val_accuracy > 0.1


def foreign_schedulers() -> dict:
    from ray import tune
    from ray.tune.schedulers import HyperBandForBOHB, HyperBandScheduler, PopulationBasedTraining
    from ray.tune.schedulers.pb2 import PB2

    clock = {"time_attr": "samples_consumed"}
    often = {**clock, "perturbation_interval": 150, "quantile_fraction": 0.5}
    return {
        "hyperband": HyperBandScheduler(**clock, max_t=900, reduction_factor=3),
        "bohb": HyperBandForBOHB(**clock, max_t=900, reduction_factor=3),
        "pbt": PopulationBasedTraining(
            **often, hyperparam_mutations={"point": {"lr": tune.loguniform(1e-3, 1e-1)}}
        ),
        "pb2": PB2(**often, hyperparam_bounds={"point": {"lr": [1e-3, 1e-1]}}),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # PB2's, of few points
@pytest.mark.parametrize("name", ["hyperband", "bohb", "pbt", "pb2"])
def test_ray_s_own_schedulers_run_on_samples(name, digits, ray_cluster, tmp_path) -> None:
    scheduler = foreign_schedulers()[name]
    search(digits, tmp_path, scheduler=scheduler, search="random", trials=4)
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    last = {row.trial: row for row in rows}
    assert len(last) == 4
    assert not failures(rows)
    assert {row.status for row in last.values()} <= {"done", "stopped"}
    if name.startswith("pb"):  # who took over another's configuration is still itself, and goes to its end
        assert scheduler._num_perturbations > 0
        assert {row.epoch for row in last.values()} == {9}


def test_a_trial_being_saved_when_its_bracket_of_hyperband_ends_ends_too(digits, ray_cluster, tmp_path) -> None:
    class SlowToSave(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(784, 10)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head(inputs.flatten(1))

        def state_dict(self, *args, **options):
            time.sleep(0.5)  # the other trial of the bracket reports meanwhile
            return super().state_dict(*args, **options)

    def build(num_classes: int, input_shape: tuple[int, ...]) -> torch.nn.Module:
        return SlowToSave()

    search(digits, tmp_path, scheduler=foreign_schedulers()["hyperband"], search="random", trials=2, model=build)
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    assert {row.trial: row.status for row in rows} == {"0000": "stopped", "0001": "stopped"}


def hyperband(max_t: int):
    from ray.tune.schedulers import HyperBandScheduler

    return HyperBandScheduler(time_attr="samples_consumed", max_t=max_t, reduction_factor=3)


def test_a_bracket_goes_on_when_the_trial_it_waited_for_diverges(digits, ray_cluster, tmp_path) -> None:
    options = {"space": {"lr": rs.choice([0.02, 1e30])}, "search": "grid", "trials": 2, "concurrency": 1}
    search(digits, tmp_path, scheduler=hyperband(300), **options)
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    assert {row.trial: row.status for row in rows} == {"0000": "stopped", "0001": "failed"}


def test_a_bracket_whose_milestones_all_lie_in_the_first_epoch_ends(digits, ray_cluster, tmp_path) -> None:
    search(digits, tmp_path, scheduler=hyperband(9), search="random", trials=9)  # brackets of 3, 5 and, alone, 1
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    assert {(row.trial, row.epoch, row.status) for row in rows} == {(f"{n:04d}", 1, "stopped") for n in range(9)}


def test_a_budget_ends_a_search_under_a_scheduler_that_knows_of_none(digits, ray_cluster, tmp_path) -> None:
    from ray.tune.schedulers import FIFOScheduler

    search(
        digits, tmp_path, scheduler=FIFOScheduler(), search="random", trials=50, budget_epochs=20, concurrency=1
    )
    info = RunInfo.read(tmp_path / "s")
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    last = {row.trial: row for row in rows}
    budget = 0.2 * 20 * info.n_train
    stage = info.stages["search"]
    assert budget <= stage.samples <= budget + 2 * info.n_train
    assert stage.samples == sum(row.samples_consumed for row in last.values())
    assert stage.finished
    assert "the budget is spent" in {row.reason for row in last.values()}


def test_parts_under_which_a_search_would_wait_for_ever_are_refused(digits, tmp_path) -> None:
    from ray.tune.schedulers import PopulationBasedTraining
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.hyperopt import HyperOptSearch

    limited = ConcurrencyLimiter(HyperOptSearch(metric="score", mode="min"), max_concurrent=2)
    with pytest.raises(OptionsError, match="Give the searcher itself, and concurrency=2"):
        search(digits, tmp_path, search=limited)
    rounds = PopulationBasedTraining("samples_consumed", synch=True, hyperparam_mutations={"lr": [0.1]})
    with pytest.raises(OptionsError, match="synch=False"):
        search(digits, tmp_path, scheduler=rounds)
    assert not (tmp_path / "s").exists()
