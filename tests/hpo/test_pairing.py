"""trial_seeds: who shares which draws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import OptionsError
from raysubset.hpo.pairing import PAIRINGS, Pairing, trial_seeds

trials = st.text(max_size=12)
pairs = st.tuples(trials, trials).filter(lambda pair: pair[0] != pair[1])


@PROPERTY
@given(st.integers(), pairs)
def test_what_two_trials_share(seed: int, pair: tuple[str, str]) -> None:
    def shared(pairing: Pairing) -> tuple[bool, bool]:
        left, right = (trial_seeds(seed, trial, pairing) for trial in pair)
        return left.subset == right.subset, left.init == right.init

    assert shared("both") == (True, True)
    assert shared("subset") == (True, False)
    assert shared("none") == (False, False)


@PROPERTY
@given(st.integers(), trials, st.sampled_from(PAIRINGS))
def test_seeds_are_fixed_by_the_experiments_seed(seed: int, trial: str, pairing: Pairing) -> None:
    seeds = trial_seeds(seed, trial, pairing)
    assert seeds == trial_seeds(seed, trial, pairing)
    assert seeds.subset != seeds.init
    other = trial_seeds(seed + 1, trial, pairing)
    assert seeds.subset != other.subset
    assert seeds.init != other.init
    assert 0 <= seeds.subset < 2**63
    assert 0 <= seeds.init < 2**63


def test_both_is_the_default_and_others_are_refused() -> None:
    assert trial_seeds(0, "a") == trial_seeds(0, "b")
    with pytest.raises(OptionsError, match="pairing='all', need one of both, subset, none"):
        trial_seeds(0, "a", "all")  # type: ignore[arg-type]
