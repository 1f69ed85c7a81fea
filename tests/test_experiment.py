"""Experiment: one frozen object, checked when made, that goes to and from TOML."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import BudgetError, OptionsError, SearchSpaceError, UnknownNameError
from raysubset.experiment import SCHEDULERS, SEARCHERS, Experiment, SearchOptions
from raysubset.hpo.pairing import PAIRINGS
from raysubset.hpo.space import choice, integer, loguniform, uniform
from raysubset.models.lenet import LeNet
from raysubset.selection.mixture import ORDERS
from raysubset.selection.plan import METRIC_CHOICES, SubsetPlan
from raysubset.training.recipe import Recipe

SPACE = {"lr": loguniform(1e-3, 1e-1), "batch_size": choice([32, 64]), "nesterov": choice([True, False])}


def experiment(**change: Any) -> Experiment:
    return Experiment(**{"name": "run", "model": "lenet", "space": SPACE, **change})


def any_plan(exact: bool, select_every: int, **options: Any) -> SubsetPlan:
    """An exact budget goes with a selection every epoch only."""
    if exact:
        return SubsetPlan(budget="exact", **options)
    return SubsetPlan(select_every=select_every, **options)


plans = st.builds(
    any_plan,
    exact=st.booleans(),
    selector=st.sampled_from(["asp", "adaptive-random", "random"]),
    metric=st.sampled_from(METRIC_CHOICES),
    ratio=st.floats(1e-4, 1),
    schedule=st.sampled_from(["static", "dynamic"]),
    first_epoch=st.sampled_from(["auto", "full", "scheduled"]),
    select_every=st.integers(1, 50),
    temperature=st.floats(1e-3, 1e3),
    scale=st.sampled_from(["none", "zscore", "rank"]),
    per_class=st.booleans(),
    deterministic=st.booleans(),
    order=st.sampled_from(ORDERS),
    sigma=st.floats(1e-3, 10),
)
recipes = st.builds(
    Recipe,
    epochs=st.integers(1, 300),
    batch_size=st.integers(1, 4096),
    optimizer=st.sampled_from(["sgd", "adam", "rmsprop"]),
    lr=st.floats(1e-6, 10),
    milestones=st.lists(st.floats(0.01, 0.99), max_size=3, unique=True).map(lambda m: tuple(sorted(m))),
    label_smoothing=st.floats(0, 0.9),
    channels_last=st.booleans(),
)
searches = st.builds(
    SearchOptions,
    search=st.sampled_from(SEARCHERS),
    scheduler=st.sampled_from(SCHEDULERS),
    trials=st.integers(1, 1000),
    concurrency=st.integers(0, 64),
    eta=st.integers(2, 10),
    score=st.sampled_from(["loss", "accuracy"]),
    pairing=st.sampled_from(PAIRINGS),
    budget_epochs=st.none() | st.floats(0.1, 1e6),
)
domains = {
    "lr": loguniform(1e-4, 1.0),
    "momentum": uniform(0.0, 0.9),
    "batch_size": integer(16, 256),
    "optimizer": choice(["sgd", "adam"]),
    "nesterov": choice([True, False]),
    "weight_decay": choice([0.0, 5e-4]),
}


@pytest.mark.slow
@PROPERTY
@given(
    plans,
    recipes,
    searches,
    st.lists(st.sampled_from(sorted(domains)), min_size=1, unique=True),
    st.floats(0.01, 0.99),
    st.integers(-(2**60), 2**60),
)
def test_round_trip_through_toml(
    plan: SubsetPlan, recipe: Recipe, search: SearchOptions, names: list[str], validation: float, seed: int
) -> None:
    made = experiment(
        plan=plan,
        recipe=recipe,
        search=search,
        space={name: domains[name] for name in names},
        validation=validation,
        seed=seed,
    )
    back = Experiment.from_toml(made.to_toml())
    assert back == made
    assert list(back.space) == names
    assert back.to_toml() == made.to_toml()


def test_what_is_left_out_keeps_its_default() -> None:
    made = Experiment.from_toml(
        'name = "a"\nmodel = "mlp"\n[space]\nlr = {uniform = [0.1, 1]}\n[plan]\nratio = 0.05'
    )
    assert made == Experiment(name="a", model="mlp", space={"lr": uniform(0.1, 1)}, plan=SubsetPlan(ratio=0.05))


def test_a_model_that_can_be_imported_is_written_by_name() -> None:
    made = experiment(model=LeNet)
    assert 'model = "raysubset.models.lenet:LeNet"' in made.to_toml()
    assert Experiment.from_toml(made.to_toml()) == made


@pytest.mark.parametrize("model", ["nowhere.at.all:Net", "raysubset.models.lenet:LeNat"])
def test_a_model_that_cannot_be_imported_is_named(model: str) -> None:
    with pytest.raises(OptionsError, match=f"model='{model}' cannot be imported"):
        Experiment.from_toml(f'name = "a"\nmodel = "{model}"\n[space]\nlr = {{uniform = [0.1, 1]}}')


def test_the_number_of_epochs_is_not_searched() -> None:
    with pytest.raises(SearchSpaceError, match="unknown key 'epochs'"):
        experiment(space={**SPACE, "epochs": choice([3, 9])})


def test_the_twin_of_a_ladder_is_a_plain_search() -> None:
    made = experiment(plan=SubsetPlan(ratio=0.3), search=SearchOptions(fidelity="ratio", levels=4))
    assert made.on_full_data().search == SearchOptions()


def test_on_full_data_changes_the_plan_alone() -> None:
    made = experiment(plan=SubsetPlan(ratio=0.05), seed=7)
    assert made.on_full_data() == experiment(plan=SubsetPlan.full(), seed=7)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a/"])
def test_a_name_must_be_a_plain_folder(name: str) -> None:
    with pytest.raises(OptionsError, match="need a plain folder name"):
        experiment(name=name)


@pytest.mark.parametrize("validation", [0.0, 1.0, -0.1, float("nan")])
def test_validation_out_of_range(validation: float) -> None:
    with pytest.raises(OptionsError, match="validation="):
        experiment(validation=validation)


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(OptionsError, match=r"name='a/b'.*validation=2"):
        experiment(name="a/b", validation=2)
    with pytest.raises(OptionsError) as caught:
        SearchOptions(
            trials=0,
            concurrency=-1,
            eta=1,
            retrain=-1,
            budget_epochs=0,
            score="f1",  # type: ignore[arg-type]
            evaluate="never",
            pairing="all",  # type: ignore[arg-type]
        )
    for name in ("trials", "concurrency", "eta", "retrain", "budget_epochs", "score", "evaluate", "pairing"):
        assert f"{name}=" in str(caught.value)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="search 'tpee'.*Did you mean 'tpe'.*random, tpe"):
        SearchOptions(search="tpee")
    with pytest.raises(UnknownNameError, match="scheduler 'hyperbund'.*Did you mean 'hyperband'.*median, none"):
        SearchOptions(scheduler="hyperbund")


@pytest.mark.parametrize("space", [{}, {"learning_rate": uniform(0, 1)}, {"lr": 0.1}])
def test_spaces_nobody_would_read_are_refused(space: dict[str, Any]) -> None:
    with pytest.raises(SearchSpaceError, match="Search space:"):
        experiment(space=space)


HEAD = 'name = "a"\nmodel = "mlp"\n'
SPACE_TOML = "[space]\nlr = {uniform = [0.1, 1]}\n"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("name = ", OptionsError, "not valid TOML"),
        (HEAD + "sed = 1\n" + SPACE_TOML, OptionsError, "unknown key 'sed'; known: .*seed"),
        (HEAD + SPACE_TOML + "[plan]\nraito = 0.1", OptionsError, "plan: unknown key 'raito'; known: .*ratio"),
        (HEAD + SPACE_TOML + "[recipe]\nlr = -1", OptionsError, "lr=-1"),
        (HEAD + SPACE_TOML + "[search]\ntrials = 0", OptionsError, "trials=0"),
        (HEAD + SPACE_TOML + "[plan]\nratio = 2", BudgetError, "ratio=2"),
        (HEAD + "[space]\nlr = 0.1", SearchSpaceError, "lr = 0.1"),
        (HEAD + "[space]\nleaning = {uniform = [0, 1]}", SearchSpaceError, "unknown key 'leaning'"),
        (SPACE_TOML, OptionsError, "'model' is missing; 'name' is missing"),
        (HEAD, OptionsError, "'space' is missing"),
    ],
)
def test_toml_that_is_no_experiment_is_refused(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Experiment.from_toml(text)


def test_an_experiment_needs_no_ray() -> None:
    code = "import sys, raysubset.experiment; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
