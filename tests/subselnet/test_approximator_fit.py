"""Fitting approximators: divergence and baselines by hand, leave-one-out, controls, states, and a case to win."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_fit import MadeUp as Bank

from raysubset.errors import DataError, OptionsError
from raysubset.subselnet.approximator import Kind
from raysubset.subselnet.approximator_fit import (
    ApproximatorOptions,
    _Pairs,
    fit_approximator,
)
from raysubset.subselnet.embeddings import CellEmbeddings
from raysubset.subselnet.fitted import FittedApproximator
from raysubset.subselnet.kl_table import kl_table, mean_kl
from raysubset.subselnet.supervision import InstanceMeans, divergences, log_target_pairs, log_targets

N, D, C, A = 60, 5, 3, 13
TRAINING, VALIDATION, UNSEEN = np.arange(8), np.arange(8, 10), np.arange(10, 13)
SMALL = ApproximatorOptions(hidden=32, steps=30, batch=32, check_every=10)
GAINS = np.array([0.2, 0.6, 1.0, 1.4, 1.8, 2.2, 2.6, 3.0, 0.3, 2.7, 0.4, 2.8, 1.6])


def world(n: int = N) -> tuple[CellEmbeddings, Bank, NDArray[np.float32], NDArray[np.int64]]:
    """Networks that see the same in an instance and are sure of it to a degree that their cell's vectors tell."""
    rng = np.random.default_rng(0)
    features = (3 + 2 * rng.normal(size=(n, D))).astype(np.float32)
    seen = (features - 3) / 2 @ rng.normal(size=(D, C))
    table = (GAINS[:, None, None] * seen).astype(np.float32)
    vectors = np.zeros((A, 7, 16), dtype=np.float32)
    vectors[:, :4] = 0.1 * rng.normal(size=(A, 4, 16))
    vectors[:, :4, 0] += (GAINS - 1.6)[:, None]
    vectors[:, :4, 1] += 1.0
    mask = torch.zeros(A, 7, dtype=torch.bool)
    mask[:, :4] = True
    embeddings = CellEmbeddings(torch.from_numpy(vectors), mask, torch.full((A,), 2))
    return embeddings, Bank(table), features, seen.argmax(axis=1)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    p = np.exp(logits.astype(np.float64))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def kl(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    return float((p * np.log(p / q)).sum(axis=-1).mean())


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def test_gate_golden_divergence() -> None:
    """0.7 log(.7/.5) + 0.2 log(.2/.3) + 0.1 log(.1/.2), worked out apart; the wrong way round is 0.0920329502."""
    p, q = (np.log([row]).astype(np.float32) for row in ([0.7, 0.2, 0.1], [0.5, 0.3, 0.2]))
    assert divergences(p, q) == pytest.approx([0.0851228260], abs=1e-7)


def test_divergence_of_a_sure_target() -> None:
    p = np.array([[0.0, -np.inf, -np.inf]], dtype=np.float32)
    q = np.log([[0.5, 0.25, 0.25]]).astype(np.float32)
    assert divergences(p, q) == pytest.approx([np.log(2)], abs=1e-7)


def test_targets_are_the_softmax_of_the_logits() -> None:
    _, bank, _, _ = world()
    np.testing.assert_allclose(np.exp(log_targets(bank, 3)), softmax(bank.table[3]), atol=1e-6)
    pairs = log_target_pairs(bank, np.array([3, 0]), np.array([5, 7]))
    np.testing.assert_allclose(np.exp(pairs), softmax(bank.table[[3, 0], [5, 7]]), atol=1e-6)


def test_baselines_against_loops() -> None:
    _, bank, _, labels = world()
    labels = np.where(labels == 1, 4, labels)  # a label no row has lies between
    means = InstanceMeans.over(bank, TRAINING)
    p = softmax(bank.table[TRAINING])
    np.testing.assert_allclose(np.exp(means.per_instance()), p.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.exp(means.class_prior()), p.mean(axis=(0, 1)), atol=1e-6)
    b1 = np.exp(means.label_conditional(labels))
    for i in range(N):
        same = [p[m, j] for m in range(len(p)) for j in range(N) if labels[j] == labels[i]]
        np.testing.assert_allclose(b1[i], np.mean(same, axis=0), atol=1e-6)


def test_the_residual_learns_from_the_mean_of_the_other_networks() -> None:
    _, bank, _, _ = world()
    rng = np.random.default_rng(0)
    means = InstanceMeans.over(bank, TRAINING)
    pairs = _Pairs(bank, torch.arange(N)[:, None].float(), TRAINING, means)
    places, columns, log_p = pairs.draw(rng, 40)
    p = softmax(bank.table)
    rows, log_mean = columns[:, 0].long().tolist(), columns[:, 1:].numpy()
    for k in range(40):
        m, i = int(TRAINING[places[k]]), rows[k]
        others = np.mean([p[other, i] for other in TRAINING if other != m], axis=0)
        np.testing.assert_allclose(np.exp(log_mean[k]), others, atol=2e-6)
        np.testing.assert_allclose(log_p[k].exp().numpy(), p[m, i], atol=1e-6)
    with pytest.raises(DataError, match="at least two"):
        InstanceMeans.over(bank, TRAINING[:1]).without(np.array([0]), log_p[:1].numpy())


def test_table_against_loops_and_every_cell_is_once_given_anothers_embedding() -> None:
    embeddings, bank, features, labels = world()
    fitted, _ = fit_approximator(embeddings, bank, features, TRAINING, VALIDATION, SMALL, 0)
    table = kl_table(fitted, embeddings, bank, labels, TRAINING, UNSEEN, 0)
    p, b2 = softmax(bank.table), softmax(bank.table[TRAINING]).mean(axis=0)
    assert table.cells == ("cell10", "cell11", "cell12")
    given = []
    for k, cell in enumerate(UNSEEN):
        own = {int(m): kl(p[cell], np.exp(fitted.log_probabilities(embeddings.cell(int(m))))) for m in UNSEEN}
        assert table.model[k] == pytest.approx(own[int(cell)], rel=1e-4)
        assert table.per_instance[k] == pytest.approx(kl(p[cell], b2), rel=1e-4)
        assert table.class_prior[k] == pytest.approx(kl(p[cell], b2.mean(axis=0)), rel=1e-4)
        by_label = np.stack([b2[labels == labels[i]].mean(axis=0) for i in range(N)])
        assert table.label_conditional[k] == pytest.approx(kl(p[cell], by_label), rel=1e-4)
        given.append(min(own, key=lambda m: abs(own[m] - table.permuted[k])))
    assert sorted(given) == UNSEEN.tolist()
    assert all(a != b for a, b in zip(given, UNSEEN, strict=True))


def test_the_trained_network_is_the_target() -> None:
    """Of networks it cannot tell apart, KL(p || q) asks for the arithmetic mean; the other way the geometric one.

    Of (.98, .01, .01) and (.01, .98, .01) these give the third class 0.010 and 0.048.
    """
    embeddings, bank, features, _ = world()
    blind = embeddings.rows(torch.zeros(A, dtype=torch.int64))
    bank.table[:] = np.log([0.98, 0.01, 0.01])
    bank.table[1::2] = np.log([0.01, 0.98, 0.01])
    options = replace(SMALL, steps=150, batch=128, dropout=0.0, lr=1e-2)
    fitted, _ = fit_approximator(blind, bank, features, TRAINING, VALIDATION, options, 0)
    assert np.exp(fitted.log_probabilities(blind.cell(9)))[:, 2].mean() < 0.025


@pytest.mark.parametrize("kind", ["attention", "residual"])
def test_it_beats_the_instance_mean_where_the_architecture_matters(kind: Kind) -> None:
    embeddings, bank, features, labels = world(200)
    options = replace(SMALL, kind=kind, steps=400, batch=128, dropout=0.0, lr=5e-3, check_every=100)
    fitted, report = fit_approximator(embeddings, bank, features, TRAINING, VALIDATION, options, 0)
    table = kl_table(fitted, embeddings, bank, labels, TRAINING, UNSEEN, 0)
    assert table.model.mean() < 0.5 * table.per_instance.mean()
    assert table.model.mean() < 0.5 * table.permuted.mean()
    assert table.model.mean() < table.label_conditional.mean() < table.class_prior.mean()
    assert report.checks[-1][0] == 400


def test_the_state_kept_is_the_best_on_the_validation_cells() -> None:
    embeddings, bank, features, _ = world()
    bank.table[VALIDATION] *= -1  # the more is learnt of the others, the further it is from these
    options = replace(SMALL, lr=5e-3, steps=25)
    fitted, report = fit_approximator(embeddings, bank, features, TRAINING, VALIDATION, options, 0)
    assert [step for step, _ in report.checks] == [10, 20, 25]
    best = min(report.checks, key=lambda check: check[1])
    assert report.best_step == best[0]
    found = np.mean([mean_kl(fitted, embeddings, bank, cell) for cell in (8, 9)])
    assert found == pytest.approx(best[1], rel=1e-9)
    assert best[0] == 10


def test_unseen_cells_take_no_part() -> None:
    embeddings, bank, features, _ = world()
    options = replace(SMALL, kind="residual")
    first, _ = fit_approximator(embeddings, bank, features, TRAINING, VALIDATION, options, 0)
    other = Bank(bank.table.copy())
    other.table[UNSEEN] = np.nan
    second, _ = fit_approximator(embeddings, other, features, TRAINING, VALIDATION, options, 0)
    assert np.array_equal(
        first.log_probabilities(embeddings.cell(9)), second.log_probabilities(embeddings.cell(9))
    )


@pytest.mark.parametrize("kind", ["attention", "feed-forward", "lstm", "residual"])
def test_same_seed_same_state_and_it_goes_through_a_file(kind: Kind) -> None:
    embeddings, bank, features, labels = world()
    options = replace(SMALL, kind=kind, steps=5, readout="mean")
    fits = [
        fit_approximator(embeddings, bank, features, TRAINING, VALIDATION, options, seed)[0] for seed in (0, 0, 1)
    ]
    first, second, third = (fit.state()["weights"] for fit in fits)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)
    again = FittedApproximator.from_state(through_file(fits[0].state()), features)
    cell = embeddings.cell(10)
    losses = again.losses(cell, labels)
    assert np.array_equal(losses, fits[0].losses(cell, labels))
    assert losses.dtype == np.float32
    log_q = again.log_probabilities(cell)
    assert losses.tolist() == [-log_q[i, labels[i]] for i in range(N)]
    np.testing.assert_allclose(np.exp(log_q).sum(axis=1), 1.0, atol=1e-5)


