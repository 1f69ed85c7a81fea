from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.prototypes import Prototypes, cluster, keep_rows, prototype_distances
from raysubset.selection.sampling import class_quotas
from raysubset.testing.selectors import POOLS, SelectorContract, make_context


@pytest.mark.slow
class TestPrototypes(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return Prototypes()

    @pytest.fixture(params=POOLS)
    def context(self, request: pytest.FixtureRequest) -> Context:
        return make_context(request.param, n=17)


def test_golden() -> None:
    vector = golden("sorscher")
    features = np.asarray(vector["inputs"]["emb"])
    distances = prototype_distances(features, np.asarray(vector["inputs"]["assign"]))
    np.testing.assert_allclose(distances, vector["expected"]["distance"], rtol=FLOAT64)
    # rows 0 and 3 are equally far, as are 1 and 2
    assert keep_rows(distances, 3, "hard").tolist() == vector["expected"]["keep_hard3"]
    assert keep_rows(distances, 3, "easy").tolist() == vector["expected"]["keep_easy3"]


def test_empty_clusters_and_float32() -> None:
    features = np.array([[1.0], [3.0], [9.0]], dtype=np.float32)
    assert prototype_distances(features, np.array([4, 4, 1])).tolist() == [1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_separated_clusters_are_found_and_their_rows_ranked(keep: Any) -> None:
    rng = generator(0)
    centres = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    labels = np.repeat([0, 1, 2], 30)
    features = centres[labels] + rng.normal(size=(90, 2))
    means = np.stack([features[labels == c].mean(axis=0) for c in range(3)])
    distances = np.linalg.norm(features - means[labels], axis=1)
    expected = np.argsort(-distances if keep == "hard" else distances)[:20]
    context = Context(90, labels, features=features)
    chosen = Prototypes(keep=keep, floor=0.0).select(context, 20, generator(1))
    np.testing.assert_array_equal(chosen.indices, expected)
    unlabelled = Context(90, features=features)
    given_count = Prototypes(keep=keep, floor=0.0, clusters=3).select(unlabelled, 20, generator(1))
    np.testing.assert_array_equal(given_count.indices, expected)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    share=st.floats(0, 1),
    floor=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    keep=st.sampled_from(["hard", "easy"]),
)
@PROPERTY
def test_every_class_keeps_its_floor_and_the_rest_goes_by_difficulty(
    seed: int, n: int, share: float, floor: float, keep: Any
) -> None:
    rng = np.random.default_rng(seed)
    k = max(1, round(share * n))
    labels = rng.choice([0, 1, 3], n, p=[0.8, 0.15, 0.05])
    difficulty = rng.integers(0, 6, n).astype(np.float64)
    difficulty[labels == 0] += 10  # the large class holds all hard rows
    rows = keep_rows(difficulty, k, keep, labels, floor)
    assert len(set(rows.tolist())) == k
    order = sorted(range(n), key=lambda row: ((-1 if keep == "hard" else 1) * difficulty[row], row))
    assert rows.tolist() == sorted(rows.tolist(), key=order.index), "best first"
    owed: set[int] = set()
    for label, quota in enumerate(class_quotas(labels, k)):
        owed |= set([row for row in order if labels[row] == label][: int(floor * quota)])
    assert owed <= set(rows.tolist())
    expected = owed | set([row for row in order if row not in owed][: k - len(owed)])
    assert set(rows.tolist()) == expected


def test_a_floor_never_asks_more_than_a_class_has() -> None:
    labels = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1])  # class 0 has one row
    difficulty = np.arange(10.0)
    for k in range(1, 11):
        assert len(keep_rows(difficulty, k, "hard", labels, 1.0)) == k


def test_as_many_clusters_as_distinct_rows_at_most() -> None:
    features = np.array([[0.0], [0.0], [1.0], [1.0]])
    assignment = cluster(features, 4, generator(0))  # scikit-learn would warn, and warnings are errors
    assert assignment[0] == assignment[1] != assignment[2] == assignment[3]
    assert cluster(np.ones((5, 2)), 3, generator(0)).tolist() == [0, 0, 0, 0, 0]


def test_the_stream_seeds_k_means() -> None:
    features = generator(5).uniform(size=(300, 2))
    first, same, other = (cluster(features, 12, generator(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_labels_are_needed_for_a_floor_or_a_number_of_clusters() -> None:
    unlabelled = Context(4, features=np.eye(4))
    for options in ({"floor": 0.0}, {"clusters": 2}):
        with pytest.raises(SelectionError, match="Prototypes needs labels"):
            Prototypes(**options).select(unlabelled, 2, generator(0))
    with pytest.raises(SelectionError, match="needs labels"):
        keep_rows(np.ones(3), 1, "hard", None, 0.5)


def test_bad_features_are_refused() -> None:
    labels = np.zeros(3, dtype=np.int64)
    with pytest.raises(SelectionError, match="has none"):
        Prototypes().select(Context(3, labels), 1, generator(0))
    with pytest.raises(SelectionError, match="row 1"):
        Prototypes().select(Context(3, labels, features=np.array([[0.0], [np.nan], [1.0]])), 1, generator(0))
    with pytest.raises(SelectionError, match="float16"):
        Prototypes().select(Context(3, labels, features=np.ones((3, 1), dtype=np.float16)), 1, generator(0))


def test_bad_options_are_refused_together() -> None:
    with pytest.raises(OptionsError, match=r"keep='medium'.*clusters=0.*floor=1.5"):
        Prototypes(keep="medium", clusters=0, floor=1.5)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="floor=nan"):
        Prototypes(floor=float("nan"))


def test_predicted_cost_grows_with_rows_clusters_and_width() -> None:
    cost = Prototypes().flops(1000, 100, 10, 64)
    assert Prototypes().flops(2000, 100, 10, 64) > cost
    assert Prototypes().flops(1000, 100, 20, 64) > cost
    assert Prototypes(clusters=20).flops(1000, 100, 10, 64) > cost
