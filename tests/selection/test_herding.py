from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import SelectionError
from raysubset.seeds import generator
from raysubset.selection.herding import Herding
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import SelectorContract


@pytest.mark.slow
class TestHerding(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return Herding()


def errors(x: np.ndarray, picks: list[int]) -> list[float]:
    """Distance of the mean of the first t picks to the mean of all."""
    return [float(np.linalg.norm(x[picks[: t + 1]].mean(axis=0) - x.mean(axis=0))) for t in range(len(picks))]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), shift=st.sampled_from([0.0, 100.0]))
@pytest.mark.slow
@PROPERTY
def test_each_pick_brings_the_mean_closest(seed: int, n: int, shift: float) -> None:
    x = np.random.default_rng(seed).normal(size=(n, 3)) + shift
    picks = Herding().select(Context(n, features=x), n, generator(0)).indices.tolist()
    for t, reached in enumerate(errors(x, picks)):
        rivals = [errors(x, [*picks[:t], j])[-1] for j in range(n) if j not in picks[:t]]
        assert reached <= min(rivals) + 1e-9


def test_on_the_sphere_it_is_wellings_herding() -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 40)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    w, expected = x.mean(axis=0), []
    for _ in range(12):
        scores = x @ w
        scores[expected] = -np.inf  # without replacement
        expected.append(int(scores.argmax()))
        w = w + x.mean(axis=0) - x[expected[-1]]
    assert Herding().select(Context(40, features=x), 12, generator(0)).indices.tolist() == expected


def test_it_beats_random_rows_by_far() -> None:
    x = generator(1).normal(size=(500, 5)).astype(np.float32)
    rng = generator(2)
    picks = Herding().select(Context(500, features=x), 50, rng).indices.tolist()
    drawn = [errors(x, rng.choice(500, 50, replace=False).tolist())[-1] for _ in range(20)]
    assert errors(x, picks)[-1] < min(drawn) / 5


def test_in_each_class_by_the_wrapper() -> None:
    x = generator(3).normal(size=(60, 2))
    labels = np.repeat([0, 1, 2], 20)
    x[labels == 1] += 10
    rows = PerClass(Herding()).select(Context(60, labels, features=x), 30, generator(0)).indices
    for label in range(3):
        own = Herding().select(Context(20, features=x[labels == label]), 10, generator(0)).indices
        np.testing.assert_array_equal(rows[labels[rows] == label], 20 * label + own)


def test_rows_all_equal_go_by_number() -> None:
    context = Context(5, features=np.full((5, 3), 0.3, dtype=np.float32))
    assert Herding().select(context, 5, generator(0)).indices.tolist() == [0, 1, 2, 3, 4]


def test_bad_pools_are_refused() -> None:
    with pytest.raises(SelectionError, match="has none"):
        Herding().select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="row 2"):
        Herding().select(Context(3, features=np.array([[0.0], [1.0], [np.inf]])), 1, generator(0))
    with pytest.raises(SelectionError, match="float16"):
        Herding().select(Context(3, features=np.ones((3, 1), dtype=np.float16)), 1, generator(0))
    with pytest.raises(SelectionError, match="labels"):
        PerClass(Herding()).select(Context(3, features=np.ones((3, 1))), 1, generator(0))


def test_predicted_cost() -> None:
    assert Herding().flops(1000, 100, 10, 64) >= 2 * 1000 * 100 * 64
