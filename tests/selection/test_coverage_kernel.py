"""The cover kernel against dense matrices, exhaustive search and itself by another road."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import COVER_GAIN_FLOAT32, FLOAT64, PROPERTY

from raysubset.errors import BudgetError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels import backend
from raysubset.selection.kernels.coverage import Cover, cover, flops_of_cover
from raysubset.selection.kernels.pairs import Loss

LOSSES = {"squared": Loss(), "euclidean": Loss("euclidean"), "rbf": Loss("rbf", 1.7)}


def dense(points: Gradients, loss: Loss) -> NDArray[np.float64]:
    """All losses, from the gradients written out and subtracted."""
    g = points.residuals.astype(np.float64)
    if points.features is not None:
        g = np.stack([np.outer(r, [*h, 1.0]).ravel() for r, h in zip(g, points.features, strict=True)])
    squared = np.stack([((g - row) ** 2).sum(axis=1) for row in g])
    if loss.kind == "euclidean":
        return np.sqrt(squared)
    return 1 - np.exp(-squared / (2 * loss.bandwidth**2)) if loss.kind == "rbf" else squared


def make_points(seed: int, n: int, c: int, h: int | None, dtype: type = np.float64) -> Gradients:
    rng = generator(seed, "cover")
    features = None if h is None else rng.normal(size=(n, h)).astype(dtype)
    return Gradients(rng.normal(size=(n, c)).astype(dtype), features)


def worst_shortfall(
    losses: NDArray[np.float64], found: Cover, candidates: NDArray[np.int64] | None = None, skip: int = 0
) -> float:
    """By how much a pick's gain falls short of the best gain at its step, at most; in units of the first cost."""
    allowed = np.arange(len(losses)) if candidates is None else candidates
    now, worst = np.full(len(losses), losses.max() * 2), 0.0
    for step, row in enumerate(found.rows):
        if step >= skip:
            gains = np.maximum(now[:, None] - losses[:, allowed], 0).sum(axis=0)
            worst = max(worst, gains.max() - np.maximum(now - losses[:, row], 0).sum())
        now = np.minimum(now, losses[:, row])
    return worst / (losses[:, found.rows[0]].sum() + 1e-12)


def check_bookkeeping(losses: NDArray[np.float64], found: Cover, tolerance: float) -> None:
    k = len(found.rows)
    assert len(np.unique(found.rows)) == k
    running = np.minimum.accumulate(losses[:, found.rows], axis=1).sum(axis=0)
    scale = running[0] + 1e-12
    np.testing.assert_allclose(found.costs / scale, running / scale, atol=tolerance)
    own = losses[np.arange(len(losses)), found.rows[found.nearest]]
    np.testing.assert_allclose(own / scale, losses[:, found.rows].min(axis=1) / scale, atol=tolerance)
    assert found.nearest[found.rows].tolist() == list(range(k))
    assert found.counts().sum() == len(losses)


