"""Every method of the comparison chooses exactly k rows, alike for alike seeds, from what it may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_fit import small_fit, small_folds

from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Split
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.nas.space import NetworkSize
from raysubset.runtime import subset_methods
from raysubset.runtime.evidence import Evidence
from raysubset.runtime.subset_methods import (
    ADAPTIVE,
    CONSENSUS,
    FITTED,
    METHODS,
    SCOUTS,
    UNINFORMED,
    BankLosses,
    Chosen,
    MethodOptions,
    Scout,
    adaptive_plan,
    check_methods,
    choose,
)
from raysubset.runtime.supervisors import CellTraining
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.selection.wrappers import PerClass
from raysubset.subselnet.predictor import SAMPLERS, ArchitecturePredictor
from raysubset.subselnet.samplers import Gibbs
from raysubset.training.recipe import Recipe

N, CLASSES = 60, 3
CELL, OTHER = map(str, small_folds().unseen)
OPTIONS = MethodOptions(entropy=0.5, candidates=2.0, master="resnet8", proxy="resnet8", proxy_epochs=1)


@pytest.fixture(autouse=True)
def no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there


@pytest.fixture(scope="module")
def split() -> Split:
    rng = generator(0, "subset methods")
    labels = rng.integers(0, CLASSES, N)
    images = rng.integers(0, 256, (N, 1, 8, 8)) // 2 + 40 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels)


@pytest.fixture(scope="module")
def predictor(split: Split) -> ArchitecturePredictor:
    state = small_fit(split.labels)
    return ArchitecturePredictor.from_state(state, state["features"], state["labels"])


@pytest.fixture(scope="module")
def asked() -> CellTraining:
    recipe = Recipe(epochs=1, batch_size=32, optimizer="adam", lr=3e-3)
    return CellTraining(CELL, NetworkSize(5, 1), recipe, SubsetPlan.full(), CLASSES, 3)


def true_losses() -> NDArray[np.float32]:
    return generator(0, "true").permutation(N).astype(np.float32)


def consensus() -> NDArray[np.float32]:
    return generator(0, "consensus").permutation(N).astype(np.float32)


def forbidden() -> NDArray[np.float32]:
    raise AssertionError("only an oracle or a consensus may ask for losses of the bank")


Chooses = Callable[..., Chosen]


@pytest.fixture
def chooses(split: Split, predictor: ArchitecturePredictor, asked: CellTraining) -> Chooses:
    def of(method: str, ratio: float = 0.2, options: MethodOptions = OPTIONS, **other: Any) -> Chosen:
        oracle = true_losses if "true" in method else forbidden
        source, training = ArraySource(split), replace(asked, **other)

        def scouted(scout: Scout) -> Evidence:
            return scout.gather(training, source, Transform.fit(split.inputs), options)

        bank = BankLosses(oracle, consensus if method in CONSENSUS else forbidden)
        return choose(method, ratio, training, source, predictor, bank, scouted, options)

    return of


def check(chosen: Chosen, k: int) -> None:
    assert chosen.rows.dtype == np.int64
    assert len(chosen.rows) == len(np.unique(chosen.rows)) == k
    assert chosen.rows.min() >= 0
    assert chosen.rows.max() < N
    assert chosen.seconds > 0


def test_names_are_of_three_kinds_and_none_has_two() -> None:
    assert set(METHODS) == {*UNINFORMED, *FITTED, *CONSENSUS, *SCOUTS, *ADAPTIVE}
    assert len(set(METHODS)) == len(METHODS)
    check_methods(METHODS)


@pytest.mark.parametrize("method", [*UNINFORMED, *FITTED, *CONSENSUS])
def test_k_rows_alike_for_alike_seeds(method: str, chooses: Chooses) -> None:
    for ratio, k in ((0.001, 1), (0.2, 12), (0.5, 30), (0.99, 59)):
        check(chooses(method, ratio), k)
    np.testing.assert_array_equal(chooses(method).rows, chooses(method).rows)


@pytest.mark.slow
@pytest.mark.parametrize("method", SCOUTS)
def test_k_rows_by_a_network_trained_beforehand(method: str, chooses: Chooses) -> None:
    first, again = chooses(method), chooses(method)
    check(first, 12)
    np.testing.assert_array_equal(first.rows, again.rows)


@pytest.mark.parametrize("method", ["random", "random-per-class", *SAMPLERS, "gibbs-per-class", "released"])
def test_draws_are_of_seed_and_size(method: str, chooses: Chooses) -> None:
    plain = set(chooses(method, 0.3).rows.tolist())
    assert set(chooses(method, 0.3, seed=4).rows.tolist()) != plain


@pytest.mark.parametrize("method", ["random", "random-per-class", "gibbs-per-class"])
def test_draws_are_of_the_cell(method: str, chooses: Chooses) -> None:
    assert set(chooses(method).rows.tolist()) != set(chooses(method, cell=OTHER).rows.tolist())


def test_facility_location_sees_no_architecture(chooses: Chooses) -> None:
    np.testing.assert_array_equal(
        chooses("facility-location").rows, chooses("facility-location", cell=OTHER, seed=9).rows
    )


@pytest.mark.parametrize("method", [name for name in METHODS if name.endswith("-per-class")])
def test_classes_keep_their_shares(method: str, chooses: Chooses, split: Split) -> None:
    counts = np.bincount(split.labels[chooses(method, 0.5).rows], minlength=CLASSES)
    assert (np.abs(counts - np.bincount(split.labels) / 2) <= 1).all()


def test_controls_sort_what_they_say(chooses: Chooses, predictor: ArchitecturePredictor) -> None:
    seen = predictor.predict(small_folds().unseen[0])
    p = np.exp(seen.log_probabilities.astype(np.float64))
    for method, key in (
        ("bottom-loss", seen.losses),
        ("top-loss", -seen.losses),
        ("uncertainty", (p * np.log(p)).sum(axis=1)),
        ("bottom-true-loss", true_losses()),
    ):
        assert set(chooses(method).rows.tolist()) == set(np.argsort(key)[:12].tolist())


def test_a_consensus_draws_by_what_the_supervisors_say_on_average(chooses: Chooses, split: Split) -> None:
    for method, chooser in (("consensus-gibbs", Gibbs(0.5)), ("consensus-gibbs-per-class", PerClass(Gibbs(0.5)))):
        rng = generator(3, CELL, method, 12, "subset-method")  # the stream's key is part of the contract
        expected = chooser.select(Context(N, split.labels, {"loss": consensus()}), 12, rng)
        np.testing.assert_array_equal(chooses(method).rows, expected.indices)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_are_the_predictors(sampler: Any, chooses: Chooses, predictor: ArchitecturePredictor) -> None:
    seen = predictor.predict(small_folds().unseen[0])
    rng = generator(3, CELL, sampler, 12, "subset-method")  # the stream's key is part of the contract
    expected = predictor.sampler(sampler, seen, 0.5, candidates=2.0).select(predictor.context(seen), 12, rng)
    np.testing.assert_array_equal(chooses(sampler).rows, expected.indices)


def test_options_are_told(chooses: Chooses, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("gibbs", "gibbs-per-class"):
        sharp = chooses(method, options=replace(OPTIONS, entropy=0.01)).rows
        assert sharp.tolist() != chooses(method, options=replace(OPTIONS, entropy=100.0)).rows.tolist()
    scouted = {}

    class EnoughError(Exception):
        pass

    def spied(plan: SubsetPlan, *_: Any, model: Any, recipe: Recipe, seed: int, **__: Any) -> None:
        scouted["asked"] = (plan.selector, plan.scout_model, plan.scout_epochs)
        raise EnoughError

    monkeypatch.setattr(subset_methods, "gather_evidence", spied)
    told = MethodOptions(master="resnet20", proxy="resnet8", proxy_epochs=7)
    for method, expected in (
        ("pruning", ("entropy", "resnet20", 5)),
        ("selection-via-proxy", ("least-confidence", "resnet8", 7)),
        ("prototypes", ("prototypes-hard", "resnet8", 7)),
        ("el2n", ("el2n", "", 5)),
        ("grand", ("grand", "", 5)),
    ):
        with pytest.raises(EnoughError):
            chooses(method, options=told)
        assert scouted["asked"] == expected


def test_adaptive_methods_are_plans(chooses: Chooses) -> None:
    for method in ADAPTIVE:
        plan = adaptive_plan(method, 0.3)
        assert plan.ratio == 0.3
        assert plan.schedule == "static"
        assert plan.habits.evidence == "model"
        with pytest.raises(OptionsError, match=f"'{method}' chooses while the network trains"):
            chooses(method)


def test_an_unknown_name_lists_the_known_ones(chooses: Chooses) -> None:
    message = "Unknown method 'gibs'. Did you mean 'gibbs'.*Known: bottom-loss, .*uncertainty"
    with pytest.raises(UnknownNameError, match=message):
        check_methods(("random", "gibs"))
    with pytest.raises(UnknownNameError, match=message):
        chooses("gibs")
