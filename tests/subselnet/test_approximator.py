"""Approximators: attention worked out by hand on the bare cell, padding, readouts, equal heads, the fast way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raysubset.models.init import seeded
from raysubset.subselnet.approximator import APPROXIMATORS, Approximator, ApproximatorShape, Kind
from raysubset.subselnet.embeddings import CellEmbeddings, Readout

SHAPE = ApproximatorShape(features=9, num_classes=3, hidden=32)
KINDS: list[Kind] = ["attention", "feed-forward", "lstm", "residual"]
READOUTS: list[Readout] = ["bfs_last", "output", "mean"]


def made(kind: Kind, readout: Readout = "bfs_last") -> Approximator:
    with seeded(1):
        network = APPROXIMATORS[kind](replace(SHAPE, readout=readout)).eval()
        torch.nn.init.normal_(network.rest[-1].weight)  # also the residual's, which begins at 0
    return network


def cells(sizes: list[int], slots: int = 7) -> CellEmbeddings:
    rng = np.random.default_rng(0)
    vectors = torch.zeros(len(sizes), slots, 16)
    for b, size in enumerate(sizes):
        vectors[b, :size] = torch.from_numpy(rng.normal(size=(size, 16)).astype(np.float32))
    mask = torch.arange(slots) < torch.tensor(sizes)[:, None]
    return CellEmbeddings(vectors, mask, torch.tensor([max(1, size - 2) for size in sizes]))


def features(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(count, 9)).astype(np.float32))


def by_hand(network: Approximator, vectors: np.ndarray, row: np.ndarray, place: int | None) -> np.ndarray:
    """Attention over the bare vectors of one cell, vertex by vertex, in float64; log q of one instance."""
    weight = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def norm(v: np.ndarray, name: str) -> np.ndarray:
        return (v - v.mean()) / math.sqrt(v.var() + 1e-5) * weight[f"{name}.weight"] + weight[f"{name}.bias"]

    made_rows = []
    for h in vectors:
        q = weight["query.weight"] @ h
        scores = np.array([q @ (weight["key.weight"] @ other) for other in vectors]) / math.sqrt(8)
        share = np.exp(scores) / np.exp(scores).sum()
        value = sum(a * (weight["value.weight"] @ other) for a, other in zip(share, vectors, strict=True))
        u = norm(h + weight["combine.weight"] @ value, "attended")
        inner = np.maximum(weight["mix.0.weight"] @ u + weight["mix.0.bias"], 0)
        made_rows.append(norm(u + weight["mix.2.weight"] @ inner + weight["mix.2.bias"], "mixed"))
    z = np.mean(made_rows, axis=0) if place is None else made_rows[place]
    x = np.concatenate([row, z])  # x first
    for name in ("first", "rest.2"):
        x = np.maximum(weight[f"{name}.weight"] @ x + weight[f"{name}.bias"], 0)
    logits = weight["rest.5.weight"] @ x + weight["rest.5.bias"]
    return np.asarray(logits - np.log(np.exp(logits).sum()))


@pytest.mark.parametrize("readout", READOUTS)
def test_gate_a_padded_cell_gives_what_its_bare_vectors_give(readout: Readout) -> None:
    network, four, row = made("attention", readout), cells([4]), features(1)
    found = network(four, row)[0].detach().numpy()
    place = {"bfs_last": 3, "output": 2, "mean": None}[readout]
    expected = by_hand(network, four.vectors[0, :4].double().numpy(), row[0].double().numpy(), place)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readout", READOUTS)
def test_what_stands_in_padded_rows_is_never_read(kind: Kind, readout: Readout) -> None:
    network, padded, rows = made(kind, readout), cells([4, 2, 6]), features(3)
    garbage = CellEmbeddings(torch.where(padded.mask[:, :, None], padded.vectors, 7.0), padded.mask, padded.output)
    torch.testing.assert_close(network(garbage, rows), network(padded, rows), rtol=0, atol=1e-6)
    bare = cells([4], slots=4)
    torch.testing.assert_close(network(bare, rows[:1]), network(padded, rows)[:1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readout", READOUTS)
def test_all_instances_at_once_is_each_pair_alone(kind: Kind, readout: Readout) -> None:
    network, some, rows = made(kind, readout), cells([7, 3]), features(20)
    for b in range(2):
        fast = network.all_instances(some.cell(b), network.instances(rows))
        slow = network(some.rows(torch.full((20,), b)), rows)
        torch.testing.assert_close(fast, slow, rtol=0, atol=2e-6)
        assert fast.exp().sum(dim=1).detach().numpy() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_matter(kind: Kind) -> None:
    network, some, rows = made(kind), cells([7, 3]), features(1)
    first, second = (network(some.cell(b), rows) for b in range(2))
    assert (first - second).abs().max() > 1e-3


def test_readouts_differ() -> None:
    some, rows = cells([5]), features(1)
    found = [made("attention", readout)(some, rows) for readout in READOUTS]
    assert all((found[a] - found[b]).abs().max() > 1e-4 for a, b in ((0, 1), (0, 2), (1, 2)))


def test_heads_are_equal_and_of_two_hidden_layers() -> None:
    heads = []
    for kind in KINDS:
        network = APPROXIMATORS[kind](ApproximatorShape(64, 10))
        heads.append(
            {k: tuple(v.shape) for k, v in network.state_dict().items() if k.startswith(("first", "rest"))}
        )
    assert heads[0] == heads[1] == heads[2] == heads[3]
    assert heads[0]["first.weight"] == (256, 80)
    assert heads[0]["rest.2.weight"] == (256, 256)
    assert heads[0]["rest.5.weight"] == (10, 256)


def test_lstm_reads_the_rows_one_after_another() -> None:
    network, seven = made("lstm", "output"), cells([7])
    changed = seven.vectors.clone()
    changed[0, 6] += 5.0  # after the output's row, 5
    later = CellEmbeddings(changed, seven.mask, seven.output)
    torch.testing.assert_close(network.vectors(later), network.vectors(seven), rtol=0, atol=0)
    changed[0, 0] += 5.0
    earlier = CellEmbeddings(changed, seven.mask, seven.output)
    assert (network.vectors(earlier) - network.vectors(seven)).abs().max() > 1e-3


def test_residual_begins_at_the_mean_and_adds_to_it() -> None:
    with seeded(0):
        network = APPROXIMATORS["residual"](SHAPE).eval()
    some, rows = cells([5]), features(4)
    mean = torch.log_softmax(rows[:, -3:], dim=1)
    rows = torch.cat([rows[:, :-3], mean], dim=1)
    torch.testing.assert_close(network.all_instances(some, network.instances(rows)), mean)
    torch.nn.init.constant_(network.rest[-1].bias[:1], 1.0)
    torch.testing.assert_close(
        network.all_instances(some, network.instances(rows)),
        torch.log_softmax(mean + torch.tensor([1.0, 0.0, 0.0]), dim=1),
    )


def test_dropout_is_of_the_head_and_in_training_alone() -> None:
    network, some, rows = made("attention"), cells([5] * 8), features(8)
    assert torch.equal(network(some, rows), network(some, rows))
    network.train()
    assert torch.equal(network.vectors(some), network.vectors(some))
    with seeded(0):
        assert not torch.equal(network(some, rows), network(some, rows))
