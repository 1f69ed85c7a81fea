"""The cells of a study of rank correlation: what they train, and what their records say.

full-<seed>                      all data; its seeds against each other are the ceiling
r<ratio>-<pairing>-<repeat>      subsets; a repeat has its own subset noise and initial weights
<way>-r<ratio>-<pairing>-<repeat>   the same, of a study of several ways of choosing rows
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from raysubset.errors import OptionsError, RecordError, SearchSpaceError
from raysubset.experiment import Experiment
from raysubset.hpo.pairing import PAIRINGS, Pairing
from raysubset.hpo.space import Space, Value, sample_space
from raysubset.report.rank_cells import END, SCORES, Calibration, Cell
from raysubset.report.trials import by_trial, score_of
from raysubset.seeds import generator, seed64
from raysubset.tuning.ways import plan_of
from raysubset.types import TrialRecord

ENDED = ("done", "failed")
FULL_PAIRING: Pairing = "both"  # on all data too, configurations are compared and not draws
DRAWS_A_POINT = 100  # before a space is held to have no more distinct configurations


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A cell that is to be measured; see `report.rank_cells.Cell`."""

    full: bool
    ratio: float
    pairing: Pairing
    repeat: int
    way: str = ""

    @property
    def name(self) -> str:
        """The stage's name."""
        drawn = f"r{self.ratio:g}-{self.pairing}-{self.repeat}"
        return f"full-{self.repeat}" if self.full else f"{self.way}-{drawn}" if self.way else drawn

    def experiment(self, base: Experiment) -> Experiment:
        """Return the experiment of the cell.

        A repeat has one seed at every ratio and under every pairing, so those are compared on the same draws where
        they share any; no seed on all data is one of them.
        """
        options = replace(base.search, scheduler="none", pairing=self.pairing)
        if self.full:
            return replace(base.on_full_data(), search=options, seed=seed64(base.seed, "full", self.repeat))
        plan = replace(base.plan, ratio=self.ratio)
        if self.way:
            plan = plan_of(self.way, self.ratio, plan.schedule, {"first_epoch": plan.first_epoch})
        return replace(base, plan=plan, search=options, seed=seed64(base.seed, "repeat", self.repeat))


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """Which cells.

    Attributes:
        configs: Configurations drawn from the space, >= 2.
        ratios: Of the subsets, in (0, 1].
        pairings: Random numbers that the trials of a cell share.
        repeats: Of each ratio and pairing, >= 1.
        full_seeds: Seeds on all data, >= 1; the ceiling needs two.
        ways: Of choosing rows, by the words of `tuning.ways`, the first of them what the others are compared with;
            none: the experiment's plan.
        calibration: Go through the ratios from the smallest and stop at the first that does what this asks for.

    Raises:
        OptionsError: An option is out of range; all of them in one message.
    """

    configs: int = 30
    ratios: tuple[float, ...] = (0.02, 0.05)
    pairings: tuple[Pairing, ...] = PAIRINGS[::-1]
    repeats: int = 3
    full_seeds: int = 2
    ways: tuple[str, ...] = ()
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        counts = (("configs", self.configs, 2), ("repeats", self.repeats, 1), ("full_seeds", self.full_seeds, 1))
        faults = [f"{name}={value}, need at least {least}" for name, value, least in counts if value < least]
        faults += [f"ratio {ratio!r}, need 0 < ratio <= 1" for ratio in self.ratios if not 0 < ratio <= 1]
        faults += [
            f"pairing {pairing!r}, need one of {', '.join(PAIRINGS)}"
            for pairing in self.pairings
            if pairing not in PAIRINGS
        ]
        ratios = [f"{ratio:g}" for ratio in self.ratios]  # as they name their stages
        for name, values in (("ratios", ratios), ("pairings", self.pairings)):
            if not values or len(set(values)) < len(values):
                faults.append(f"{name}={', '.join(values) or 'none'}, need at least one, each once")
        if len(set(self.ways)) < len(self.ways):
            faults.append(f"ways={', '.join(self.ways)}, need each once")
        if faults := faults + self._calibration_faults():
            raise OptionsError.of("StudyOptions", faults)

    def _calibration_faults(self) -> list[str]:
        asked = self.calibration
        if asked is None:
            return []
        faults = []
        if not -1 <= asked.threshold <= 1:
            faults.append(f"tau={asked.threshold!r}, need a number in [-1, 1]")
        if asked.by not in ("lower", "estimate"):
            faults.append(f"by={asked.by!r}, need lower or estimate")
        if asked.score not in SCORES:
            faults.append(f"score={asked.score!r}, need one of {', '.join(SCORES)}")
        if self.pairings != (asked.pairing,):
            faults.append(f"pairings={', '.join(self.pairings)}, a calibration has one")
        if len(self.ways) > 1:
            faults.append(f"ways={', '.join(self.ways)}, a calibration has one plan")
        return faults

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> StudyOptions:
        """Read what ``asdict`` made and JSON kept."""
        asked = plain["calibration"]
        lists = {name: tuple(plain[name]) for name in ("ratios", "pairings", "ways")}
        return cls(**{**plain, **lists, "calibration": Calibration(**asked) if asked else None})

    def plans(self) -> Iterator[CellPlan]:
        """Yield the cells: all data first, then ratios from the smallest, each repeat every way and pairing."""
        for seed in range(self.full_seeds):
            yield CellPlan(True, 1.0, FULL_PAIRING, seed)
        for ratio in sorted(self.ratios):
            for repeat in range(self.repeats):
                for way, pairing in product(self.ways or ("",), self.pairings):
                    yield CellPlan(False, ratio, pairing, repeat, way)

    def samples(self, experiment: Experiment, n: int) -> int:
        """Return what all cells consume if no trial fails and none has its own number of epochs.

        Args:
            experiment: Of the study, ``first_epoch`` resolved.
            n: Training rows.

        Raises:
            BudgetError: A ratio leaves an epoch without rows.
        """
        cells = (plan.experiment(experiment) for plan in self.plans())
        return self.configs * sum(int(c.plan.timetable(n, c.recipe.epochs).costs.sum()) for c in cells)


