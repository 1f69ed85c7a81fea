"""Live progress of a run: who runs, what was found, what it cost, when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysubset.types import TrialRecord

LINE_EVERY_S = 15.0  # where there is no terminal to redraw


@dataclass(slots=True)
class StageView:
    """What has been heard of a stage: plain counts, no terminal.

    Attributes:
        stage, trials, budget: As announced; budget in samples.
        status: trial -> its last known status.
        spent: trial -> samples consumed.
        best: Record of the lowest validation loss at the highest rung so far.
        select_s, busy_s: Seconds of selection, and of everything, summed over reports.
    """

    stage: str
    trials: int
    budget: float
    clock: Callable[[], float] = perf_counter
    status: dict[str, str] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    best: TrialRecord | None = None
    select_s: float = 0.0
    busy_s: float = 0.0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def hear(self, record: TrialRecord) -> None:
        """Take in a report."""
        self.status[record.trial] = record.status
        self.spent[record.trial] = record.samples_consumed
        self.select_s += record.select_s
        self.busy_s += record.train_s + record.select_s + record.eval_s
        if record.val_loss is not None and self._beats_best(record):
            self.best = record

    def _beats_best(self, record: TrialRecord) -> bool:
        if self.best is None or self.best.val_loss is None or record.val_loss is None:
            return True
        return (-record.epoch, record.val_loss) < (-self.best.epoch, self.best.val_loss)

    def count(self, status: str) -> int:
        """Return how many trials have this status."""
        return sum(1 for known in self.status.values() if known == status)

    @property
    def finished(self) -> int:
        """Trials that will report no more."""
        return len(self.status) - self.count("running")

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at the pace so far, None before the first report.

        Done is the larger of two shares: trials ended (early stopping saves samples), samples spent (long trials).
        """
        elapsed = self.clock() - self.started
        share = min(1.0, max(self.finished / self.trials, sum(self.spent.values()) / self.budget))
        if share == 0:
            return None
        return elapsed * (1.0 - share) / share

    def line(self) -> str:
        """Return the state in one line."""
        share = self.select_s / self.busy_s if self.busy_s else 0.0
        parts = [
            f"{self.stage}: {self.count('running')} running",
            f"{self.count('stopped')} stopped",
            f"{self.count('done')} done",
            f"{sum(self.spent.values()):,} of at most {self.budget:,.0f} samples",
            f"selection {share:.1%}",
        ]
        if failed := self.count("failed"):
            parts.insert(3, f"{failed} failed")
        if self.best is not None and (score := _score_words(self.best)):
            parts.append(f"best {score} (trial {self.best.trial})")
        if self.eta_s:
            parts.append(f"about {duration(self.eta_s)} left")
        return " · ".join(parts)


def _score_words(record: TrialRecord) -> str:
    """Return "93.10%" of classes, "R2 0.412" of numbers (their RMSE where all are equal), "" where neither."""
    if record.val_accuracy is not None:
        return f"{record.val_accuracy:.2%}"
    if record.val_r2 is not None:
        return f"R2 {record.val_r2:.3f}"
    return "" if record.val_rmse is None else f"RMSE {record.val_rmse:.4g}"


def duration(seconds: float) -> str:
    """Return "42 s", "3 min 5 s" or "2 h 10 min"."""
    whole = max(0, math.ceil(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class RichProgress:
    """A `Listener` that redraws a panel on a terminal, and prints a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view: StageView | None = None
        self._live: Live | None = None
        self._printed = 0.0

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Begin a panel."""
        self._view = StageView(stage, trials, budget)
        self._printed = perf_counter()
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._panel, console=self._console, refresh_per_second=4)
            self._live.start()

    def trial_started(self, trial: str) -> None:
        """Count a running trial."""
        if self._view is not None:
            self._view.status[trial] = "running"

    def recorded(self, record: TrialRecord) -> None:
        """Take in a report; failures are said at once."""
        if self._view is None:
            return
        self._view.hear(record)
        if record.status == "failed":
            said = Text.assemble((f"trial {record.trial} failed:", "yellow"), f" {record.reason}")
            self._console.print(said, highlight=False)
        if self._live is None and perf_counter() - self._printed >= LINE_EVERY_S:
            self._printed = perf_counter()
            self._console.print(self._view.line(), highlight=False)

    def stage_ended(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._view is not None:
            self._console.print(self._view.line(), highlight=False)
        self._view = None

    def _panel(self) -> Group:
        view = self._view
        if view is None:
            return Group(Text(""))
        grid = Table.grid(padding=(0, 2))
        spent = sum(view.spent.values())
        grid.add_row(
            "trials",
            ProgressBar(view.trials, min(view.finished, view.trials), width=30),
            f"{view.finished} of {view.trials}",
        )
        grid.add_row(
            "samples",
            ProgressBar(view.budget, min(spent, view.budget), width=30),
            f"{spent:,} of at most {view.budget:,.0f}",
        )
        return Group(grid, Text(view.line(), style="dim"))


class Silent:
    """A `Listener` that says nothing."""

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Ignore."""

    def trial_started(self, trial: str) -> None:
        """Ignore."""

    def recorded(self, record: TrialRecord) -> None:
        """Ignore."""

    def stage_ended(self) -> None:
        """Ignore."""
