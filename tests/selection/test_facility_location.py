"""Facility location on features against golden values and dense similarities."""

from __future__ import annotations

import numpy as np
import pytest
from golden_values import golden
from numpy.typing import NDArray
from tolerances import FLOAT64

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.facility_location import FacilityLocation
from raysubset.selection.protocol import Context, Selector
from raysubset.testing.selectors import SelectorContract, make_context

SUBMODULAR = golden("submodular")
SELECTORS = {
    "euclidean": FacilityLocation(),
    "cosine": FacilityLocation("cosine"),
    "rbf": FacilityLocation("rbf"),
    "narrow rbf": FacilityLocation("rbf", bandwidth=0.2),
}


@pytest.mark.slow
class TestFacilityLocation(SelectorContract):
    @pytest.fixture(params=["euclidean", "cosine", "rbf"])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return SELECTORS[request.param]


def plain_greedy(similarity: NDArray[np.float64], k: int) -> list[int]:
    best, picks = np.zeros(len(similarity)), []
    for _ in range(k):
        gains = np.maximum(similarity - best[:, None], 0).sum(axis=0)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        best = np.maximum(best, similarity[:, picks[-1]])
    return picks


def test_golden_rbf() -> None:
    """exp(-d^2) is the rbf of bandwidth sqrt(1/2); the empty set covers nothing, a loss of 1 a row."""
    want = SUBMODULAR["expected"]["facility_location"]
    points = Context(5, features=np.array(SUBMODULAR["inputs"]["points"]))
    found = FacilityLocation("rbf", bandwidth=np.sqrt(0.5)).cover(points, 3, generator(0))
    assert found.rows.tolist() == want["selected"]
    np.testing.assert_allclose(found.gains(1.0), want["gains"], rtol=0, atol=1e-8)


def test_five_points_by_hand() -> None:
    """max(D) = 29, between (0, 0) and .. (5, 1) is 26: the gains 78, 30, 20 of a greedy done on paper."""
    features = np.array([[0, 0], [0, 1], [5, 0], [5, 1], [2, 3]], dtype=np.float64)
    found = FacilityLocation().cover(Context(5, features=features), 3, generator(0))
    assert found.rows.tolist() == [4, 2, 0]
    np.testing.assert_allclose(found.gains(26.0), [78, 30, 20], rtol=FLOAT64)


def test_equals_plain_greedy_on_dense_similarities() -> None:
    x = generator(1).normal(size=(90, 4))
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    dense = {
        "euclidean": squared.max() - squared,
        "cosine": 1 + unit @ unit.T,
        "rbf": np.exp(-squared / squared.mean()),
        "narrow rbf": np.exp(-squared / (2 * 0.2**2)),
    }
    for name, selector in SELECTORS.items():
        chosen = selector.select(Context(90, features=x), 9, generator(0)).indices.tolist()
        assert chosen == plain_greedy(dense[name], 9), name


def test_cosine_is_blind_to_length_and_keeps_zero_rows_apart() -> None:
    x = generator(2).normal(size=(60, 3))
    x[[5, 50]] = 0
    longer = x * generator(3).uniform(0.1, 9, size=(60, 1))
    chosen = FacilityLocation("cosine").select(Context(60, features=x), 10, generator(0)).indices
    again = FacilityLocation("cosine").select(Context(60, features=longer), 10, generator(0)).indices
    assert chosen.tolist() == again.tolist()
    assert 5 in chosen
    assert 50 not in chosen


def test_what_is_missing_or_wrong_is_named() -> None:
    features = np.zeros((4, 2), np.float32)
    features[3, 1] = np.nan
    with pytest.raises(SelectionError, match="row 3 hold nan"):
        FacilityLocation().select(Context(4, features=features), 2, generator(0))
    with pytest.raises(SelectionError, match="float16"):
        FacilityLocation().select(Context(4, features=np.zeros((4, 2), np.float16)), 2, generator(0))  # type: ignore[arg-type]
    with pytest.raises(SelectionError, match="facility_location measures distances"):
        FacilityLocation().select(Context(4), 2, generator(0))
    with pytest.raises(OptionsError, match=r"similarity='linear'.*bandwidth=-1.*memory_bytes=0"):
        FacilityLocation("linear", bandwidth=-1.0, memory_bytes=0)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="belongs to similarity='rbf'"):
        FacilityLocation("cosine", bandwidth=1.0)


def test_rows_come_back_through_a_shuffle() -> None:
    context = make_context("mixed")
    order = generator(4).permutation(47)
    chosen = FacilityLocation().select(context, 5, generator(0)).indices
    shuffled = FacilityLocation().select(context.restrict(order), 5, generator(0)).indices
    assert order[shuffled].tolist() == chosen.tolist()
