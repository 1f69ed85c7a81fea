"""One seed, many named streams."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from tolerances import CORRELATION_SIGMAS, KS_P_VALUE, PROPERTY

from raysubset.seeds import Key, generator, row_uniforms, seed64

keys = st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=4).map(tuple)
row_ids = st.lists(st.integers(0, 2**62), min_size=1, max_size=50).map(lambda ids: np.array(ids, dtype=np.int64))


@PROPERTY
@given(st.integers(), keys)
def test_the_same_key_gives_the_same_stream(seed: int, key: tuple[Key, ...]) -> None:
    first = generator(seed, *key).random(4)
    generator(seed + 1, *key).random(100)
    assert generator(seed, *key).random(4).tolist() == first.tolist()
    assert seed64(seed, *key) == seed64(seed, *key)
    assert 0 <= seed64(seed, *key) < 2**63


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0,), (1,)),
        ((0, 1), (0, "1")),
        ((0, 1, 2), (0, 12)),
        ((0, "ab"), (0, "a", "b")),
        ((0, "a", 1), (0, 1, "a")),
        ((0,), (0, "")),
        ((0, -1), (0, 1)),
        ((1, 0), (10,)),
    ],
)
def test_different_keys_give_different_streams(left: tuple[Key, ...], right: tuple[Key, ...]) -> None:
    assert generator(*left).random() != generator(*right).random()  # type: ignore[arg-type]
    assert seed64(*left) != seed64(*right)  # type: ignore[arg-type]
    rows = np.arange(3)
    assert row_uniforms(*left, rows=rows).tolist() != row_uniforms(*right, rows=rows).tolist()  # type: ignore[arg-type]


def test_numpy_integers_are_integers() -> None:
    assert generator(np.int64(3), np.int64(4)).random() == generator(3, 4).random()  # type: ignore[arg-type]


def test_another_process_draws_the_same() -> None:
    """Python salts hash() anew in each process; a stream must not depend on it."""
    code = (
        "import numpy as np; from raysubset.seeds import *;"
        "print(seed64(7, 'x', 2), generator(7, 'x', 2).random(), row_uniforms(7, 'x', rows=np.arange(2)).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = (
        f"{seed64(7, 'x', 2)} {generator(7, 'x', 2).random()} {row_uniforms(7, 'x', rows=np.arange(2)).tolist()}"
    )
    assert done.stdout.strip() == here


def test_neighbouring_keys_are_uncorrelated() -> None:
    n = 20_000
    draws = [generator(0, epoch, "order").random(n) for epoch in range(4)]
    bound = CORRELATION_SIGMAS / n**0.5
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < bound


@PROPERTY
@given(st.integers(), keys, row_ids)
def test_a_rows_number_depends_on_key_and_row_alone(
    seed: int, key: tuple[Key, ...], rows: NDArray[np.int64]
) -> None:
    together = row_uniforms(seed, *key, rows=rows)
    alone = [row_uniforms(seed, *key, rows=rows[i : i + 1])[0] for i in range(len(rows))]
    assert together.tolist() == alone
    assert row_uniforms(seed, *key, rows=rows[::-1]).tolist() == alone[::-1]
    assert row_uniforms(seed, *key, rows=rows[:, None]).shape == (len(rows), 1)
    assert together.dtype == np.float64
    assert (together >= 0).all()
    assert (together < 1).all()


@pytest.mark.parametrize("rows", [np.arange(100_000), np.arange(100_000) * 1024 + 7], ids=["dense", "strided"])
def test_rows_are_uniform(rows: NDArray[np.int64]) -> None:
    assert stats.kstest(row_uniforms(0, 3, "flip", rows=rows), "uniform").pvalue > KS_P_VALUE


def test_rows_keys_and_neighbours_are_uncorrelated() -> None:
    n = 50_000
    rows = np.arange(n)
    draws = [row_uniforms(0, epoch, purpose, rows=rows) for epoch in (0, 1) for purpose in ("flip", "crop")]
    draws.append(np.roll(draws[0], 1))  # row i against row i + 1
    bound = CORRELATION_SIGMAS / n**0.5
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < bound


def test_no_rows_give_no_numbers_and_rows_stay_as_they_are() -> None:
    assert row_uniforms(0, rows=np.array([], dtype=np.int64)).shape == (0,)
    rows = np.arange(5)
    rows.flags.writeable = False
    row_uniforms(0, rows=rows)
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_global_generators_are_left_alone() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002  # read to see it was left alone
    generator(0, "a").random(10)
    row_uniforms(0, "a", rows=np.arange(10))
    seed64(0, "a")
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002
