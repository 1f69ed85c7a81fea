"""``raysubset simulate``: searches under a virtual clock, to choose a scheduler before anything is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table
from typer import Option

from raysubset.cli.grouped import grouped
from raysubset.cli.options import BudgetEpochs, Eta, Seed
from raysubset.cli.output import say
from raysubset.cli.simulated_task import Setting, read_task
from raysubset.errors import OptionsError
from raysubset.hpo.budget import Ledger, sample_budget
from raysubset.hpo.proposer import ListedPoints, Proposer
from raysubset.hpo.rungs import Rungs, place_rungs
from raysubset.hpo.search import Search
from raysubset.hpo.simulator import simulate as simulate_search
from raysubset.hpo.trace import Trace
from raysubset.seeds import generator

COMPARED_SEEDS = 6  # the median lies between the least and the greatest of six with probability 1 - 2^-5 = 97 %


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoice:
    """What is searched over."""

    task: Annotated[str, Option(help="power-law, records:RUN_FOLDER, or nasbench201:FILE (.csv or .parquet).")] = (
        "power-law"
    )
    epochs: Annotated[int | None, Option(help="Epochs of a whole trial (default: 81; of the table 200).")] = None
    ratio: Annotated[float | None, Option(help="Mean share of the rows an epoch trains on (default: 0.1).")] = None
    rows: Annotated[int | None, Option(help="Rows of the training set (default: 50,000).")] = None
    nas_data: Annotated[str, Option(help="Of the table: cifar10, cifar100 or imagenet16_120.")] = "cifar10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How many trials go on at a time, and how long what takes."""

    workers: Annotated[int, Option(help="Trials at a time.")] = 8
    startup_s: Annotated[float, Option(help="Seconds to start or to resume a trial.")] = 1.0
    seconds_per_sample: Annotated[
        float | None, Option(help="Of training (default: as recorded, else 0.00025, LeNet on a core).")
    ] = None
    straggling: Annotated[
        float, Option(help="Jobs take (1 + |z|) times as long, z normal with this standard deviation.")
    ] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """Which searches are simulated, and what each may cost."""

    scheduler: Annotated[str | None, Option(help="asha, hyperband, ...; an unknown name lists all.")] = None
    search: Annotated[str | None, Option(help="random, tpe, ...; an unknown name lists all.")] = None
    trials: Annotated[int, Option(help="Configurations at most.")] = 1000
    eta: Eta = 3
    budget_epochs: BudgetEpochs = None
    seed: Seed = 0
    seeds: Annotated[int | None, Option(help="Searches, each with a seed of its own (default: 1).")] = None
    compare: Annotated[bool, Option("--compare", help="Every scheduler, side by side, over 6 seeds.")] = False

    @property
    def all_seeds(self) -> range:
        """Every seed; a scheduler searches once with each."""
        count = (COMPARED_SEEDS if self.compare else 1) if self.seeds is None else self.seeds
        return range(self.seed, self.seed + count)

    def faults(self) -> list[str]:
        """Say what is wrong with it."""
        counts = (("trials", self.trials), ("seeds", 1 if self.seeds is None else self.seeds))
        faults = [f"{name}={count}, need at least 1" for name, count in counts if count < 1]
        if self.compare and self.scheduler is not None:
            faults.append(
                f"--compare runs every scheduler, so --scheduler {self.scheduler} has no place beside it"
            )
        if self.budget_epochs is not None and not self.budget_epochs > 0:
            faults.append(f"budget_epochs={self.budget_epochs!r}, need a number > 0")
        return faults

    def names(self) -> Sequence[str]:
        """Return the schedulers."""
        from raysubset.hpo.catalog import SCHEDULERS  # brings scikit-learn

        return SCHEDULERS if self.compare else (self.scheduler or "asha",)

    def budget(self, setting: Setting, rungs: Rungs) -> float:
        """Return the samples that a search may consume."""
        if self.budget_epochs is None:
            return math.inf
        return sample_budget(self.budget_epochs, setting.ratio, setting.rows, rungs.levels[0])


