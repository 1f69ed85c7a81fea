"""Asynchronous successive halving, promotion type (ASHA), and its delayed variant (D-ASHA).

Every trial pauses at its rung. A free worker looks from the top rung down for the best paused trial among the
floor(|D_k| / eta) best of those finished at rung k, and promotes it; where there is none, a new trial starts.
Nobody waits for anybody, and nobody is stopped because it came early; the price is a checkpoint at each rung.

ASHA promotes too many where later trials are better than earlier ones: those promoted first fall out of the best
1/eta, and their successors go up beside them. D-ASHA [2] promotes from rung k only while

    |D_k| / (promoted + 1) >= eta,     promoted = trials that went from k to k + 1, running ones included,

so that never more than floor(|D_k| / eta) have gone up. The start threshold |D_k| >= eta^(K - k) of [2]'s code
keeps the first few from climbing alone; once no more trials will start it no longer holds, or small searches would
end with nobody at the top.

Results at a level live together, whichever bracket they come from (bracket b starts at rung b), and a trial that
started at rung k + 1 does not count as promoted from k, as in [2]'s code. A trial that failed counts as finished,
infinitely bad; one whose loss is not finite is never promoted.

References:
    [1] Li et al., 2020, "A system for massively parallel hyperparameter tuning", arXiv:1810.05934, algorithm 2.
    [2] Li et al., 2022, "Hyper-Tune: towards efficient hyper-parameter tuning at scale", arXiv:2201.06834;
        code: github.com/PKU-DAIR/HyperTune.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field

from raysubset.errors import SchedulerError
from raysubset.hpo.history import History
from raysubset.hpo.rungs import check_eta
from raysubset.hpo.scheduler import Verdict

Standing = tuple[float, int, str]  # loss, place in the order of arrival, trial: sorts as trials are ranked


@dataclass(slots=True)
class _Rung:
    """Who has finished at a rung (best first), and who of them is paused there."""

    finished: list[Standing] = field(default_factory=list)
    paused: list[Standing] = field(default_factory=list)
    standings: dict[str, Standing] = field(default_factory=dict)
    promoted: set[str] = field(default_factory=set)
    arrivals: dict[str, int] = field(default_factory=dict)

    def enter(self, trial: str, loss: float) -> Standing:
        """Rank a trial; one that comes again, after a fault, has the place in the order of arrival it had."""
        standing = (loss, self.arrivals.setdefault(trial, len(self.arrivals)), trial)
        self.standings[trial] = standing
        insort(self.finished, standing)
        return standing

    def leave(self, trial: str) -> None:
        """Forget a trial and its promotion."""
        if (standing := self.standings.pop(trial, None)) is not None:
            _remove(self.finished, standing)
        self.promoted.discard(trial)

    def candidate(self, eta: int) -> str | None:
        """Return the best paused trial, if it is among the best 1/eta."""
        share = len(self.finished) // eta
        if not self.paused or not share or self.paused[0] > self.finished[share - 1]:
            return None
        return self.paused[0][2]


@dataclass(slots=True)
class PromotionHalving:
    """Asynchronous halving that pauses trials and promotes the best.

    Cost of an event: O(rungs + log n) comparisons, and a move of up to 8 n bytes inside a sorted list.

    Attributes:
        rungs: How many, >= 1.
        eta: Reduction factor, >= 2.
        delayed: D-ASHA instead of ASHA.
        thresholds: Promote from rung k only once eta^(rungs - 1 - k) have finished there, until `close`.

    Raises:
        OptionsError: eta below 2.
    """

    rungs: int
    eta: int = 3
    delayed: bool = False
    thresholds: bool = False
    _ladder: list[_Rung] = field(init=False)
    _heading: dict[str, int] = field(init=False)  # running trial -> rung
    _paused: dict[str, int] = field(init=False)  # paused trial -> rung
    _started: set[str] = field(init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        check_eta(self.eta)
        self._ladder = [_Rung() for _ in range(self.rungs)]
        self._heading, self._paused, self._started = {}, {}, set()

    @property
    def pauses(self) -> bool:
        """True."""
        return True

    def opening(self, history: History) -> int:
        """Return the bracket that starts at the lowest rung."""
        return 0

    def start(self, trial: str, bracket: int) -> int:
        """Let a trial head for the lowest rung of its bracket."""
        if trial in self._started:
            raise SchedulerError(f"Trial id {trial!r} is given twice; every trial needs its own.")
        if not 0 <= bracket < self.rungs:
            raise SchedulerError(f"Trial {trial!r} cannot start at rung {bracket}; there are {self.rungs}.")
        self._started.add(trial)
        self._heading[trial] = bracket
        return bracket

    def promotable(self) -> str | None:
        """Return the best candidate of the highest rung that has one. Cost: O(rungs)."""
        for rung in range(self.rungs - 2, -1, -1):
            trial = self._ladder[rung].candidate(self.eta)
            if trial is not None and self._promotes(rung):
                return trial
        return None

    def _promotes(self, rung: int) -> bool:
        finished, promoted = len(self._ladder[rung].finished), len(self._ladder[rung].promoted)
        if self.delayed and finished < self.eta * (promoted + 1):
            return False
        return not self.thresholds or self._closed or finished >= self.eta ** (self.rungs - 1 - rung)

    def promote(self, trial: str) -> int:
        """Let a paused trial head for the next rung."""
        rung = self._paused.pop(trial, None)
        if rung is None:
            raise SchedulerError(f"Trial {trial!r} cannot be promoted: it is not paused.")
        _remove(self._ladder[rung].paused, self._ladder[rung].standings[trial])
        self._ladder[rung].promoted.add(trial)
        self._heading[trial] = rung + 1
        return rung + 1

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Pause a trial at its rung; stop it at the last one, or if its loss is not finite."""
        heading = self._heading.get(trial)
        if heading is None and not any(trial in level.standings for level in self._ladder[rung:]):
            raise SchedulerError(f"Trial {trial!r} was judged at rung {rung}, but is not running.")
        if heading is None or rung < heading:
            return Verdict.CONTINUE
        del self._heading[trial]
        standing = self._ladder[rung].enter(trial, loss if math.isfinite(loss) else math.inf)
        if rung == self.rungs - 1 or math.isinf(standing[0]):
            return Verdict.STOP
        insort(self._ladder[rung].paused, standing)
        self._paused[trial] = rung
        return Verdict.PAUSE

    def withdraw(self, trial: str) -> None:
        """Count a running trial as infinitely bad at the rung it headed for; a paused one keeps its rank."""
        self._check_known(trial)
        if (heading := self._heading.pop(trial, None)) is not None:
            self._ladder[heading].enter(trial, math.inf)
        self._unpause(trial)

    def close(self) -> None:
        """Lift the start threshold: nobody comes any more who could meet it."""
        self._closed = True

    def rewind(self, trial: str, rung: int) -> None:
        """Take back a trial's ranks and promotions from ``rung`` on."""
        self._check_known(trial)
        self._unpause(trial)
        for level in self._ladder[rung:]:
            level.leave(trial)
        self._heading[trial] = rung

    def _unpause(self, trial: str) -> None:
        if (rung := self._paused.pop(trial, None)) is not None:
            _remove(self._ladder[rung].paused, self._ladder[rung].standings[trial])

    def _check_known(self, trial: str) -> None:
        if trial not in self._started:
            raise SchedulerError(f"Trial {trial!r} was never started; {len(self._started)} others were.")


def _remove(ordered: list[Standing], standing: Standing) -> None:
    del ordered[bisect_left(ordered, standing)]
