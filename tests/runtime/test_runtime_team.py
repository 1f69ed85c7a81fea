"""Two processes that train one model are one process that trains it, to float rounding."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tolerances import TEAM

from raysubset.data.batches import ArraySource, epoch_batches
from raysubset.data.catalog import load_dataset
from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError, OptionsError
from raysubset.hpo.pairing import TrialSeeds
from raysubset.models.catalog import build_model
from raysubset.proxy.service import SelectorService
from raysubset.runtime.ranks import TeamClient
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.training.loop import train_epoch
from raysubset.training.recipe import Recipe
from raysubset.training.team import ALONE, ProcessTeam, Team
from raysubset.types import Selection

SEEDS = TrialSeeds(subset=11, init=12)
RECIPE = Recipe(epochs=3, batch_size=33, lr=0.05, label_smoothing=0.1, schedule="cosine", flip=0.5, crop_padding=2)
PLANS = {
    "asp": SubsetPlan(ratio=0.4, first_epoch="full"),
    "gradmatch-per-batch": SubsetPlan(selector="gradmatch-per-batch", ratio=0.3, select_every=2),
    "craig": SubsetPlan(selector="craig", ratio=0.3),
}


def trial_of(name: str, team: Team, recipe: Recipe = RECIPE) -> tuple[Trial, SelectorService | None]:
    data = load_dataset("embedded", limit=300)
    split = data.train
    service = SelectorService(Context(len(split), split.labels)) if team.shard.rank == 0 else None
    client = service if team.size == 1 else TeamClient(team, service)
    spec = TrialSpec("t", "lenet", recipe, PLANS[name], SEEDS, data.num_classes)
    trial = Trial(spec, ArraySource(split), ArraySource(data.test), Transform.fit(split.inputs), client, team=team)
    return trial, service


def history(name: str, team: Team) -> dict[str, Any]:
    """Train two epochs, save, train the third, go back and train it again."""
    trial, service = trial_of(name, team)
    reports = [trial.run_epoch(), trial.run_epoch()]
    state = team.shared(copy.deepcopy(trial.state()))  # its tensors are the live ones
    reports.append(trial.run_epoch())
    judged = trial.evaluate()
    stream = {} if service is None else service.state("t")
    trial.restore(state)
    again = trial.run_epoch()
    return {
        "losses": [report.train_loss for report in reports],
        "again": again.train_loss,
        "samples": [report.samples_consumed for report in reports],
        "model": trial.model.state_dict(),
        "judged": [judged.loss, judged.accuracy, judged.samples],
        "memory": {} if service is None else stream["memory"],
        "subset": [] if service is None else stream["active"]["indices"],
    }


def one_sided(team: Team) -> dict[str, Any]:
    """An epoch whose rows all belong to worker 0."""
    data = load_dataset("embedded", limit=300)
    split = data.train
    model = build_model("mlp", num_classes=10, input_shape=data.input_shape, seed=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trained = team.parallel(model)
    batches = epoch_batches(
        ArraySource(split),
        Selection.uniform(np.arange(0, 90), len(split)),
        Transform.fit(split.inputs),
        batch_size=32,
        seed=0,
        epoch=0,
        shard=team.shard,
    )
    rate = Recipe(epochs=1, lr=0.1, batch_size=32, schedule="constant")
    result = train_epoch(trained, batches, optimizer, rate, epoch=0, progress=lambda _: 0.0, rng_seed=0, team=team)
    return {"loss": result.mean_loss, "samples": result.samples, "model": model.state_dict()}


def diverged(name: str, team: Team) -> str:
    trial, _ = trial_of(name, team, Recipe(epochs=3, batch_size=33, lr=1e30, schedule="constant"))
    try:
        for _ in range(3):
            trial.run_epoch()
    except NonFiniteLossError as error:
        return str(error)
    return "nothing was said"


def everything(team: Team) -> dict[str, Any]:
    return {
        **{name: history(name, team) for name in PLANS},
        "one-sided": one_sided(team),
        "diverged": [diverged(name, team) for name in ("asp", "gradmatch-per-batch")],
        "total": team.total([1.0, float(team.shard.rank)]),
        "gathered": team.gathered(team.shard.rank),
        "shared": team.shared(f"from {team.shard.rank}"),
    }


def worker(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    try:
        torch.save(everything(ProcessTeam()), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process did, and what each of two did."""
    folder = tmp_path_factory.mktemp("team")
    torch.multiprocessing.spawn(worker, (2, str(folder)), nprocs=2)
    return [everything(ALONE), *(torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2))]


def near(one: Any, other: Any) -> None:
    np.testing.assert_allclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), rtol=TEAM, atol=TEAM)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_two_workers_train_as_one(teams: list[dict[str, Any]], name: str) -> None:
    alone, first, second = (each[name] for each in teams)
    for each in (first, second):
        near(each["losses"], alone["losses"])
        near(each["judged"], alone["judged"])
        assert each["samples"] == alone["samples"]
        assert each["again"] == each["losses"][-1]
        for key, value in alone["model"].items():
            near(each["model"][key], value)
    assert first["losses"] == second["losses"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_the_selector_learns_the_same_and_chooses_the_same(teams: list[dict[str, Any]], name: str) -> None:
    alone, first, _ = (each[name] for each in teams)
    assert np.array_equal(first["subset"], alone["subset"])
    for key, value in alone["memory"].items():
        if key == "seen":
            assert np.array_equal(first["memory"][key], value)
        near(first["memory"][key], value)


@pytest.mark.slow
def test_a_worker_without_rows_keeps_step(teams: list[dict[str, Any]]) -> None:
    alone, *both = (each["one-sided"] for each in teams)
    for each in both:
        near(each["loss"], alone["loss"])
        assert each["samples"] == alone["samples"] == 90
        for key, value in alone["model"].items():
            near(each["model"][key], value)


@pytest.mark.slow
def test_divergence_ends_every_worker_s_epoch(teams: list[dict[str, Any]]) -> None:
    for each in teams[1:]:
        assert all(
            "NaN" in said or "nan" in said or "inf" in said or "finite" in said for said in each["diverged"]
        )


@pytest.mark.slow
def test_what_workers_tell_each_other(teams: list[dict[str, Any]]) -> None:
    alone, first, second = teams
    assert alone["total"] == [1.0, 0.0]
    assert first["total"] == second["total"] == [2.0, 1.0]
    assert (alone["gathered"], first["gathered"], second["gathered"]) == ([0], [0, 1], [])
    assert {each["shared"] for each in teams} == {"from 0"}


def test_rows_cannot_be_chosen_inside_the_batches_of_a_team() -> None:
    class Two:
        size = 2

    data = load_dataset("embedded", limit=100)
    spec = TrialSpec("t", "mlp", RECIPE, SubsetPlan(selector="selective-backprop", ratio=0.3), SEEDS, 10)
    rows = ArraySource(data.train)
    with pytest.raises(OptionsError, match="inside each batch.*workers=1"):
        Trial(spec, rows, rows, Transform.fit(data.train.inputs), SelectorService(Context(100)), team=Two())
