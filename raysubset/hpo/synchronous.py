"""Successive halving and HyperBand, synchronous: a rung is decided when all its trials have reported.

Trials join the open bracket until it is full; then the next of the cycle opens, so that a worker never waits for a
rung to fill. One kind of bracket over and over is successive halving; `hyperband_brackets` in turn is HyperBand.

Once everybody at the i-th rung has reported or failed, the n_{i+1} best go on, best first, ties by arrival. A
trial that failed, or whose loss is not finite, never goes on: where fewer than n_{i+1} are left, fewer do. The
decision of a rung stands; a trial that comes again after a fault finds it as it was.

When no more trials will start, a bracket of only n goes on with max(1, floor(n eta^-i)) at its i-th rung.

References:
    [1] Jamieson, Talwalkar, 2016, "Non-stochastic best arm identification and hyperparameter optimization",
        arXiv:1502.07943 (successive halving).
    [2] Li et al., 2018, "Hyperband: a novel bandit-based approach to hyperparameter optimization", JMLR 18(185).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.brackets import Bracket
from raysubset.hpo.history import History
from raysubset.hpo.rungs import check_eta
from raysubset.hpo.scheduler import Verdict


@dataclass(slots=True)
class _Rung:
    """One rung of one bracket.

    Attributes:
        entered: Trials that are to be judged here.
        losses: Those dealt with; inf for a failed one, -inf for one that passed by with a place further up.
        arrivals: Order in which they were judged, kept over faults.
        winners: Who goes on, None until that is decided.
    """

    entered: set[str] = field(default_factory=set)
    losses: dict[str, float] = field(default_factory=dict)
    arrivals: dict[str, int] = field(default_factory=dict)
    winners: tuple[str, ...] | None = None

    def enter(self, trial: str, loss: float) -> None:
        """Note what became of a trial."""
        self.entered.add(trial)
        self.losses[trial] = loss
        self.arrivals.setdefault(trial, len(self.arrivals))

    def best(self, places: int) -> tuple[str, ...]:
        """Return up to ``places`` trials, best first. Cost: O(n log n), once."""
        finite = (trial for trial, loss in self.losses.items() if loss < math.inf)
        return tuple(sorted(finite, key=lambda trial: (self.losses[trial], self.arrivals[trial]))[:places])


@dataclass(slots=True)
class _Round:
    """A bracket in progress. ``sizes`` are its own, or those of the trials it has when no more will come."""

    start: int
    sizes: tuple[int, ...]
    rungs: list[_Rung]
    filled: bool = False

    def decide(self) -> dict[str, int]:
        """Decide every rung that can be, from below; returns who is to be promoted now, and to which rung."""
        promoted: dict[str, int] = {}
        for index, rung in enumerate(self.rungs[:-1]):
            if rung.winners is None:
                if not self.filled or len(rung.losses) < len(rung.entered):
                    break
                rung.winners = rung.best(self.sizes[index + 1])
                self.rungs[index + 1].entered.update(rung.winners)
                promoted |= {trial: index + 1 for trial in rung.winners if rung.losses[trial] > -math.inf}
        return promoted

    def shrink(self, eta: int) -> None:
        """Go on with the trials there are: nobody else will join."""
        n = len(self.rungs[0].entered)
        self.sizes = tuple(min(size, max(1, n // eta**index)) for index, size in enumerate(self.sizes))
        self.filled = True


@dataclass(slots=True)
class SynchronousHalving:
    """Brackets in turn, each halved rung by rung.

    Cost of an event: O(rungs of a bracket), and O(n log n) when a rung of n is decided.

    Attributes:
        brackets: The cycle; all end at the same rung.
        eta: Reduction factor, >= 2, of brackets that do not fill.

    Raises:
        OptionsError: eta below 2, no bracket, or brackets that do not end at the same rung.
    """

    brackets: tuple[Bracket, ...]
    eta: int = 3
    _opened: int = field(default=0, init=False)  # brackets so far
    _open: _Round | None = field(default=None, init=False)  # the one that takes trials
    _rounds: dict[str, _Round] = field(default_factory=dict, init=False)  # trial -> its bracket
    _heading: dict[str, int] = field(default_factory=dict, init=False)  # running trial -> rung of its bracket
    _queue: OrderedDict[str, int] = field(
        default_factory=OrderedDict, init=False
    )  # winner -> rung of its bracket it goes on to

    def __post_init__(self) -> None:
        check_eta(self.eta)
        if len({bracket.start + len(bracket.sizes) for bracket in self.brackets}) != 1:
            raise OptionsError(f"brackets={self.brackets}: need one or more that end at the same rung.")

    @property
    def pauses(self) -> bool:
        """True."""
        return True

    def opening(self, history: History) -> int:
        """Return the bracket that takes trials, or the next one if all are full."""
        return self._open.start if self._open is not None else self._next().start

    def _next(self) -> Bracket:
        return self.brackets[self._opened % len(self.brackets)]

    def start(self, trial: str, bracket: int) -> int:
        """Let a trial join the open bracket."""
        if trial in self._rounds:
            raise SchedulerError(f"Trial id {trial!r} is given twice; every trial needs its own.")
        if self._open is None:
            kind = self._next()
            self._open = _Round(kind.start, kind.sizes, [_Rung() for _ in kind.sizes])
            self._opened += 1
        joined = self._open
        if bracket != joined.start:
            raise SchedulerError(f"Trial {trial!r} cannot join bracket {bracket}; {joined.start} is open.")
        self._rounds[trial] = joined
        self._heading[trial] = 0
        joined.rungs[0].entered.add(trial)
        if len(joined.rungs[0].entered) == joined.sizes[0]:
            joined.filled, self._open = True, None
        return bracket

    def promotable(self) -> str | None:
        """Return the winner that has waited longest. Cost: O(1)."""
        return next(iter(self._queue), None)

    def promote(self, trial: str) -> int:
        """Let a winner head for the next rung."""
        if trial not in self._queue:
            raise SchedulerError(f"Trial {trial!r} cannot be promoted: it is no winner that waits.")
        self._heading[trial] = self._queue.pop(trial)
        return self._rounds[trial].start + self._heading[trial]

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Pause a trial at its rung; stop it at the last one, or if its loss is not finite.

        A report that passed rungs of the bracket takes a place at each of them: it has trained so far anyway.
        """
        bracket = self._round(trial)
        index, heading = rung - bracket.start, self._heading.get(trial)
        if heading is None and not any(trial in level.losses for level in bracket.rungs[max(index, 0) :]):
            raise SchedulerError(f"Trial {trial!r} was judged at rung {rung}, but is not running.")
        if heading is None or index < heading:
            return Verdict.CONTINUE
        del self._heading[trial]
        for passed in bracket.rungs[heading:index]:
            passed.enter(trial, -math.inf)
        bracket.rungs[index].enter(trial, loss if math.isfinite(loss) else math.inf)
        if trial in (bracket.rungs[index].winners or ()):  # it had won here, and came again after a fault
            self._let_go_on(trial, bracket, index + 1, math.isfinite(loss))
        self._queue |= bracket.decide()
        last = index == len(bracket.rungs) - 1
        return Verdict.STOP if last or not math.isfinite(loss) else Verdict.PAUSE

    def _let_go_on(self, trial: str, bracket: _Round, index: int, fit: bool) -> None:
        if fit:
            self._queue[trial] = index
            self._queue.move_to_end(trial, last=False)  # it was before those that wait
        else:
            bracket.rungs[index].enter(trial, math.inf)

    def withdraw(self, trial: str) -> None:
        """Count a trial as infinitely bad at the rung it heads for, or where it waits for the decision."""
        bracket = self._round(trial)
        heading = self._heading.pop(trial, self._queue.pop(trial, None))
        if heading is None:
            heading = max(index for index, level in enumerate(bracket.rungs) if trial in level.losses)
        bracket.rungs[heading].enter(trial, math.inf)
        self._queue |= bracket.decide()

    def close(self) -> None:
        """Let the open bracket go on with the trials it has."""
        if self._open is not None:
            bracket, self._open = self._open, None
            bracket.shrink(self.eta)
            self._queue |= bracket.decide()

    def rewind(self, trial: str, rung: int) -> None:
        """Take back a trial's losses from ``rung`` on; what it had won before stands."""
        bracket = self._round(trial)
        index = rung - bracket.start
        self._queue.pop(trial, None)
        for below, level in enumerate(bracket.rungs[index:], index - 1):
            level.losses.pop(trial, None)
            if below >= index and trial not in (bracket.rungs[below].winners or ()):
                level.entered.discard(trial)
        self._heading[trial] = index
        self._queue |= bracket.decide()

    def _round(self, trial: str) -> _Round:
        if trial not in self._rounds:
            raise SchedulerError(f"Trial {trial!r} was never started; {len(self._rounds)} others were.")
        return self._rounds[trial]
