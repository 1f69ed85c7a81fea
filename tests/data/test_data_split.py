from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raysubset.data.split import stratified_split, thin
from raysubset.errors import OptionsError

LABELS = st.lists(st.integers(0, 6), min_size=2, max_size=80).map(lambda values: np.array(values, dtype=np.int64))


@pytest.mark.slow
@given(labels=LABELS, fraction=st.floats(0.02, 0.98), seed=st.integers(0, 2**32))
def test_split_is_a_partition_of_the_exact_size(labels: np.ndarray, fraction: float, seed: int) -> None:
    total = round(fraction * len(labels))
    assume(0 < total < len(labels))
    train, validation = stratified_split(labels, fraction, seed)
    assert train.dtype == validation.dtype == np.int64
    assert len(validation) == total
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    classes, sizes = np.unique(labels, return_counts=True)
    big = classes[sizes >= 2]
    if len(big) <= total and len(labels) - total >= len(big):
        assert set(big) <= set(labels[train])
        assert set(big) <= set(labels[validation])


@given(sizes=st.lists(st.integers(20, 60), min_size=1, max_size=8), fraction=st.floats(0.1, 0.9))
def test_shares_are_quotas_rounded_up_or_down(sizes: list[int], fraction: float) -> None:
    """Quota rule of largest remainder; with 20 rows a class the one-row bounds do not bind."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    total = round(fraction * len(labels))
    quotas = [total * size / len(labels) for size in sizes]
    _, validation = stratified_split(labels, fraction, 0)
    counts = np.bincount(labels[validation], minlength=len(sizes)).tolist()
    assert all(abs(count - quota) < 1 for count, quota in zip(counts, quotas, strict=True))


def test_largest_remainder_by_hand() -> None:
    labels = np.repeat(
        [0, 1, 2], [7, 6, 7]
    )  # 5 of 20: quotas 1.75, 1.5, 1.75 -> floors 1, 1, 1 and +1 for 0 and 2
    _, validation = stratified_split(labels, 0.25, 3)
    assert np.bincount(labels[validation]).tolist() == [2, 1, 2]


def test_a_rare_class_keeps_a_row_on_each_side() -> None:
    labels = np.repeat([0, 5], [98, 2])
    for fraction in (0.1, 0.9):
        train, validation = stratified_split(labels, fraction, 0)
        assert (labels[train] == 5).sum() == (labels[validation] == 5).sum() == 1
        assert len(validation) == round(fraction * 100)


def test_split_depends_on_the_seed_alone() -> None:
    labels = np.arange(100) % 4
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the point is that it stays untouched
    first, again, other = (stratified_split(labels, 0.3, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.slow
def test_every_row_is_as_likely() -> None:
    labels = np.repeat([0, 1], 20)
    times = sum(np.isin(np.arange(40), stratified_split(labels, 0.25, seed)[1]) for seed in range(2000))
    assert np.abs(times / 2000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)  # five standard errors


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), 0.001])
def test_bad_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(OptionsError, match="0 < fraction < 1"):
        stratified_split(np.zeros(10, np.int64), fraction, 0)


@given(labels=LABELS, limit=st.integers(1, 100))
def test_thin_takes_the_first_rows_of_each_class(labels: np.ndarray, limit: int) -> None:
    rows = thin(labels, limit)
    assert len(rows) == min(limit, len(labels))
    assert (np.diff(rows) > 0).all()
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        kept = rows[labels[rows] == label]
        assert np.array_equal(kept, mine[: len(kept)])
        assert len(kept) >= 1 or limit < len(np.unique(labels))


def test_thin_refuses_less_than_a_row() -> None:
    with pytest.raises(OptionsError, match="limit=0"):
        thin(np.zeros(3, np.int64), 0)
