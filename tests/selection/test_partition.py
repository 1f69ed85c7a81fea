"""Partition and merge."""

from __future__ import annotations

import numpy as np
import pytest

from raysubset.errors import OptionsError
from raysubset.seeds import generator
from raysubset.selection.asp import ProxySampling
from raysubset.selection.craig import Craig
from raysubset.selection.facility_location import FacilityLocation
from raysubset.selection.partition import GreeDi, split
from raysubset.selection.protocol import Context, Selector
from raysubset.testing.selectors import SelectorContract, make_context

SELECTORS: dict[str, Selector] = {
    "facility location": GreeDi(FacilityLocation("cosine"), 3),
    "craig": GreeDi(Craig(), 2),
    "largest": GreeDi(ProxySampling("loss", deterministic=True), 2),
}


@pytest.mark.slow
class TestGreeDi(SelectorContract):
    @pytest.fixture(params=SELECTORS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return SELECTORS[request.param]


@pytest.mark.parametrize("k", [1, 13, 47])
def test_the_largest_are_the_same_for_any_number_of_parts(k: int) -> None:
    context = make_context("mixed")
    inner = ProxySampling("loss", deterministic=True)
    whole = inner.select(context, k, generator(0)).indices.tolist()
    for shards in (1, 2, 4, 100):
        assert GreeDi(inner, shards).select(context, k, generator(shards)).indices.tolist() == whole


def cost(features: np.ndarray, rows: np.ndarray) -> float:
    squared = ((features[:, None].astype(np.float64) - features[rows][None]) ** 2).sum(axis=2)
    return float(squared.min(axis=1).sum())


@pytest.mark.parametrize("shards", [2, 4])
def test_merged_covers_all_rows_nearly_as_well_as_greedy_on_all(shards: int) -> None:
    features = generator(1).normal(size=(400, 3)).astype(np.float32)
    context = Context(400, features=features)
    whole = FacilityLocation().select(context, 20, generator(0)).indices
    merged = GreeDi(FacilityLocation(), shards).select(context, 20, generator(0)).indices
    chance = generator(2).choice(400, 20, replace=False)
    assert cost(features, merged) < 1.15 * cost(features, whole)
    assert cost(features, merged) < 0.9 * cost(features, chance)


def test_a_part_better_than_the_merge_is_kept() -> None:
    """On pools where greedy's first pick, the centre, is a waste, some part without it does better alone."""
    kept = 0
    for seed in range(6):
        features = np.round(generator(seed).normal(size=(14, 2)) * 3)
        context = Context(14, features=features)
        greedi = GreeDi(FacilityLocation(), 3)
        found = greedi.select(context, 2, generator(seed)).indices
        parts = split(14, 3, generator(seed))
        own = [p[FacilityLocation().select(context.restrict(p), 2, generator(0)).indices] for p in parts]
        union = np.sort(np.concatenate(own))
        merged = FacilityLocation().cover(context, 2, generator(0), union).rows
        best_part = min(cost(features, rows) for rows in own)
        assert cost(features, found) == pytest.approx(min(best_part, cost(features, merged)))
        kept += best_part < cost(features, merged) - 1e-9
    assert kept > 0, "no example shows the difference"


def test_the_merge_covers_rows_that_no_part_chose() -> None:
    """Craig's weights count all rows, those left behind in the parts included."""
    chosen = GreeDi(Craig(), 3).select(make_context("mixed"), 6, generator(0))
    assert (chosen.weights * chosen.scale).sum() == pytest.approx(47, rel=1e-5)


def test_parts_are_random_even_ascending_and_whole() -> None:
    parts = split(103, 4, generator(0))
    assert sorted(map(len, parts)) == [25, 26, 26, 26]
    assert sorted(np.concatenate(parts).tolist()) == list(range(103))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert parts[0].tolist() != split(103, 4, generator(1))[0].tolist()
    assert len(split(2, 5, generator(0))) == 2


def test_no_parts_are_refused() -> None:
    with pytest.raises(OptionsError, match="shards=0"):
        GreeDi(FacilityLocation(), 0)


def test_parts_make_it_cheaper_by_its_own_cost_model() -> None:
    whole = FacilityLocation().flops(50_000, 500, 10, 64)
    assert GreeDi(FacilityLocation(), 4).flops(50_000, 500, 10, 64) < 0.7 * whole
    assert GreeDi(FacilityLocation(), 1).flops(50_000, 500, 10, 64) == whole
    assert GreeDi(ProxySampling("loss"), 4).flops(50_000, 500, 10, 64) >= 0
