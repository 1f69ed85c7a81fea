from __future__ import annotations

from itertools import combinations

import dense_oracle as dense
import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.k_center import KCenter
from raysubset.selection.protocol import Context, Selector
from raysubset.testing.selectors import SelectorContract


@pytest.mark.slow
class TestKCenter(SelectorContract):
    @pytest.fixture(params=[None, 0])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return KCenter(start=request.param)


def radius(x: np.ndarray, picks: list[int]) -> float:
    return max(min(float(np.linalg.norm(row - x[p])) for p in picks) for row in x)


def test_golden() -> None:
    vector = golden("svp")
    features = np.asarray(vector["inputs"]["emb"])[:, None]
    rows = KCenter(start=0).select(Context(5, features=features), 3, generator(0)).indices
    assert rows.tolist() == vector["expected"]["kcenter3"]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9), k=st.integers(1, 9), d=st.integers(1, 3))
@PROPERTY
def test_radius_is_at_most_twice_the_best(seed: int, n: int, k: int, d: int) -> None:
    k = min(k, n)
    x = np.random.default_rng(seed).normal(size=(n, d)) * 100 + 1e4
    picks = KCenter().select(Context(n, features=x), k, generator(seed)).indices.tolist()
    best = min(radius(x, list(rows)) for rows in combinations(range(n), k))
    assert radius(x, picks) <= 2 * best + 1e-9
    assert picks == dense.farthest_first(x, k, start=picks[0])


def test_the_first_row_is_drawn_unless_given() -> None:
    context = Context(50, features=generator(1).normal(size=(50, 2)))
    firsts = {int(KCenter().select(context, 3, generator(seed)).indices[0]) for seed in range(100)}
    assert len(firsts) > 30
    assert all(KCenter(start=17).select(context, 3, generator(seed)).indices[0] == 17 for seed in range(3))


def test_rows_all_equal_go_by_number() -> None:
    context = Context(6, features=np.full((6, 3), 7.0, dtype=np.float32))
    assert KCenter(start=2).select(context, 6, generator(0)).indices.tolist() == [2, 0, 1, 3, 4, 5]


def test_huge_and_tiny_features_do_not_overflow() -> None:
    x = generator(2).normal(size=(30, 3)).astype(np.float32)
    rows = KCenter(start=0).select(Context(30, features=x), 10, generator(0)).indices
    for scale in (2.0**-80, 2.0**100):  # squares of float32 leave its range
        scaled = Context(30, features=x * np.float32(scale))
        np.testing.assert_array_equal(KCenter(start=0).select(scaled, 10, generator(0)).indices, rows)


def test_a_start_outside_the_pool_is_refused() -> None:
    with pytest.raises(OptionsError, match="start=-1"):
        KCenter(start=-1)
    with pytest.raises(SelectionError, match="row 5 of a pool of 5"):
        KCenter(start=5).select(Context(5, features=np.ones((5, 1))), 2, generator(0))


def test_bad_features_are_refused() -> None:
    with pytest.raises(SelectionError, match="has none"):
        KCenter().select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="row 1"):
        KCenter().select(Context(3, features=np.array([[0.0], [np.nan], [1.0]])), 1, generator(0))
    with pytest.raises(SelectionError, match="float16"):
        KCenter().select(Context(3, features=np.ones((3, 1), dtype=np.float16)), 1, generator(0))
