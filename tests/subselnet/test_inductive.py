"""The inductive sampler: between uniform and the closed form on unseen cells, its step against autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import plackett_oracle as oracle
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.errors import OptionsError
from raysubset.models.init import seeded
from raysubset.seeds import generator
from raysubset.subselnet import inductive
from raysubset.subselnet.inductive import (
    InductiveOptions,
    InductiveReport,
    InductiveScorer,
    Prediction,
    fit_inductive,
)

N, WIDTH, CLASSES = 300, 4, 3
TRAIN, CHECKS, UNSEEN = range(8), range(8, 10), range(10, 13)
LAMBDA = 0.3
SMALL = InductiveOptions(entropy=LAMBDA, ratios=(0.1,), hidden=(16, 8), steps=30, lr=3e-3)

Predict = Callable[[int], Prediction]


def world(n: int = N) -> tuple[Predict, NDArray[np.float32], NDArray[np.int64]]:
    """Networks that see the same in a row and are sure of it to a degree that their embedding tells."""
    rng = generator(0, "world")
    features = rng.normal(size=(n, WIDTH)).astype(np.float32)
    seen = features @ rng.normal(size=(WIDTH, CLASSES))
    labels = (seen + rng.normal(size=seen.shape)).argmax(axis=1)
    gains = rng.permutation(np.linspace(0.3, 2.0, 13))

    def predict(cell: int) -> Prediction:
        embedding = np.zeros(16, dtype=np.float32)
        embedding[:2] = gains[cell] - 1, 1.0
        logits = gains[cell] * seen
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses = -log_p[np.arange(n), labels]
        return Prediction(embedding, log_p.astype(np.float32), losses.astype(np.float32))

    return predict, features, labels


def scorer_of(seed: int = 0, scale: float = 1.0) -> InductiveScorer:
    with seeded(seed):
        scorer = InductiveScorer(16, WIDTH, CLASSES, (16, 8))
    with torch.no_grad():
        scorer.layers[-1].weight *= scale
    return scorer


def fit(options: InductiveOptions, seed: int = 0, **given: Any) -> tuple[InductiveScorer, InductiveReport]:
    predict, features, labels = world()
    return fit_inductive(given.pop("predict", predict), TRAIN, CHECKS, features, labels, options, seed, **given)


def logits_of(scorer: InductiveScorer, cell: int, ratio: float = 0.1) -> NDArray[np.float64]:
    predict, features, labels = world()
    seen = predict(cell)
    return scorer.logits(seen.cell, features, labels, seen.log_probabilities, ratio)


def test_gate_unseen_cells_lie_between_uniform_and_the_closed_form() -> None:
    scorer, report = fit(replace(SMALL, steps=200, lr=1e-2, ratios=(0.1, 0.3)))
    assert report.objective < report.uniform
    predict, _, _ = world()
    for cell in UNSEEN:
        losses = predict(cell).losses.astype(np.float64)
        for ratio in (0.1, 0.3):
            b = round(ratio * N)
            ours, blind, closed = (
                np.mean([oracle.objective(logits, losses, b, LAMBDA, generator(k)) for k in range(2)])
                for logits in (logits_of(scorer, cell, ratio), np.zeros(N), -losses / LAMBDA)
            )
            assert closed < ours < blind
            assert (blind - ours) / (blind - closed) > 0.6


def test_report_is_of_the_validation_cells() -> None:
    """Against a race of its own noise: four standard errors of 200 draws, the report's own draw among them."""
    scorer, report = fit(SMALL)
    predict, _, _ = world()
    for logits, told in ((None, report.uniform), (scorer, report.objective)):
        values = []
        for cell in CHECKS:
            losses = predict(cell).losses.astype(np.float64)
            pi = np.zeros(N) if logits is None else logits_of(logits, cell)
            values += [oracle.objective(pi, losses, 30, LAMBDA, generator(k, cell)) / 30 for k in range(40)]
        assert abs(told - np.mean(values)) < 4 * np.std(values)
        assert np.std(values) < 0.05


def differentiable(logits: Tensor, losses: Tensor, order: NDArray[np.int64], weight: float) -> Tensor:
    """V of one draw with the draw held fixed, from a softmax at every pick."""
    left, value = torch.ones(len(logits), dtype=torch.bool), torch.zeros(())
    for row in order:
        log_p = torch.log_softmax(logits[left], dim=0)
        value = value + (log_p.exp() * (losses[left] + weight * log_p)).sum()
        left = left.clone()
        left[row] = False
    return value


