"""What other packages are given and what they choose, against plain greedy, planted atoms and us."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tolerances import FLOAT64, of_share

from raysubset.bench import peers
from raysubset.bench.contenders import EPS, Contender, by_matrix
from raysubset.bench.kernels import CASES
from raysubset.bench.quality import coverage_error
from raysubset.bench.runs import solve
from raysubset.seeds import generator
from raysubset.selection.protocol import Context
from raysubset.selection.sampling import class_quotas
from tests.bench.made_pool import N, distances, of

pytestmark = pytest.mark.usefixtures("no_collection")


def test_peers_are_given_distances_turned_into_similarities(
    known: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "TILE", 64)
    squared = distances(of(known))
    found = peers.similarities(of(known))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, squared.max() - squared, atol=1e-5 * squared.max())  # float32, cancelling
    assert (found >= 0).all()


def test_textbook_pursuit_finds_the_planted_atoms() -> None:
    atoms = np.linalg.qr(generator(0, "atoms").normal(size=(12, 12)))[0]
    found = peers.textbook_matching_pursuit(atoms, 3 * atoms[7] - 2 * atoms[2] + atoms[5], 12, EPS)
    assert found.rows.tolist() == [7, 2, 5]
    np.testing.assert_allclose(found.weights, [3, -2, 1], rtol=FLOAT64)
    assert len(peers.textbook_matching_pursuit(atoms, atoms.sum(0), 4, EPS).rows) == 4


@pytest.mark.parametrize("peer", [peers.multinomial, peers.gumbel_topk])
def test_draws_of_peers_are_distinct_and_follow_their_seed(peer) -> None:
    values = torch.linspace(0, 1, 100)
    drawn = peer(values, 20, 3)
    assert len(set(drawn.tolist())) == 20
    assert drawn.tolist() == peer(values, 20, 3).tolist() != peer(values, 20, 4).tolist()


def test_noise_for_every_row_draws_by_the_exponentials_of_the_values() -> None:
    draws = 4000
    share = np.mean([peers.gumbel_topk(torch.tensor([0.0, 2.0, 0.0]), 1, seed)[0] == 1 for seed in range(draws)])
    expected = math.exp(2) / (2 + math.exp(2))
    assert abs(share - expected) < of_share(expected, draws)


def assert_greedy(similarity: NDArray[np.float64], picks: list[int]) -> None:
    """Each pick gains as much as any would: rows that cover only each other tie exactly."""
    covered = np.zeros(len(similarity))
    for pick in picks:
        gains = np.maximum(similarity - covered[:, None], 0).sum(axis=0)
        assert gains[pick] == pytest.approx(gains.max(), rel=1e-4)  # they work in float32
        covered = np.maximum(covered, similarity[:, pick])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize(
    ("package", "peer"),
    [
        ("submodlib", peers.submodlib_lazy),
        ("apricot", peers.apricot_lazy),
        ("apricot", peers.apricot_lazy_compiled),
    ],
)
def test_peers_pick_as_plain_greedy_does(known: Context, package: str, peer) -> None:
    pytest.importorskip(package)
    gradients = of(known).take(np.arange(60))
    squared = distances(gradients)
    picks = peer(peers.similarities(gradients), 9).tolist()
    assert len(set(picks)) == 9
    assert_greedy(squared.max() - squared, picks)


def test_peers_go_class_after_class_and_their_rows_are_those_of_the_pool(known: Context) -> None:
    sizes: list[int] = []

    def last_rows(matrix: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        sizes.append(len(matrix))
        return np.arange(len(matrix) - k, len(matrix))

    assert known.labels is not None
    counts = np.bincount(known.labels)
    run = solve(CASES["craig-class"], Contender("last", by_matrix(last_rows, classes=True)), known, None, 0)
    assert sizes == 2 * counts.tolist()  # once to warm up
    quotas = class_quotas(known.labels, N // 10)
    rows = np.concatenate([np.flatnonzero(known.labels == c)[-quota:] for c, quota in enumerate(quotas)])
    assert (run.picked, run.quality) == (N // 10, coverage_error(of(known), rows, known.labels))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", ["craig-class", "craig-20k"])
def test_peers_and_we_agree_on_small_pools(name: str, known: Context) -> None:
    pytest.importorskip("submodlib")
    pytest.importorskip("apricot")
    qualities = [solve(CASES[name], each, known, 300, 0).quality for each in CASES[name].contenders]
    assert qualities == pytest.approx([qualities[0]] * len(qualities), rel=1e-5)  # theirs is float32