def draw_points(space: Space, n: int, seed: int) -> tuple[dict[str, Value], ...]:
    """Draw n distinct configurations; the first of them are the same for every n.

    Raises:
        SearchSpaceError: The space has fewer.
    """
    points: list[dict[str, Value]] = []
    for draw in range(DRAWS_A_POINT * n):
        point = sample_space(space, generator(seed, draw, "correlation"))
        if point not in points:
            points.append(point)
        if len(points) == n:
            return tuple(points)
    raise SearchSpaceError(
        f"configs={n}, but {DRAWS_A_POINT * n:,} draws from the space gave {len(points)} distinct configurations: "
        "widen the space or ask for fewer."
    )


def is_complete(rows: Sequence[TrialRecord], n: int) -> bool:
    """Say whether the records of a cell are of n trials that have all ended."""
    trials = by_trial(rows)
    return len(trials) == n and all(reports[-1].status in ENDED for reports in trials.values())


def cell_of(plan: CellPlan, rows: Sequence[TrialRecord], points: Sequence[Mapping[str, Value]]) -> Cell:
    """Digest the records of a cell whose trials have all ended.

    A trial that failed, or whose last loss is not finite, has no scores. Scores before the end are those of the
    epochs at which all the others were judged.

    Raises:
        RecordError: The records are of other configurations.
    """
    trials = by_trial(rows)
    named = [trials[f"{number:04d}"] for number in range(len(points))]  # trials are named in the order of points
    for reports, point in zip(named, points, strict=True):
        if dict(reports[-1].config) != dict(point):
            raise RecordError(
                f"Stage {plan.name!r}: trial {reports[-1].trial} was of {dict(reports[-1].config)}, where this "
                f"study has {dict(point)}. Is the folder that of another study?"
            )
    alive = [reports[-1].status == "done" and score_of(reports[-1], "loss") is not None for reports in named]
    ends = [reports[-1] if lives else None for reports, lives in zip(named, alive, strict=True)]
    return Cell(
        name=plan.name,
        full=plan.full,
        ratio=plan.ratio,
        way=plan.way,
        pairing=plan.pairing,
        repeat=plan.repeat,
        samples=sum(max(row.samples_consumed for row in reports) for reports in named),
        wall_s=max(row.finished_s for row in rows),
        scores={END: _scores(ends), **_early(named, alive)},
    )


def _early(named: Sequence[Sequence[TrialRecord]], alive: Sequence[bool]) -> dict[str, Any]:
    """Return the scores at each epoch before the end of any trial, where all those that live were judged."""
    by_epoch = [
        {row.epoch: row for row in reports[:-1] if score_of(row, "loss") is not None} if lives else None
        for reports, lives in zip(named, alive, strict=True)
    ]
    judged = [set(epochs) for epochs in by_epoch if epochs is not None]
    common = sorted(set.intersection(*judged)) if judged else []
    return {
        f"epoch {epoch}": _scores([None if epochs is None else epochs[epoch] for epochs in by_epoch])
        for epoch in common
    }


def _scores(rows: Sequence[TrialRecord | None]) -> dict[str, tuple[float | None, ...]]:
    return {score: tuple(None if row is None else score_of(row, score) for row in rows) for score in SCORES}
