"""Greedy maximisation of set functions: one row at a time, the one that gains most.

    naive       every row is asked for its gain at every step
    lazy        a row is asked only while its last known gain could still win [1]: same picks if no gain ever grows
    stochastic  a random sample of (n / k) ln(1 / epsilon) unpicked rows is asked at every step [2]
    lazier      lazy evaluation inside that same sample

Guarantee for monotone submodular f with f(empty) = 0: naive and lazy reach (1 - 1/e) OPT, stochastic and lazier
(1 - 1/e - epsilon) OPT in expectation.

References:
    [1] Minoux, 1978, "Accelerated greedy algorithms for maximizing submodular set functions".
    [2] Mirzasoleiman, Badanidiyuru, Karbasi, Vondrak, Krause, 2015, "Lazier than lazy greedy", AAAI.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.errors import OptionsError
from raysubset.selection.pick_folds import ALL, Rows
from raysubset.selection.protocol import check_budget
from raysubset.selection.set_functions import SetFunction

Greedy = Literal["naive", "lazy", "stochastic", "lazier"]
STRATEGIES: tuple[Greedy, ...] = ("naive", "lazy", "stochastic", "lazier")
EPSILON = 0.01
FIRST_LOOK = 64  # stale rows asked at once; doubled while none of them settles the step


class Picks(NamedTuple):
    """Rows in picking order, and what each gained when it was picked: int64[k], float64[k]."""

    rows: NDArray[np.int64]
    gains: NDArray[np.float64]


def maximise(
    function: SetFunction, k: int, how: Greedy, rng: np.random.Generator, epsilon: float = EPSILON
) -> Picks:
    """Add k rows to a set function that has none yet.

    Args:
        function: Holds the picks afterwards.
        k: Rows to pick, 1 <= k <= n. Negative gains are picked too.
        how: One of `STRATEGIES`.
        rng: Draws the samples of "stochastic" and "lazier", equal ones for equal streams; else unused.
        epsilon: In (0, 1): how much of the guarantee the samples may cost.

    Returns:
        Picks; ties went to the lowest row (of the sample).

    Raises:
        BudgetError: k outside [1, n].
        OptionsError: ``how`` or ``epsilon`` is out of range, or laziness is asked of gains that may grow.

    Cost: gains asked for: naive k n, lazy between n and k n, stochastic n ln(1 / epsilon). Up to 17 n bytes.
    """
    n = function.size
    check_budget(k, n)
    if faults := greedy_faults(how, epsilon, type(function).__name__, function.diminishing):
        raise OptionsError.of("maximise", faults)
    lazily = how in ("lazy", "lazier")
    # unasked rows may gain anything, picked ones nothing; without laziness bounds only tell the two apart
    bounds = torch.full((n,), torch.inf, dtype=torch.float64, device=function.device)
    sampler = _Sampler(n, k, epsilon, rng) if how in ("stochastic", "lazier") else None
    rows, gains = np.empty(k, dtype=np.int64), np.empty(k)
    for step in range(k):
        asked = ALL if sampler is None else sampler.draw().to(function.device)
        rows[step], gains[step] = (_lazy_best if lazily else _best)(function, asked, bounds)
        bounds[rows[step]] = -torch.inf
        function.add(int(rows[step]))
        if sampler is not None:
            sampler.drop(int(rows[step]))
    return Picks(rows, gains)


def sample_size(n: int, k: int, epsilon: float = EPSILON) -> int:
    """Return ceil((n / k) ln(1 / epsilon)), at most n: rows that stochastic greedy asks at a step [2]."""
    return min(n, math.ceil(n / k * math.log(1 / epsilon)))


def greedy_faults(how: str, epsilon: float, function: str, diminishing: bool) -> list[str]:
    """Return what is wrong with the options of `maximise`, for `OptionsError.of`."""
    faults = [] if how in STRATEGIES else [f"greedy={how!r}, need one of {', '.join(STRATEGIES)}"]
    if how in ("lazy", "lazier") and not diminishing:
        faults.append(
            f"greedy={how!r} takes an old gain as a bound, but gains of {function} grow with every pick: "
            "use 'naive' or 'stochastic'"
        )
    if not 0 < epsilon < 1:
        faults.append(f"epsilon={epsilon!r}, need a number in (0, 1)")
    return faults


def _best(function: SetFunction, rows: Rows, bounds: Tensor) -> tuple[int, float]:
    gains = torch.minimum(function.gains(rows), bounds[rows])
    at = int(gains.argmax())
    return _row(rows, at), float(gains[at])


def _lazy_best(function: SetFunction, rows: Rows, bounds: Tensor) -> tuple[int, float]:
    known = bounds[rows]
    stale = torch.ones_like(known, dtype=torch.bool)
    look = FIRST_LOOK
    while stale[at := int(known.argmax())]:
        tops, places = torch.where(stale, known, -torch.inf).topk(min(look, len(known)))
        places = places[tops > -torch.inf].sort().values
        known[places] = function.gains(places if isinstance(rows, slice) else rows[places])
        stale[places] = False
        look *= 2
    bounds[rows] = known
    return _row(rows, at), float(known[at])


def _row(rows: Rows, at: int) -> int:
    return at if isinstance(rows, slice) else int(rows[at])


class _Sampler:
    """Uniform samples of the unpicked rows, sorted, so that ties go to the lowest row."""

    def __init__(self, n: int, k: int, epsilon: float, rng: np.random.Generator) -> None:
        self.left, self.end, self.rng = np.arange(n), n, rng
        self.place = np.arange(n)  # where a row stands in ``left``
        self.size = sample_size(n, k, epsilon)

    def draw(self) -> Tensor:
        places = self.rng.choice(self.end, min(self.size, self.end), replace=False, shuffle=False)
        return torch.from_numpy(np.sort(self.left[places]))

    def drop(self, row: int) -> None:
        self.end -= 1
        last, hole = self.left[self.end], self.place[row]
        self.left[hole], self.place[last] = last, hole
