"""A whole fit: what it foresees of a cell, what samplers are given of it, there and back through a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_fit import save_fit, small_fit, small_folds, small_labels

from raysubset.errors import DataError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.protocol import Context
from raysubset.selection.wrappers import PerClass
from raysubset.subselnet.funnel import Hybrid, Inductive
from raysubset.subselnet.predictor import (
    SAMPLERS,
    ArchitecturePredictor,
    Sampler,
    scorer_from_state,
    scorer_state,
    standardised,
)
from raysubset.subselnet.samplers import Gibbs, Transductive
from raysubset.training.checkpoint import load_checkpoint

CELL, OTHER = small_folds().unseen


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return small_fit()


@pytest.fixture(scope="module")
def predictor(state: dict[str, Any]) -> ArchitecturePredictor:
    return ArchitecturePredictor.from_state(state, state["features"], state["labels"])


def test_losses_are_those_of_the_predicted_probabilities(predictor: ArchitecturePredictor) -> None:
    seen, labels = predictor.predict(CELL), small_labels()
    p = np.exp(seen.log_probabilities.astype(np.float64))
    assert p.shape == (120, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(seen.losses, [-np.log(p[i, label]) for i, label in enumerate(labels)], rtol=1e-5)
    assert seen.losses.dtype == seen.log_probabilities.dtype == seen.cell.dtype == np.float32
    embedded = predictor.encoder.embed([CELL])
    size = int(embedded.mask.sum())
    np.testing.assert_allclose(seen.cell, embedded.vectors[0, :size].numpy().mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(predictor.approximator.losses(embedded, labels), seen.losses)


def test_cells_are_told_apart_and_a_prediction_can_be_repeated(predictor: ArchitecturePredictor) -> None:
    first, again, other = (predictor.predict(cell) for cell in (CELL, CELL, OTHER))
    np.testing.assert_array_equal(first.log_probabilities, again.log_probabilities)
    assert np.abs(first.cell - other.cell).max() > 1e-2
    assert np.abs(first.losses - other.losses).max() > 1e-4


def test_the_context_is_what_samplers_and_controls_read(predictor: ArchitecturePredictor) -> None:
    seen = predictor.predict(CELL)
    context = predictor.context(seen)
    assert context.pool_size == 120
    assert set(context.signals) == {"loss"}
    for given, expected in (
        (context.labels, small_labels()),
        (context.signals["loss"], seen.losses),
        (context.logits, seen.log_probabilities),
        (context.features, predictor.features),
    ):
        np.testing.assert_array_equal(given, expected)


def test_features_are_standardised_as_the_inductive_sampler_learnt_them(
    predictor: ArchitecturePredictor, state: dict[str, Any]
) -> None:
    raw = state["features"].astype(np.float64)
    np.testing.assert_allclose(predictor.features, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-5)
    frozen = state["features"].copy()
    frozen.flags.writeable = False  # as an object store hands them over
    np.testing.assert_array_equal(standardised(frozen), predictor.features)


def test_samplers_are_given_their_options(predictor: ArchitecturePredictor) -> None:
    seen = predictor.predict(CELL)
    assert set(SAMPLERS) == {"transductive", "inductive", "hybrid", "gibbs", "gibbs-per-class"}
    assert predictor.sampler("gibbs", seen, 0.7) == Gibbs(0.7)
    assert predictor.sampler("gibbs-per-class", seen, 0.7) == PerClass(Gibbs(0.7))
    assert predictor.sampler("transductive", seen, 0.7, 9) == Transductive(0.7, 9)
    inductive, hybrid = (predictor.sampler(kind, seen, 0.7, 9, 2.5) for kind in ("inductive", "hybrid"))
    assert isinstance(inductive, Inductive)
    assert inductive.scorer is predictor.scorer
    assert inductive.cell is seen.cell
    assert isinstance(hybrid, Hybrid)
    assert isinstance(hybrid.wide, Inductive)
    assert hybrid.wide.cell is seen.cell
    assert (hybrid.narrow, hybrid.candidates) == (Transductive(0.7, 9), 2.5)
    with pytest.raises(OptionsError, match="sampler='best', need one of transductive, inductive, hybrid, gibbs"):
        predictor.sampler("best", seen)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_fit_goes_through_a_file(
    kind: Sampler, predictor: ArchitecturePredictor, state: dict[str, Any], tmp_path: Path
) -> None:
    save_fit(tmp_path, state)
    kept = load_checkpoint(tmp_path / "predictor")
    again = ArchitecturePredictor.from_state(kept, kept["features"], kept["labels"])
    rows = []
    for one in (predictor, again):
        seen = one.predict(CELL)
        rows.append(one.sampler(kind, seen, steps=10).select(one.context(seen), 30, generator(1)).indices.tolist())
    assert rows[0] == rows[1]
    assert len(set(rows[0])) == 30


def test_opening_a_fit_leaves_the_global_stream_alone(state: dict[str, Any]) -> None:
    """Whoever trains next draws the same, whether the fit was opened in this process before or not."""
    before = torch.random.get_rng_state()
    ArchitecturePredictor.from_state(state, state["features"], state["labels"])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("part", ["encoder", "approximator", "scorer"])
def test_a_state_that_lacks_something_is_refused(part: str, state: dict[str, Any]) -> None:
    less = {name: value for name, value in state.items() if name != part}
    with pytest.raises(DataError, match=f"{part} is missing"):
        ArchitecturePredictor.from_state(less, state["features"], state["labels"])
    with pytest.raises(DataError, match="Not the state"):
        ArchitecturePredictor.from_state({**state, part: {}}, state["features"], state["labels"])


def test_features_of_another_shape_are_refused(state: dict[str, Any]) -> None:
    for features in (state["features"][:-1], state["features"][:, :-1]):
        with pytest.raises(DataError, match="trained on features of shape"):
            ArchitecturePredictor.from_state(state, features, state["labels"])


def test_a_scorer_of_another_form_is_refused(predictor: ArchitecturePredictor) -> None:
    kept = scorer_state(predictor.scorer)
    assert scorer_from_state(kept).form == predictor.scorer.form
    for form in (
        {**kept["form"], "hidden": [16, 9]},
        {**kept["form"], "depth": 3},
        {name: width for name, width in kept["form"].items() if name != "hidden"},
    ):
        with pytest.raises(DataError, match="InductiveScorer"):
            scorer_from_state({**kept, "form": form})


def test_other_rows_are_refused(predictor: ArchitecturePredictor) -> None:
    labels = small_labels()
    predictor.check_pool(Context(120, labels.copy()))
    turned = labels.copy()
    turned[[0, 1]] = (turned[[0, 1]] + 1) % 3
    for other in (labels[:-1], np.append(labels, 0), turned, labels[::-1]):
        with pytest.raises(DataError, match=f"fitted on 120 rows, and this pool of {len(other)} is another"):
            predictor.check_pool(Context(len(other), other))
    with pytest.raises(SelectionError, match="SubSelNet needs labels"):
        predictor.check_pool(Context(120))


def test_rows_follow_the_losses_and_the_architecture(predictor: ArchitecturePredictor) -> None:
    """Hardly any entropy: the rows of least predicted loss, of this cell and not of another."""
    for cell in (CELL, OTHER):
        seen = predictor.predict(cell)
        rows = predictor.sampler("gibbs", seen, 1e-7).select(predictor.context(seen), 12, generator(0)).indices
        assert rows.tolist() == np.argsort(seen.losses, kind="stable")[:12].tolist()
    turned = replace(predictor.context(seen), signals={"loss": -seen.losses})
    rows = predictor.sampler("gibbs", seen, 1e-7).select(turned, 12, generator(0)).indices
    assert rows.tolist() == np.argsort(-seen.losses, kind="stable")[:12].tolist()
