"""Na et al.'s proxy data: the golden histogram, its three laws, and the traps of the original."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from golden_values import golden
from tolerances import FLOAT64, of_share

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.proxy_data import LAWS, Law, ProxyData, bin_probabilities, histogram
from raysubset.testing.selectors import SelectorContract

GOLDEN = golden("proxydata_na")
EXPECTED = GOLDEN["expected"]
ENTROPY, WIDTH = np.array(GOLDEN["inputs"]["entropy"]), GOLDEN["inputs"]["bin_width"]


@pytest.mark.slow
class TestProxyData(SelectorContract):
    @pytest.fixture(params=LAWS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return ProxyData(request.param)


def pool(entropy: object) -> Context:
    values = np.asarray(entropy, dtype=np.float32)
    return Context(len(values), signals={"entropy": values})


def test_golden_histogram() -> None:
    bins, counts = histogram(ENTROPY, WIDTH)
    assert bins.tolist() == EXPECTED["bin"]
    assert counts.tolist() == EXPECTED["hist"]
    lowest = np.log10(ENTROPY[bins == 0])
    assert (EXPECTED["lo"] <= lowest).all()
    assert (lowest < EXPECTED["lo"] + WIDTH).all()


@pytest.mark.parametrize("law", LAWS)
def test_golden_probabilities(law: Law) -> None:
    bins, counts = histogram(ENTROPY, WIDTH)
    p = bin_probabilities(counts, law)
    np.testing.assert_allclose(p, EXPECTED[law], rtol=FLOAT64)
    np.testing.assert_allclose((p / np.maximum(counts, 1))[bins], EXPECTED["sample_prob"][law], rtol=FLOAT64)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_draws_follow_the_golden_probabilities(law: Law) -> None:
    p = np.array(EXPECTED["sample_prob"][law])
    rng, context = generator(0, law), pool(ENTROPY)
    drawn = np.array([ProxyData(law, WIDTH).select(context, 2, rng).indices for _ in range(2000)])
    first = np.bincount(drawn[:, 0], minlength=10) / 2000
    assert (np.abs(first - p) <= of_share(p, 2000)).all()
    inclusion = p.copy()
    for i, j in itertools.permutations(range(10), 2):
        inclusion[j] += p[i] * p[j] / (1 - p[i])
    both = np.bincount(drawn.ravel(), minlength=10) / 2000
    assert (np.abs(both - inclusion) <= of_share(inclusion, 2000)).all()


def test_an_entropy_of_zero_has_a_bin() -> None:
    bins, counts = histogram(np.array([0.0, 1e-12, 1e-11, 1.0]), 1.0)
    assert bins.tolist() == [0, 0, 1, 12]
    assert counts.sum() == 4
    assert len(ProxyData().select(pool([0.0, 0.0, 1.0]), 3, generator(0))) == 3


def test_a_value_on_an_edge_belongs_to_the_upper_bin() -> None:
    assert histogram(np.array([0.01, 0.1, 1.0, 10.0]), 1.0)[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("law", LAWS)
def test_empty_bins_have_no_mass(law: Law) -> None:
    p = bin_probabilities(np.array([3, 0, 1, 0, 3]), law)
    assert p.sum() == pytest.approx(1)
    assert p[[1, 3]].tolist() == [0, 0]
    assert (p[[0, 2, 4]] > 0).all()


def test_bad_inputs() -> None:
    with pytest.raises(OptionsError, match=r"law='P4', need one of P1, P2, P3; bin_width=0"):
        ProxyData("P4", 0)  # type: ignore[arg-type]
    with pytest.raises(SelectionError, match="no logits"):
        ProxyData().select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="row 1 is nan"):
        ProxyData().select(pool([0, np.nan]), 1, generator(0))
    assert ProxyData().flops(2000, 10, 10, 64) > 0


def test_every_part_of_the_golden_file_is_read() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(json.dumps(key) in text for key in EXPECTED if key not in LAWS)