@grouped
def simulate(
    *,
    searches: Searches,
    task: TaskChoice,
    clock: Clock,
    as_json: Annotated[bool, Option("--json", help="Print every search as JSON.")] = False,
) -> None:
    """Run a search under a virtual clock: the schedulers and searchers of `raysubset hpo`, nothing trained.

    Costs and losses come from a synthetic task whose optimum is known, from the record of an earlier run, or from
    the table of NAS-Bench-201. Regret is that of the trial with the lowest loss at the highest rung reached.
    """
    faults = [f"workers={clock.workers}, need at least 1"] if clock.workers < 1 else []
    if faults := [*searches.faults(), *faults]:
        raise OptionsError.of("simulate", faults)
    setting = read_task(task.task, task.epochs, task.ratio, task.rows, task.nas_data)
    if setting.points and searches.search is not None:
        raise OptionsError(
            f"A replay proposes what was recorded, so --search {searches.search} has no place beside it."
        )
    rungs = place_rungs(setting.epoch_costs, searches.eta)
    plan = _Plan(setting, rungs, searches, clock)
    names = searches.names()
    runs = [plan.run(name, seed) for name in names for seed in searches.all_seeds]
    if as_json:
        print(json.dumps({"task": setting.title, "rungs": rungs.levels, "runs": [run.plain() for run in runs]}))
        return
    console = Console()
    for line in plan.heading():
        say(console, line)
    console.print(_table(runs, names, setting.rows))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all searches of one command have in common."""

    setting: Setting
    rungs: Rungs
    searches: Searches
    clock: Clock

    @property
    def budget(self) -> float:
        """Samples that a search may consume."""
        return self.searches.budget(self.setting, self.rungs)

    def run(self, scheduler: str, seed: int) -> _Run:
        """Simulate one search."""
        from raysubset.hpo.catalog import make_scheduler

        began = process_time()
        search = Search(
            self.rungs,
            make_scheduler(scheduler, self.rungs, self.searches.eta, seed, self.setting.space),
            self._proposer(seed),
            trials=self.searches.trials,
            concurrency=self.clock.workers,
            ledger=Ledger(samples=self.budget),
        )
        pace = self.clock.seconds_per_sample
        trace = simulate_search(
            search,
            self.setting.make(seed),
            startup_s=self.clock.startup_s,
            seconds_per_sample=self.setting.seconds_per_sample if pace is None else pace,
            straggling=self.clock.straggling,
            seed=seed,
        )
        return _Run(scheduler, seed, search.started, trace, process_time() - began)

    def _proposer(self, seed: int) -> Proposer:
        """Draw from the space, or take the recorded configurations in an order of the seed's own."""
        from raysubset.hpo.catalog import make_proposer

        points = self.setting.points
        if not points:
            return make_proposer(self._searcher, self.setting.space, seed, self.searches.trials)
        return ListedPoints([points[i] for i in generator(seed, "replay").permutation(len(points))])

    @property
    def _searcher(self) -> str:
        return self.searches.search or "random"

    def heading(self) -> list[str]:
        """Say what is simulated."""
        proposals = "" if self.setting.points else f"{self._searcher} search, "
        allowed = "" if math.isinf(self.budget) else f", {self.budget:,.0f} samples allowed"
        levels = ", ".join(f"{level:,.0f}" for level in self.rungs.levels)
        lines = [
            self.setting.title,
            f"{proposals}{self.clock.workers:,} workers, judged after {levels} samples{allowed}",
        ]
        if self.rungs.halvings < 2:
            lines.append(f"only {self.rungs.halvings} halvings fit these epochs, so bad trials are stopped late")
        return lines


@dataclass(frozen=True, slots=True)
class _Run:
    """One simulated search, and the CPU seconds that it took."""

    scheduler: str
    seed: int
    trials: int
    trace: Trace
    cpu_s: float

    @property
    def regret_percent(self) -> float | None:
        """Regret in points of a hundred."""
        return None if self.trace.regret is None else 100 * self.trace.regret

    def plain(self) -> dict[str, Any]:
        """Return the run in JSON's types; regret is null where the optimum is not known."""
        trace = self.trace
        return {
            "scheduler": self.scheduler,
            "seed": self.seed,
            "trials": self.trials,
            "jobs": len(trace.jobs),
            "promotions": trace.promotions,
            "samples": trace.samples,
            "wall_s": trace.wall_s,
            "idle_share": trace.idle_share,
            "regret": trace.regret,
            "cpu_s": self.cpu_s,
            "incumbents": [one._asdict() for one in trace.incumbents],
        }


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    read: Callable[[_Run], float | None]
    shape: str
    ranged: bool = False  # show the least and the greatest below the median

    def cell(self, runs: Sequence[_Run]) -> str:
        """Write the median over runs; none where one is not known."""
        values = [value for run in runs if (value := self.read(run)) is not None]
        if len(values) < len(runs):
            return "not known"
        low, middle, high = (format(value, self.shape) for value in (min(values), median(values), max(values)))
        return f"{middle}\n{low}-{high}" if self.ranged and low != high else middle


def _table(runs: Sequence[_Run], names: Sequence[str], rows: int) -> Table:
    """One line a scheduler."""
    columns = (
        _Column("jobs", lambda run: len(run.trace.jobs), ",.0f"),
        _Column("promoted", lambda run: run.trace.promotions, ",.0f"),
        _Column("full epochs", lambda run: run.trace.samples / rows, ",.0f"),
        _Column("hours", lambda run: run.trace.wall_s / 3600, ".3g", ranged=True),
        _Column("idle %", lambda run: 100 * run.trace.idle_share, ".1f", ranged=True),
        _Column("regret %", lambda run: run.regret_percent, ".2f", ranged=True),
        _Column("CPU s", lambda run: run.cpu_s, ".2f"),
    )
    seeds = len(runs) // len(names)
    caption = f"medians of {seeds} seeds; below them least-greatest" if seeds > 1 else None
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    table.add_column("scheduler", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name in names:
        mine = [run for run in runs if run.scheduler == name]
        table.add_row(name, *(column.cell(mine) for column in columns))
    return table