def test_features_are_standardised_as_when_it_was_trained() -> None:
    """Units do not matter: features in other ones make the same approximator."""
    embeddings, bank, features, _ = world()
    fits = [
        fit_approximator(embeddings, bank, some, TRAINING, VALIDATION, SMALL, 0)[0]
        for some in (features, 100 * features + 7)
    ]
    first, second = (fit.log_probabilities(embeddings.cell(9)) for fit in fits)
    np.testing.assert_allclose(first, second, atol=2e-3)


def test_refusals() -> None:
    embeddings, bank, features, labels = world()
    with pytest.raises(DataError, match=r"trained on and judged by: cell8\."):
        fit_approximator(embeddings, bank, features, np.arange(9), VALIDATION, SMALL, 0)
    with pytest.raises(DataError, match=r"0 training.*"):
        fit_approximator(embeddings, bank, features, np.arange(0), VALIDATION, SMALL, 0)
    with pytest.raises(DataError, match="11 embeddings for 13 cells of the bank; features of shape"):
        fit_approximator(embeddings.rows(slice(11)), bank, features[:5], TRAINING, VALIDATION, SMALL, 0)
    bad = features.copy()
    bad[3, 2] = np.inf
    with pytest.raises(DataError, match="not finite"):
        fit_approximator(embeddings, bank, bad, TRAINING, VALIDATION, SMALL, 0)
    with pytest.raises(DataError, match="at least two"):
        fit_approximator(embeddings, bank, features, TRAINING[:1], VALIDATION, replace(SMALL, kind="residual"), 0)

    fitted, _ = fit_approximator(embeddings, bank, features, TRAINING, VALIDATION, replace(SMALL, steps=1), 0)
    for unseen in (UNSEEN[:1], np.array([0, 9])):
        with pytest.raises(DataError, match="at least two"):
            kl_table(fitted, embeddings, bank, labels, TRAINING, unseen, 0)
    with pytest.raises(DataError, match="one cell at a time"):
        fitted.log_probabilities(embeddings)
    for wrong in (labels[:5], np.full(N, C), np.full(N, -1)):
        with pytest.raises(DataError, match=r"60 labels in \[0, 3\)"):
            fitted.losses(embeddings.cell(9), wrong)
    with pytest.raises(DataError, match="of other rows"):
        FittedApproximator.from_state(fitted.state(), features[:7])
    with pytest.raises(DataError, match="Not the state"):
        FittedApproximator.from_state({"kind": "attention"}, features)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "transformer"},
        {"readout": "last"},
        {"hidden": 0},
        {"steps": 0},
        {"batch": 1.5},
        {"check_every": 0},
        {"lr": 0.0},
        {"clip": 0.0},
        {"weight_decay": -0.1},
        {"dropout": 1.0},
    ],
)
def test_options_say_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        ApproximatorOptions(**wrong)