@pytest.fixture(params=["numba", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(backend, "numba_available", lambda: False)
    elif not backend.numba_available():
        pytest.skip("numba is not installed")
    return str(request.param)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(("n", "c", "h"), [(40, 3, 4), (233, 4, 6), (300, 3, None)])
def test_every_pick_is_the_best_of_its_step(kind: str, n: int, c: int, h: int | None) -> None:
    points, loss = make_points(1, n, c, h), LOSSES[kind]
    losses = dense(points, loss)
    found = cover(points, n // 7, generator(0), loss=loss)
    assert worst_shortfall(losses, found) < FLOAT64
    check_bookkeeping(losses, found, FLOAT64)


@pytest.mark.slow
@pytest.mark.parametrize("members", ["all", "some"])
def test_whole_numbers_give_the_picks_of_plain_greedy(path: str, members: str) -> None:
    """Every distance and every sum is exact, and most steps are ties: 1,100 rows are three tiles a side."""
    rng = generator(2)
    points = Gradients(
        rng.integers(-1, 2, (1100, 3)).astype(np.float32), rng.integers(-1, 3, (1100, 4)).astype(np.float32)
    )
    candidates = np.arange(1100) if members == "all" else np.sort(rng.choice(1100, 1061, replace=False))
    found = cover(points, 40, generator(0), candidates=candidates if members == "some" else None, exact=True)
    losses = dense(points, Loss())
    now, picks = np.full(1100, losses.max()), []
    for _ in range(40):
        gains = np.maximum(now[:, None] - losses[:, candidates], 0).sum(axis=0)
        gains[np.isin(candidates, picks)] = -1
        picks.append(int(candidates[gains.argmax()]))
        now = np.minimum(now, losses[:, picks[-1]])
    assert found.rows.tolist() == picks
    check_bookkeeping(losses, found, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_float32_pools_larger_than_the_sample(path: str, kind: str) -> None:
    """Of 1,100 rows the first 2 picks are the sample's; all later ones are the best of their step."""
    points, loss = make_points(2, 1100, 3, 4, np.float32), LOSSES[kind]
    losses = dense(points, loss)
    found = cover(points, 16, generator(0), loss=loss)
    assert worst_shortfall(losses, found, skip=2) < COVER_GAIN_FLOAT32
    check_bookkeeping(losses, found, COVER_GAIN_FLOAT32)
    exact = cover(points, 16, generator(0), loss=loss, exact=True)
    assert worst_shortfall(losses, exact) < COVER_GAIN_FLOAT32
    assert found.costs[-1] < 1.02 * exact.costs[-1]


@pytest.mark.slow
def test_both_paths_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    if not backend.numba_available():
        pytest.skip("numba is not installed")
    points = make_points(3, 1500, 5, 7, np.float32)
    compiled = cover(points, 60, generator(4))
    monkeypatch.setattr(backend, "numba_available", lambda: False)
    plain = cover(points, 60, generator(4))
    np.testing.assert_array_equal(compiled.rows, plain.rows)
    np.testing.assert_array_equal(compiled.nearest, plain.nearest)
    np.testing.assert_allclose(compiled.costs, plain.costs, rtol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_candidates_alone_are_picked_and_all_rows_covered(kind: str) -> None:
    points, loss = make_points(5, 600, 3, 4), LOSSES[kind]
    candidates = np.sort(generator(6).choice(600, 530, replace=False)).astype(np.int64)
    found = cover(points, 50, generator(0), loss=loss, candidates=candidates)
    assert set(found.rows) <= set(candidates)
    losses = dense(points, loss)
    assert worst_shortfall(losses, found, candidates) < FLOAT64
    check_bookkeeping(losses, found, FLOAT64)


def test_candidates_all_taken() -> None:
    points, candidates = make_points(7, 30, 2, None), np.array([4, 9, 20])
    assert sorted(cover(points, 3, generator(0), candidates=candidates).rows) == [4, 9, 20]
    with pytest.raises(BudgetError, match="k=4 of n=3"):
        cover(points, 4, generator(0), candidates=candidates)


@PROPERTY
@given(st.integers(1, 10), st.integers(1, 10), st.integers(0, 10**6), st.sampled_from(sorted(LOSSES)))
def test_at_least_1_minus_1_over_e_of_the_best(n: int, k: int, seed: int, kind: str) -> None:
    k = min(k, n)
    rng = generator(seed)
    points = Gradients(rng.integers(-3, 4, size=(n, 2)).astype(np.float64))
    losses = dense(points, LOSSES[kind])
    empty = losses.max()
    found = cover(points, k, rng, loss=LOSSES[kind])
    reached = n * empty - found.costs[-1]
    best = max(
        n * empty - losses[:, rows].min(axis=1).sum() for rows in map(list, itertools.combinations(range(n), k))
    )
    assert reached >= (1 - 1 / np.e) * best - 1e-9
    assert found.gains(empty).sum() == pytest.approx(reached)
    assert (np.diff(found.gains(empty)) <= 1e-9).all()


@PROPERTY
@given(st.integers(2, 60), st.integers(0, 10**6))
@pytest.mark.slow
def test_picks_of_shuffled_rows_map_back(n: int, seed: int) -> None:
    """Not to the same rows: of two that would stand for each other alone, either is as good as the other."""
    rng = generator(seed)
    points = make_points(seed, n, 3, 2)
    order, k = rng.permutation(n), int(rng.integers(1, n + 1))
    found = cover(points.take(order), k, generator(0))
    back = np.empty(n, dtype=np.int64)
    back[order] = found.nearest
    mapped = Cover(order[found.rows], found.costs, back)
    losses = dense(points, Loss())
    assert worst_shortfall(losses, mapped) < FLOAT64
    check_bookkeeping(losses, mapped, FLOAT64)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 17, 1100])
def test_equal_rows_are_picked_in_order_and_the_first_stands_for_the_rest(path: str, n: int) -> None:
    points = Gradients(np.full((n, 3), 0.7, np.float32), np.full((n, 2), 0.3, np.float32))
    k = min(n, 5)
    found = cover(points, k, generator(0))
    assert (found.costs == 0).all()
    assert found.counts().tolist() == [n - k + 1] + [1] * (k - 1)
    if n <= 1024:
        assert found.rows.tolist() == list(range(k))


@pytest.mark.parametrize("n", [1, 9, 1050])
def test_all_rows(path: str, n: int) -> None:
    found = cover(make_points(8, n, 2, 2, np.float32), n, generator(0))
    assert sorted(found.rows) == list(range(n))
    assert abs(found.costs[-1]) <= COVER_GAIN_FLOAT32 * found.costs[0]
    assert found.counts().tolist() == [1] * n


def test_of_copies_the_first_is_picked() -> None:
    half = make_points(9, 400, 3, 4)
    both = half.take(np.tile(np.arange(400), 2))
    found = cover(both, 40, generator(0))
    assert found.rows.max() < 400
    np.testing.assert_array_equal(found.rows, cover(half, 40, generator(0)).rows)


@pytest.mark.slow
def test_more_seeds_keep_a_tight_cap_and_an_impossible_one_is_refused(path: str) -> None:
    points = make_points(10, 3000, 3, None, np.float32)
    free = cover(points, 300, generator(0))
    assert free.costs[-1] <= cover(points, 300, generator(0), memory_bytes=26 << 20).costs[-1] * 1.02
    with pytest.raises(
        BudgetError, match=r"memory_bytes=2,000,000 cannot be kept: k=300 of n=3,000 .*rows at once"
    ):
        cover(points, 300, generator(0), memory_bytes=2_000_000)
    with pytest.raises(BudgetError, match=r"memory_bytes=26,000,000 .*after 1 picks"):
        cover(points, 300, generator(0), memory_bytes=26_000_000, exact=True)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(SelectionError, match="row 2 hold nan"):
        Gradients(np.array([[0.0], [1.0], [np.nan]]))
    with pytest.raises(SelectionError, match="float16"):
        Gradients(np.zeros((2, 2), np.float16))
    with pytest.raises(SelectionError, match=r"Row 1 .*overflow"):
        cover(Gradients(np.array([[0.0], [1e200]])), 1, generator(0))
    for k in (0, -1, 6):
        with pytest.raises(BudgetError, match=f"k={k} of n=5"):
            cover(make_points(0, 5, 2, None), k, generator(0))


def test_a_common_offset_does_not_blur_float32_distances(path: str) -> None:
    vectors = generator(11).normal(size=(1200, 4)).astype(np.float32)
    near = cover(Gradients(vectors), 30, generator(0), exact=True)
    far = cover(Gradients(vectors + np.float32(1000)), 30, generator(0), exact=True)
    assert far.costs[-1] == pytest.approx(near.costs[-1], rel=1e-3)


@pytest.mark.slow
def test_threads_do_not_share(path: str) -> None:
    pools = [make_points(seed, 1040, 3, 4, np.float32) for seed in range(6)]
    alone = [cover(p, 30, generator(0)).rows.tolist() for p in pools]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda p: cover(p, 30, generator(0)).rows.tolist(), pools))
    assert together == alone


def test_the_cost_model_halves_by_symmetry_and_grows_with_the_square() -> None:
    assert flops_of_cover(20_000, 20_000, 200, 75) == pytest.approx(
        4 * flops_of_cover(10_000, 10_000, 100, 75), rel=0.1
    )
    assert flops_of_cover(10_000, 9_999, 100, 75) > 1.8 * flops_of_cover(10_000, 10_000, 100, 75)