@pytest.mark.parametrize("count_weight", [0.0, 0.7])
def test_a_step_is_that_of_autograd_through_the_logits(
    count_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are far from logits here: the last layer is ten times what it begins with."""
    predict, features, labels = world()
    seen, scorer, copy = predict(3), scorer_of(scale=10.0), scorer_of(scale=10.0)
    orders: list[NDArray[np.int64]] = []
    draw = inductive.gumbel_top_m

    def spied(*given: Any) -> NDArray[np.int64]:
        orders.append(draw(*given))
        return orders[-1]

    monkeypatch.setattr(inductive, "gumbel_top_m", spied)
    arrays = (seen.cell, features, labels, seen.log_probabilities)
    logits = copy(*map(torch.from_numpy, arrays), 0.1)
    assert logits.max() > 2
    assert logits.min() < -1
    options = replace(SMALL, count_weight=count_weight)
    adam = torch.optim.SGD(scorer.parameters(), lr=0.0)
    inductive._step(scorer, adam, seen, features, labels, options, generator(0))  # type: ignore[arg-type]
    found = [weight.grad.clone() for weight in scorer.parameters() if weight.grad is not None]

    (order,) = orders
    assert len(order) == 30
    loss = differentiable(logits, torch.from_numpy(seen.losses), order, LAMBDA) / 30
    loss = loss + count_weight * (torch.sigmoid(logits).mean() - 0.1).abs() * 10
    expected = torch.autograd.grad(loss, list(copy.parameters()))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-4)


def test_the_draw_is_by_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    predict, features, labels = world()
    seen, scorer, drawn_by = predict(0), scorer_of(scale=100.0), []
    draw = inductive.gumbel_top_m
    monkeypatch.setattr(
        inductive, "gumbel_top_m", lambda logits, *rest: drawn_by.append(logits) or draw(logits, *rest)
    )
    logits = scorer(*map(torch.from_numpy, (seen.cell, features, labels, seen.log_probabilities)), 0.1)
    adam = torch.optim.SGD(scorer.parameters(), lr=0.0)
    inductive._step(scorer, adam, seen, features, labels, SMALL, generator(0))  # type: ignore[arg-type]
    np.testing.assert_allclose(drawn_by[0], logits.detach().numpy(), rtol=1e-6)


def test_counts_are_pulled_to_what_is_drawn() -> None:
    """About b scores are high with the term; without it nothing holds the shift of the logits."""
    sums = {}
    for weight in (0.0, 3.0):
        scorer, _ = fit(replace(SMALL, steps=300, count_weight=weight, lr=1e-2), checks=1)
        sums[weight] = [float((1 / (1 + np.exp(-raw))).sum()) for raw in map(raw_logits(scorer), UNSEEN)]
    assert sums[3.0] == pytest.approx([30.0] * 3, rel=0.5)
    assert min(abs(total - 30) for total in sums[0.0]) > 2 * max(abs(total - 30) for total in sums[3.0])


def raw_logits(scorer: InductiveScorer) -> Callable[[int], NDArray[np.float64]]:
    """Logits as the network gives them: the shift that draws do not see is what counts are made of."""

    def of(cell: int) -> NDArray[np.float64]:
        predict, features, labels = world()
        seen = predict(cell)
        with torch.no_grad():
            raw = scorer(*map(torch.from_numpy, (seen.cell, features, labels, seen.log_probabilities)), 0.1)
        return np.asarray(raw.double().numpy())

    return of


def test_a_row_by_hand() -> None:
    predict, features, labels = world()
    seen, scorer, row = predict(2), scorer_of(), 17
    given = np.concatenate(
        [
            seen.cell,
            [math.log(0.25)],
            features[row],
            [1.0 if label == labels[row] else 0.0 for label in range(CLASSES)],
            seen.log_probabilities[row],
        ]
    )
    for number in (0, 2, 4):
        weight, bias = (part.detach().double().numpy() for part in scorer.layers[number].parameters())
        given = weight @ given + bias
        given = given if number == 4 else np.where(given > 0, given, 0.01 * given)
    with torch.no_grad():
        arrays = map(torch.from_numpy, (seen.cell, features, labels, seen.log_probabilities))
        assert float(scorer(*arrays, 0.25)[row]) == pytest.approx(float(given[0]), abs=1e-5)


def test_logits_of_arrays_are_those_of_tensors_but_for_a_shift() -> None:
    predict, features, labels = world()
    seen, scorer = predict(2), scorer_of(scale=5.0)
    arrays = (seen.cell, features, labels, seen.log_probabilities)
    for array in arrays:
        array.flags.writeable = False  # as an object store hands them over
    found = scorer.logits(*arrays, 0.1)
    raw = raw_logits(scorer)(2)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, raw - raw.max(), atol=1e-5)


def test_everything_it_reads_has_a_say() -> None:
    predict, features, labels = world()
    seen, scorer = predict(2), scorer_of()
    arrays = [seen.cell, features, labels, seen.log_probabilities]
    plain = scorer.logits(*arrays, 0.1)  # type: ignore[arg-type]
    for place, other in enumerate((seen.cell + 1, features[::-1].copy(), (labels + 1) % CLASSES, -arrays[3])):
        changed = [*arrays[:place], other, *arrays[place + 1 :]]
        assert np.abs(scorer.logits(*changed, 0.1) - plain).max() > 1e-3
    assert np.abs(scorer.logits(*arrays, 0.3) - plain).max() > 1e-3  # type: ignore[arg-type]


def test_one_network_serves_its_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step draws for one ratio, as many rows as it says, and tells the network."""
    picks, told = [], []
    estimate, forward = inductive.prefix_estimate, InductiveScorer.forward
    monkeypatch.setattr(
        inductive, "prefix_estimate", lambda *given: picks.append(len(given[2])) or estimate(*given)
    )
    monkeypatch.setattr(InductiveScorer, "forward", lambda *given: told.append(given[-1]) or forward(*given))
    predict, features, labels = world()
    scorer, rng = scorer_of(), generator(0)
    adam = torch.optim.Adam(scorer.parameters())
    options = replace(SMALL, ratios=(0.05, 0.5), rows=100)
    for _ in range(20):
        inductive._step(scorer, adam, predict(0), features, labels, options, rng)
    assert set(picks) == {5, 50}
    assert [round(100 * ratio) for ratio in told] == picks


def test_a_step_takes_no_more_rows_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each with its own label, features, prediction and loss."""
    predict, features, labels = world()
    seen, taken = predict(1), []
    estimate, forward = inductive.prefix_estimate, InductiveScorer.forward

    def spied(self: InductiveScorer, *given: Any) -> Tensor:
        taken.append([np.asarray(array) for array in given[1:4]])
        return forward(self, *given)

    monkeypatch.setattr(InductiveScorer, "forward", spied)
    losses = []
    monkeypatch.setattr(inductive, "prefix_estimate", lambda *given: losses.append(given[1]) or estimate(*given))
    scorer = scorer_of()
    adam = torch.optim.Adam(scorer.parameters())
    inductive._step(scorer, adam, seen, features, labels, replace(SMALL, rows=50), generator(0))
    (some, classes, log_p), (cost,) = taken[0], losses
    rows = [int(np.flatnonzero((features == row).all(axis=1))[0]) for row in some]
    assert len(set(rows)) == 50
    np.testing.assert_array_equal(classes, labels[rows])
    np.testing.assert_array_equal(log_p, seen.log_probabilities[rows])
    np.testing.assert_allclose(cost, seen.losses[rows])


def test_same_seed_same_state_and_the_global_stream_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    states = [fit(SMALL, seed)[0].state_dict() for seed in (0, 0, 1)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not any(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_the_state_kept_is_the_best_on_the_validation_cells() -> None:
    """The more is learnt of the others, the further it is from these, whose losses are turned round."""
    plain, _, _ = world()

    def predict(cell: int) -> Prediction:
        seen = plain(cell)
        return replace(seen, losses=3 - seen.losses) if cell in CHECKS else seen

    options = replace(SMALL, steps=203, lr=1e-2)
    kept, report = fit(options, predict=predict, checks=7)
    assert len(report.checks) == 7
    assert report.objective == min(report.checks) == report.checks[0] < report.checks[-1]
    short, other = fit(replace(options, steps=29), predict=predict, checks=1)  # ends at the first check of seven
    assert other.objective == report.objective
    assert all(torch.equal(value, short.state_dict()[name]) for name, value in kept.state_dict().items())


def test_only_training_cells_are_learnt_from() -> None:
    plain, _, _ = world()
    asked = []

    def predict(cell: int) -> Prediction:
        asked.append(cell)
        return plain(cell)

    fit(replace(SMALL, steps=60), predict=predict, checks=2)
    # each of them once: predictions are kept
    assert sorted({*asked}) == [*TRAIN, *CHECKS]
    assert [asked.count(cell) for cell in CHECKS] == [1, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"entropy": 0.0},
        {"entropy": math.inf},
        {"lr": 0.0},
        {"lr": math.nan},
        {"count_weight": -0.1},
        {"count_weight": math.inf},
        {"ratios": ()},
        {"ratios": (0.1, 1.0)},
        {"ratios": (0.0,)},
        {"hidden": (64,)},
        {"hidden": (64, 0)},
        {"steps": 0},
        {"steps": 10.5},
        {"rows": 1},
    ],
    ids=str,
)
def test_options_say_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=f"InductiveOptions: {next(iter(wrong))}="):
        InductiveOptions(**wrong)


def test_faults_come_together() -> None:
    with pytest.raises(OptionsError, match="entropy=-1.*ratios=.*steps=0"):
        InductiveOptions(entropy=-1, ratios=(2.0,), steps=0)


def test_a_cell_is_predicted_once_unless_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(cell: int) -> Prediction:
        asked.append(cell)
        return world()[0](cell)

    kept, _ = fit(SMALL, predict=counted)
    assert sorted(asked[1:]) == sorted(set(asked))  # the first tells the sizes
    asked.clear()
    monkeypatch.setattr(inductive, "KEPT_BYTES", 1)
    again, _ = fit(SMALL, predict=counted)
    assert len(asked) > SMALL.steps / 2
    assert all(torch.equal(one, kept.state_dict()[name]) for name, one in again.state_dict().items())
