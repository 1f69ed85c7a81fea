"""Matching pursuit against scipy's NNLS, hand values and its own definition, with numba and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls
from tolerances import FLOAT64, PROPERTY

from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels import omp
from raysubset.selection.kernels.omp import Match, matching_pursuit

NNLS_EXCESS = 1.01  # the promised 1 %; measured: 1 + 2e-10
PURSUIT = golden("gradmatch")


@pytest.fixture(params=["numba", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(omp, "uses_numba", lambda device: request.param == "numba")
    return str(request.param)


def some_gradients(n: int = 60, c: int = 3, h: int = 7, seed: int = 0) -> Gradients:
    rng = np.random.default_rng(seed)
    residuals = rng.normal(size=(n, c)).astype(np.float32) + np.float32(0.3)
    features = np.maximum(rng.normal(size=(n, h)), 0).astype(np.float32)
    for array in (residuals, features):
        array.flags.writeable = False
    return Gradients(residuals, features)


def dense(gradients: Gradients) -> NDArray[np.float64]:
    """Atoms as columns, written out one by one."""
    assert gradients.features is not None
    return np.array(
        [
            np.outer(r.astype(np.float64), np.append(f.astype(np.float64), 1.0)).ravel()
            for r, f in zip(gradients.residuals, gradients.features, strict=True)
        ]
    ).T


def pursue(gradients: Gradients, k: int, lam: float = 0.0, eps: float = 1e-8) -> Match:
    return matching_pursuit(gradients.residuals, gradients.features, gradients.total(), k, lam, eps)


def objective(atoms: NDArray[np.float64], goal: NDArray[np.float64], weights: NDArray, lam: float) -> float:
    return float(np.linalg.norm(atoms @ weights - goal) ** 2 + lam * np.linalg.norm(weights) ** 2)


@pytest.mark.parametrize("case", PURSUIT["expected"])
def test_golden_values(path: str, case: str) -> None:
    lam, k = float(case.split("_")[0][3:]), int(case.split("_k")[1])
    atoms, goal = (
        np.array(PURSUIT["inputs"]["A"], np.float32).T,
        np.array(PURSUIT["inputs"]["target"]),
    )  # small integers
    expected = PURSUIT["expected"][case]
    match = matching_pursuit(atoms, None, goal[:, None], k, lam, eps=0.0)
    assert match.rows.tolist() == expected["selected"]
    np.testing.assert_allclose(match.weights, expected["weights"], atol=FLOAT64)
    assert match.error * np.linalg.norm(goal) == pytest.approx(expected["err"], abs=FLOAT64)
    for step in expected["trace"]:
        done = matching_pursuit(atoms, None, goal[:, None], len(step["weights"]), lam, eps=0.0)
        assert done.rows[-1] == step["pick"]
        np.testing.assert_allclose(done.weights, step["weights"], atol=FLOAT64)
        assert done.error * np.linalg.norm(goal) == pytest.approx(step["residual"], abs=FLOAT64)


@pytest.mark.parametrize("lam", [0.0, 0.5, 30.0])
@pytest.mark.parametrize("k", [1, 5, 20, 60])
def test_weights_are_the_nnls_solution_on_the_support(path: str, lam: float, k: int) -> None:
    gradients = some_gradients()
    match = pursue(gradients, k, lam)
    atoms, goal = dense(gradients)[:, match.rows], gradients.total().ravel()
    m = len(match.rows)
    stacked = np.vstack([atoms, np.sqrt(lam) * np.eye(m)])
    best, _ = nnls(stacked, np.append(goal, np.zeros(m)))
    reached = objective(atoms, goal, match.weights, lam)
    assert reached <= objective(atoms, goal, best, lam) * NNLS_EXCESS**2 + (FLOAT64 * np.linalg.norm(goal)) ** 2
    assert (match.weights > 0).all()
    assert match.error == pytest.approx(
        np.linalg.norm(atoms @ match.weights - goal) / np.linalg.norm(goal), abs=FLOAT64
    )


def test_without_a_limit_it_solves_the_whole_problem(path: str) -> None:
    """With k = n what is left is NNLS over all atoms, whatever was dropped on the way."""
    gradients = some_gradients(n=20, seed=3)
    goal = np.random.default_rng(1).normal(size=(3, 8)) * 10
    match = matching_pursuit(gradients.residuals, gradients.features, goal, 20, 0.0, 0.0)
    _, left = nnls(dense(gradients), goal.ravel())
    assert left > 1
    assert match.error * np.linalg.norm(goal) == pytest.approx(left, rel=1e-6)  # float32 correlations end it


def test_weights_that_turn_negative_are_dropped_and_the_rest_refitted(path: str) -> None:
    """By hand: the long atom 0 is picked first; with atom 1, which is the target itself, its weight is 0."""
    atoms = np.array([[2.0, 2.0, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    goal = np.array([[1.0], [1.0], [0.0]])
    assert matching_pursuit(atoms, None, goal, 1, 0.0, 0.0).rows.tolist() == [0]
    match = matching_pursuit(atoms, None, goal, 3, 0.0, 1e-12)
    assert match.rows.tolist() == [1]
    assert match.weights.tolist() == pytest.approx([1.0])


@pytest.mark.slow
def test_drops_happen_and_leave_an_exact_solution(path: str) -> None:
    """The picks of k = 30 are no extension of those of k = 29 at least once: atoms were dropped."""
    gradients = some_gradients(n=300, c=4, h=9, seed=5)
    supports = [set(pursue(gradients, k).rows.tolist()) for k in range(1, 36)]
    assert any(not small <= large for small, large in pairwise(supports))


@given(seed=st.integers(0, 2**32 - 1), lam=st.sampled_from([0.0, 1.0]))
@pytest.mark.slow
@PROPERTY
def test_objective_never_rises_with_k(seed: int, lam: float) -> None:
    gradients = some_gradients(n=25, c=2, h=3, seed=seed)
    goal = gradients.total()
    reached = []
    for k in range(1, 26):
        match = pursue(gradients, k, lam)
        assert len(set(match.rows.tolist())) == len(match.rows) <= k
        reached.append(objective(dense(gradients)[:, match.rows], goal.ravel(), match.weights, lam))
    floor = FLOAT64 * float(np.linalg.norm(goal)) ** 2
    assert all(later <= earlier * (1 + FLOAT64) + floor for earlier, later in pairwise(reached))


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 12), lam=st.sampled_from([0.0, 0.5]))
@PROPERTY
def test_each_pick_has_the_largest_correlation(seed: int, k: int, lam: float) -> None:
    gradients = some_gradients(n=20, c=3, h=4, seed=seed)
    before, after = pursue(gradients, k, lam), pursue(gradients, k + 1, lam)
    if not set(before.rows.tolist()) <= set(after.rows.tolist()) or len(after.rows) != len(before.rows) + 1:
        return  # it ended, or atoms were dropped on the way
    atoms = dense(gradients)
    left = gradients.total().ravel() - atoms[:, before.rows] @ before.weights
    scores = atoms.T @ left
    scores[before.rows] = -np.inf
    assert (
        scores[after.rows[-1]] >= scores.max() - 1e-5 * np.linalg.norm(left) * np.linalg.norm(atoms, axis=0).max()
    )


def test_both_paths_take_the_same_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = some_gradients(n=200, c=4, h=6)
    matches = []
    for numba in (True, False):
        monkeypatch.setattr(omp, "uses_numba", lambda device, numba=numba: numba)
        matches.append(pursue(gradients, 20, 0.5))
    assert matches[0].rows.tolist() == matches[1].rows.tolist()
    np.testing.assert_allclose(matches[0].weights, matches[1].weights, rtol=1e-8)


def test_factored_atoms_give_what_expanded_ones_give(path: str) -> None:
    gradients = some_gradients()
    factored = pursue(gradients, 10, 0.5)
    expanded = matching_pursuit(gradients.expanded(), None, gradients.total().reshape(-1, 1), 10, 0.5, 1e-8)
    assert factored.rows.tolist() == expanded.rows.tolist()
    np.testing.assert_allclose(factored.weights, expanded.weights, rtol=1e-5)  # expanded() rounds to float32


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_copies_of_a_row_leave_the_gram_matrix_solvable(path: str, lam: float) -> None:
    once = some_gradients(n=12)
    rows = np.repeat(np.arange(12), 5)
    match = pursue(once.take(rows), 40, lam, eps=0.0)
    assert len(set(match.rows.tolist())) == len(match.rows)
    assert np.isfinite(match.weights).all()
    assert (match.weights > 0).all()
    if lam == 0:
        originals = rows[match.rows]
        assert len(set(originals.tolist())) == len(originals), "a copy lies in the span of its original"
        assert match.error < 1e-6


def test_few_dimensions_end_with_few_atoms(path: str) -> None:
    """d = 10 without ridge: no more than ten independent atoms, however large k is; nothing fills up."""
    residuals = np.random.default_rng(0).normal(size=(1000, 10)).astype(np.float32)
    goal = residuals.sum(axis=0, dtype=np.float64)[:, None]
    match = matching_pursuit(residuals, None, goal, 100, 0.0, 1e-10)
    assert 1 <= len(match.rows) <= 10
    assert (match.weights > 0).all()
    assert match.error < 1e-6


def test_a_target_no_atom_points_to_gives_nothing(path: str) -> None:
    gradients = some_gradients()
    goal = np.zeros((3, 8))
    assert len(matching_pursuit(gradients.residuals, gradients.features, goal, 5, 0.5, 1e-4).rows) == 0
    against = -np.ones((3, 1))
    assert len(matching_pursuit(np.eye(3, dtype=np.float32), None, against, 2, 0.0, 0.0).rows) == 0


def test_equal_atoms_go_to_the_lowest_row(path: str) -> None:
    atoms = np.ones((40, 3), dtype=np.float32)
    match = matching_pursuit(atoms, None, np.full((3, 1), 40.0), 10, 0.0, 0.0)
    assert match.rows.tolist() == [0]
    assert match.weights[0] == pytest.approx(40)


def test_stops_as_soon_as_the_residual_is_small_enough(path: str) -> None:
    gradients = some_gradients()
    loose = pursue(gradients, 60, eps=0.05)
    assert loose.error <= 0.05
    assert pursue(gradients, len(loose.rows) - 1, eps=0.05).error > 0.05


def test_threads_do_not_disturb_each_other(path: str) -> None:
    pools = [some_gradients(n=150, seed=seed) for seed in range(4)]
    alone = [pursue(pool, 15, 0.5) for pool in pools]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda pool: pursue(pool, 15, 0.5), pools))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.weights, other.weights)
