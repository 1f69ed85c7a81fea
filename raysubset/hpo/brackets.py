"""HyperBand's brackets: the same budget spent on many short trials, on few long ones, and in between.

    s = smax..0:   n_0 = ceil((smax + 1) / (s + 1) eta^s) trials start at rung smax - s,
                   n_i = floor(n_0 eta^-i) of them reach the i-th rung of the bracket

All in integers: in floats (smax + 1) / (s + 1) eta^s may land above a whole number, and `max_halvings` says what
becomes of log(243) / log(3). HpBandSter opens floor((smax + 1) / (s + 1)) eta^s trials instead: 9 and not 12 for
s = 2 of 3. Ours are the paper's [1].

References:
    [1] Li et al., 2018, "Hyperband: a novel bandit-based approach to hyperparameter optimization", JMLR 18(185),
        algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from raysubset.errors import OptionsError
from raysubset.hpo.rungs import check_eta


@dataclass(frozen=True, slots=True)
class Bracket:
    """One run of successive halving.

    Attributes:
        start: The lowest rung, >= 0, to which every trial of the bracket is trained.
        sizes: Trials that are judged at ``start``, ``start + 1``, ...; positive, none larger than the one before.

    Raises:
        OptionsError: No such bracket exists.
    """

    start: int
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        falling = all(above <= below for below, above in zip(self.sizes, self.sizes[1:], strict=False))
        if self.start < 0 or not self.sizes or min(self.sizes) < 1 or not falling:
            raise OptionsError(f"{self}: need start >= 0 and one or more sizes >= 1 that do not grow.")


def hyperband_brackets(halvings: int, eta: int) -> tuple[Bracket, ...]:
    """Return the brackets of one pass of HyperBand, the longest (s = smax = ``halvings``) first.

    The first alone, over and over, is plain successive halving of eta^halvings trials.

    Args:
        halvings: Rungs less one, >= 0.
        eta: Reduction factor, >= 2.

    Raises:
        OptionsError: eta below 2, or halvings below 0.
    """
    check_eta(eta)
    if halvings < 0:
        raise OptionsError(f"halvings={halvings!r}, need an int of at least 0 (the number of rungs less one).")
    return tuple(_bracket(s, halvings, eta) for s in range(halvings, -1, -1))


def _bracket(s: int, halvings: int, eta: int) -> Bracket:
    opening = -(-(halvings + 1) * eta**s // (s + 1))  # ceiling division
    return Bracket(halvings - s, tuple(opening // eta**i for i in range(s + 1)))
