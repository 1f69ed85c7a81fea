"""The race: its generator, its law, and that nothing but values, rows and key decides who wins."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import CORRELATION_SIGMAS, KS_P_VALUE, PROPERTY, of_share

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.asp import ProxySampling
from raysubset.selection.kernels import backend, entrants
from raysubset.selection.kernels import race as race_module
from raysubset.selection.kernels.gumbel import leading_words, log, uniforms
from raysubset.selection.kernels.philox import philox4x32
from raysubset.selection.kernels.race import merged, race, race_key, race_top_m
from raysubset.selection.protocol import Context
from raysubset.selection.sampling import draw, gumbel_top_m

KNOWN_ANSWERS = [  # Random123, tests/kat_vectors: counter, key, result
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
BACKENDS = ["numba", "torch"] if backend.numba_available() else ["torch"]
KEY = 0x0123456789ABCDEF


@pytest.fixture(params=BACKENDS)
def on_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(race_module, "uses_numba", lambda device: request.param == "numba")
    return str(request.param)


def plain_noise(rows: NDArray[np.int64], key: int) -> NDArray[np.float64]:
    """Gumbel noise from the definition, in Python integers and the C library's logarithm."""
    noise = []
    for row in rows.tolist():
        k = (key & 0xFFFFFFFF, key >> 32)
        word = philox4x32((row // 8) & 0xFFFFFFFF, (row // 8) >> 32, 0, 0, *k)[row % 8 // 2]
        leading = word >> 16 if row % 2 else word & 0xFFFF
        a, b, _, _ = philox4x32(row & 0xFFFFFFFF, row >> 32, 1, 0, *k)
        bits = leading << 36 | a << 4 | b >> 28 | 1
        noise.append(-math.log(-math.log((2**52 - bits) / 2**52)))
    return np.array(noise)


def counter_uniforms(n: int, key: int, first: int = 0) -> NDArray[np.float64]:
    rows = torch.arange(first, first + n)
    words = torch.stack(
        leading_words(torch.arange(first // 8, (first + n + 7) // 8), key & 0xFFFFFFFF, key >> 32), 1
    )
    leading = torch.stack([words & 0xFFFF, words >> 16], 2).flatten()[first % 8 : first % 8 + n]
    return uniforms(rows, leading, key & 0xFFFFFFFF, key >> 32, lambda bits: bits.view(torch.float64)).numpy()


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers_in_python_numpy_and_torch(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert philox4x32(*counter, *key) == words
    arrays = philox4x32(*(np.full(3, c) for c in counter), *key)
    assert [a.tolist() for a in arrays] == [[w] * 3 for w in words]
    tensors = philox4x32(*(torch.full((2,), c) for c in counter), *key)
    assert [t.tolist() for t in tensors] == [[w] * 2 for w in words]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_compiled_philox_gives_the_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    pytest.importorskip("numba")
    from raysubset.selection.kernels.race_numba import philox_block

    assert philox_block(*counter, *key) == words


def test_written_logarithm_is_within_four_units_of_the_last_place() -> None:
    rng = generator(0, "log")
    x = np.concatenate(
        [rng.random(50_000), np.exp(rng.normal(size=50_000) * 20), [1.0, 2**-52, 1 - 2**-53, 2**0.5]]
    )
    got = log(x, lambda v: v.view(np.int64), lambda b: b.view(np.float64))
    exact = np.log(x.astype(np.longdouble))
    assert (np.abs(got - exact) <= 4 * np.spacing(np.abs(exact.astype(np.float64)))).all()


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    n = 200_000
    u = counter_uniforms(n, KEY)
    counts = np.bincount((u * 1000).astype(int), minlength=1000)
    chi2 = float(((counts - n / 1000) ** 2 / (n / 1000)).sum())  # 999 degrees: mean 999, sd sqrt(1998)
    assert abs(chi2 - 999) < 4 * math.sqrt(2 * 999)
    for bits in (16, 17, 24):  # bits across the seam of the two blocks
        tail = np.bincount((u * 2**bits).astype(np.int64) % 64, minlength=64)
        assert abs(float(((tail - n / 64) ** 2 / (n / 64)).sum()) - 63) < 4 * math.sqrt(2 * 63)
    for lag in (1, 2, 7, 8, 9, 64):  # rows of one block, and beyond
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < CORRELATION_SIGMAS / math.sqrt(n)
    for other in (counter_uniforms(n, KEY + 1), counter_uniforms(n, KEY ^ 1 << 63), counter_uniforms(n, KEY, n)):
        assert abs(np.corrcoef(u, other)[0, 1]) < CORRELATION_SIGMAS / math.sqrt(n)
    assert u.min() >= 2**-52
    assert u.max() <= 1 - 2**-52
    gaps = np.sort(u) - np.arange(n) / n
    assert np.abs(gaps).max() < math.sqrt(-math.log(KS_P_VALUE / 2) / 2 / n)


@pytest.mark.parametrize("first", [0, 5, 2**32 - 20, 2**40 + 3])
def test_keys_are_those_of_the_definition(on_backend: str, first: int) -> None:
    values = generator(0, "values").normal(size=100).astype(np.float32)
    rows = np.arange(first, first + 100)
    keys = values.astype(np.float64) / 0.7 + plain_noise(rows, KEY)
    for m in (1, 30, 100):
        won = race(values, m, KEY, 0.7, first_row=first)
        best = np.sort(np.argsort(-keys)[:m])
        assert won.rows.tolist() == rows[best].tolist()
        np.testing.assert_allclose(won.keys, keys[best], rtol=0, atol=1e-12)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds from 64 values, chunks of 300 rows: every branch within a few thousand rows."""
    monkeypatch.setattr(entrants, "SAMPLE", 64)
    monkeypatch.setattr(entrants, "CHUNK", 300)


SHAPES = {
    "exponential": lambda rng, n: rng.exponential(2, n),
    "sorted": lambda rng, n: np.sort(rng.normal(size=n)),
    "equal": lambda rng, n: np.full(n, -3.25),
    "one far above": lambda rng, n: np.where(np.arange(n) == n // 3, 900.0, rng.normal(size=n)),
    "huge range": lambda rng, n: rng.normal(size=n) * 1e6,
    "huge offset": lambda rng, n: 1e7 + rng.normal(size=n),
    "two levels": lambda rng, n: np.where(rng.random(n) < 0.01, 50.0, -700.0),
    "late spike": lambda rng, n: np.r_[np.zeros(n - 50), np.full(50, 30.0)],
}


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_ruling_rows_out_changes_nothing(on_backend: str, shape: str, kind: type) -> None:
    n = 3000
    values = SHAPES[shape](generator(1, shape), n).astype(kind)
    noise = counter_uniforms(n, KEY)
    keys = values.astype(np.float64) - np.log(-np.log(noise))
    by_key = np.lexsort((np.arange(n), -keys))
    for m in (1, 300, n):
        won = race(values, m, KEY)
        # Keys of the two logarithms differ in the last places; where values dwarf the noise those are ties.
        gap = 1e-14 * (1 + np.abs(keys).max())
        assert (keys[won.rows] >= keys[by_key[m - 1]] - gap).all()
        assert (np.diff(won.rows) > 0).all()
        assert len(won.rows) == m


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sweep_returns_every_key_above_its_threshold_and_no_other(on_backend: str, shape: str) -> None:
    n, first = 3000, 5
    values = SHAPES[shape](generator(2, shape), n).astype(np.float32)
    keys = values.astype(np.float64) / 0.7 - np.log(-np.log(counter_uniforms(n, KEY, first)))
    sweep = race_module._sweep(KEY, 0.7, float(np.abs(values).max()), "cpu")
    for share in (0.01, 0.3, 0.7, 0.99):
        below, above = np.sort(keys)[int(share * n) : int(share * n) + 2]
        positions, found = sweep(values, first, float(below + above) / 2)  # between two keys: no rounding decides
        np.testing.assert_array_equal(positions, np.flatnonzero(keys >= above))
        np.testing.assert_allclose(found, keys[positions], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("small_steps")
@PROPERTY
@given(st.integers(0, 2**32), st.integers(1, 900), st.sampled_from(sorted(SHAPES)), st.floats(0.01, 100))
@pytest.mark.slow
def test_backends_draw_the_same_rows_in_the_same_order(seed: int, m: int, shape: str, temperature: float) -> None:
    values = SHAPES[shape](generator(seed), 900).astype(np.float32)
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        for name in BACKENDS:
            patch.setattr(race_module, "uses_numba", lambda device, name=name: name == "numba")
            drawn.append(race_top_m(values, m, generator(seed, "draw"), temperature).tolist())
    assert all(rows == drawn[0] for rows in drawn)
    assert len(set(drawn[0])) == m


@pytest.mark.usefixtures("small_steps")
def test_a_threshold_set_too_high_falls(on_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spike lies between the sampled rows, or is all that they hit: both estimates are far off."""
    tried = []
    quantile = race_module._quantile

    def recorded(*args: object) -> float:
        tried.append(quantile(*args))  # type: ignore[arg-type]
        return tried[-1]

    monkeypatch.setattr(race_module, "_quantile", recorded)
    values = np.where(np.arange(6400) % 100 == 0, 40.0, 0.0).astype(np.float32)  # the sample meets only spikes
    won = race(values, 640, KEY)
    assert len(tried) > 1
    assert tried == sorted(tried, reverse=True)
    assert (values[won.rows] == 40).sum() == 64


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("m", [1, 100, 900])
def test_shards_merge_to_the_draw_over_all(on_backend: str, shards: int, m: int) -> None:
    values = generator(0, "shards").exponential(2, 1003).astype(np.float32)
    whole = race_top_m(values, m, generator(9)).tolist()
    key = race_key(generator(9))
    edges = np.linspace(0, len(values), shards + 1).astype(int)
    parts = [race(values[a:b], min(m, b - a), key, first_row=int(a)) for a, b in itertools.pairwise(edges)]
    assert merged(parts, m).tolist() == whole
    assert merged(parts[::-1], m).tolist() == whole


def test_merging_too_few_rows_is_refused() -> None:
    part = race(np.zeros(5), 3, KEY)
    with pytest.raises(BudgetError, match="m=4 of the n=3"):
        merged([part], 4)


def plackett_luce(weights: NDArray[np.float64], m: int) -> dict[tuple[int, ...], float]:
    """The probability of every ordered draw, by enumeration."""
    law = {}
    for rows in itertools.permutations(range(len(weights)), m):
        left, p = weights.sum(), 1.0
        for row in rows:
            p *= weights[row] / left
            left -= weights[row]
        law[rows] = p
    return law


def test_ordered_draws_follow_plackett_luce() -> None:
    """40,000 races at once: rows 5 j ... 5 j + 4 of one noise sequence are the j-th race."""
    values, races = np.array([0.0, 1.0, 2.0, 2.0, -1.0]), 40_000
    noise = -np.log(-np.log(counter_uniforms(5 * races, KEY))).reshape(races, 5)
    order = np.argsort(-(values + noise), axis=1)[:, :2]
    law = plackett_luce(np.exp(values), 2)
    for rows, p in law.items():
        assert abs((order == rows).all(axis=1).mean() - p) <= of_share(p, races)


@pytest.mark.slow
def test_races_of_many_keys_follow_plackett_luce() -> None:
    values, races, rng = np.array([0.0, 1.0, -1.0]), 4000, generator(0, "law")
    drawn = [tuple(race_top_m(values, 2, rng, 0.8).tolist()) for _ in range(races)]
    for rows, p in plackett_luce(np.exp(values / 0.8), 2).items():
        assert abs(drawn.count(rows) / races - p) <= of_share(p, races)


@pytest.mark.usefixtures("small_steps")
def test_large_draws_include_rows_as_often_as_gumbel_top_m_does() -> None:
    """Two levels of importance: the share of high rows drawn, from both samplers."""
    values = np.where(np.arange(4000) % 4 == 0, 1.5, 0.0).astype(np.float32)
    rng, other = generator(0, "race"), generator(0, "gumbel")
    ours = np.array([(values[race_top_m(values, 400, rng)] > 0).mean() for _ in range(15)])
    theirs = np.array([(values[gumbel_top_m(values, 400, other)] > 0).mean() for _ in range(15)])
    assert abs(ours.mean() - theirs.mean()) < 5 * math.sqrt((ours.var() + theirs.var()) / 15)


@pytest.mark.usefixtures("small_steps")
@PROPERTY
@given(st.integers(0, 2**32), st.sampled_from(sorted(SHAPES)))
def test_the_draw_for_m_is_a_prefix_of_the_draw_for_more(seed: int, shape: str) -> None:
    values = SHAPES[shape](generator(seed), 400).astype(np.float32)
    whole = race_top_m(values, 400, generator(seed)).tolist()
    assert sorted(whole) == list(range(400))
    for m in (1, 2, 39, 100, 399):
        assert race_top_m(values, m, generator(seed)).tolist() == whole[:m]
        assert race_top_m(values, m, generator(seed), ordered=False).tolist() == sorted(whole[:m])


@pytest.mark.usefixtures("small_steps")
def test_ties_go_to_the_lowest_row(on_backend: str) -> None:
    """At this temperature the noise is lost in rounding, so equal values have equal keys."""
    values = np.tile(np.array([1.0, 3.0, 2.0], np.float32), 300)
    rows = race_top_m(values, 450, generator(0), temperature=1e-30)
    assert rows.tolist() == [*range(1, 900, 3), *range(2, 450, 3)]


@pytest.mark.parametrize("base", [1.0, -1.0, 0.0, 1e9])
def test_keys_that_differ_in_their_last_bits_alone_are_put_in_order(base: float) -> None:
    """The sort gives these bits away for the position, and must put right what that did."""
    rng = generator(0, "last bits")
    keys = base + rng.integers(0, 500, 1000) * np.spacing(base)
    order = race_module._in_drawing_order(race_module.Finishers(np.arange(1000), keys))
    assert order.tolist() == sorted(range(1000), key=lambda row: (-keys[row], row))


def test_nothing_underflows(on_backend: str) -> None:
    for seed in range(20):
        rows = race_top_m(np.array([900.0, 0.0, 1.0, 2.0]), 3, generator(seed))
        assert rows[0] == 0
        assert len(set(rows.tolist())) == 3


def test_read_only_strided_and_single_values(on_backend: str) -> None:
    values = np.arange(20, dtype=np.float32)
    values.flags.writeable = False
    assert race_top_m(values, 20, generator(0), temperature=1e-6).tolist() == list(range(19, -1, -1))
    assert race_top_m(values[::2], 1, generator(0), temperature=1e-6).tolist() == [9]
    assert race_top_m(np.array([5.0]), 1, generator(0)).tolist() == [0]


@pytest.mark.parametrize("m", [0, -1, 4])
def test_budget_out_of_range(m: int) -> None:
    with pytest.raises(BudgetError, match=f"m={m} of n=3"):
        race_top_m(np.zeros(3), m, generator(0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    with pytest.raises(SelectionError, match="row 2"):
        race_top_m(np.array([1.0, 2.0, bad]), 1, generator(0))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(OptionsError, match="temperature="):
        race_top_m(np.zeros(3), 1, generator(0), temperature)


@pytest.fixture
def early_races(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raysubset.selection.sampling.RACE_FROM", 100)


def test_draw_is_gumbel_top_m_below_the_crossover() -> None:
    values = generator(0).normal(size=99)
    rows = draw(values, 9, generator(1), 0.5, "zscore")
    assert rows.tolist() == gumbel_top_m(values, 9, generator(1), 0.5, "zscore").tolist()


@pytest.mark.usefixtures("early_races")
def test_draw_is_the_race_above_the_crossover() -> None:
    values = generator(0).normal(size=100)
    assert (
        draw(values, 9, generator(1), 0.5).tolist()
        == race_top_m(values, 9, generator(1), 0.5, ordered=False).tolist()
    )
    scaled = (values - values.mean()) / values.std()
    assert (
        draw(values, 9, generator(1), 0.5, "zscore").tolist()
        == race_top_m(scaled, 9, generator(1), 0.5, ordered=False).tolist()
    )
    assert draw(np.arange(100), 9, generator(1), 1e-6).tolist() == list(range(91, 100))
    with pytest.raises(OptionsError, match="scale='minmax'"):
        draw(values, 9, generator(1), scale="minmax")  # type: ignore[arg-type]
    context = Context(100, None, {"loss": values.astype(np.float32)})
    rows = ProxySampling("loss").select(context, 9, generator(1)).indices
    assert rows.tolist() == race_top_m(values.astype(np.float32), 9, generator(1), ordered=False).tolist()


def test_small_draws_load_neither_torch_nor_numba() -> None:
    code = (
        "import sys, numpy as np\n"
        "from raysubset.selection.asp import ProxySampling\n"
        "from raysubset.selection.sampling import draw\n"
        "draw(np.zeros(1000), 10, np.random.default_rng(0))\n"
        "assert not {'torch', 'numba'} & set(sys.modules), 'loaded'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
