"""Common random numbers: which draws the trials of one search share.

Configurations are to be compared, not draws. With ``pairing="both"`` (the default) every trial meets the same
subset noise, sample order and augmentation, and starts from the same stream of initial weights; "subset" shares
only the first three; "none" shares nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from raysubset.errors import OptionsError
from raysubset.seeds import seed64

Pairing = Literal["both", "subset", "none"]
PAIRINGS: tuple[Pairing, ...] = get_args(Pairing)


@dataclass(frozen=True, slots=True)
class TrialSeeds:
    """The seed of a trial's subsets, order and augmentation, and that of its initial weights."""

    subset: int
    init: int


def trial_seeds(seed: int, trial: str, pairing: Pairing = "both") -> TrialSeeds:
    """Derive a trial's seeds from the experiment's.

    Raises:
        OptionsError: pairing is unknown.
    """
    if pairing not in PAIRINGS:
        raise OptionsError(f"pairing={pairing!r}, need one of {', '.join(PAIRINGS)}.")
    return TrialSeeds(
        subset=seed64(seed, "subset") if pairing != "none" else seed64(seed, trial, "subset"),
        init=seed64(seed, "init") if pairing == "both" else seed64(seed, trial, "init"),
    )
