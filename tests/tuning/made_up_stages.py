"""Studies of rank correlation whose stages are made up."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from raysubset.data.dataset import Dataset
from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.space import loguniform, uniform
from raysubset.report.rank_cells import Calibration
from raysubset.report.run_info import StageInfo
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.cells import StudyOptions
from raysubset.tuning.correlation import CorrelationStudy, create_study
from raysubset.tuning.opening import Drive
from raysubset.tuning.progress import Silent
from raysubset.tuning.stage import StageOutcome
from raysubset.types import TrialRecord

SPACE = {"lr": loguniform(1e-3, 1e-1), "momentum": uniform(0.5, 0.95)}
SESSION: Any = SimpleNamespace(pool=None, slots=None)
ASKED = Calibration(threshold=0.6, score="loss", pairing="both", by="lower")


def experiment(**changes: Any) -> Experiment:
    parts: dict[str, Any] = {
        "name": "c",
        "model": "mlp",
        "plan": SubsetPlan(selector="adaptive-random"),
        "recipe": Recipe(epochs=2, batch_size=32, lr=0.05),
        "space": SPACE,
        "search": SearchOptions(scheduler="none"),
    }
    return Experiment(**{**parts, **changes})


class FakeStages:
    """Stages that train nothing: losses are a configuration's quality plus noise that falls with the ratio."""

    def __init__(
        self, noise: float = 0.3, fails: tuple[str, ...] = (), dies_in: str = "", asp_noise: float = 1.0
    ) -> None:
        self.asp_noise = asp_noise  # times the noise of the others
        self.noise, self.fails, self.dies_in = noise, fails, dies_in
        self.called: list[str] = []
        self.given: dict[str, dict[str, Any]] = {}

    def __call__(self, stage: str, experiment: Experiment, pool: Any, slots: Any, folder: Path, writer: Any,
                 listener: Any, *, drive: Drive, elapsed_s: float, **_: Any) -> StageOutcome:  # fmt: skip
        self.called.append(stage)
        points = drive.points
        self.given[stage] = {"experiment": experiment, "points": points, "elapsed_s": elapsed_s}
        (folder / "tune" / stage).mkdir(parents=True, exist_ok=True)
        spread = self.noise * (1 - experiment.plan.ratio) ** 2 + 0.02
        spread *= self.asp_noise if experiment.plan.selector == "asp" else 1.0
        for number, point in enumerate(points):
            if stage == self.dies_in and number == 1:
                return StageOutcome(StageInfo(1.0, 0, 1, False), True, {})
            loss = abs(math.log10(point["lr"]) + 2) + spread * self._draw(experiment, number)
            for epoch in (1, 2):
                self._report(writer, stage, experiment, f"{number:04d}", point, epoch, loss)
        return StageOutcome(StageInfo(1.0, 0, len(points), True), False, {})

    @staticmethod
    def _draw(experiment: Experiment, number: int) -> float:
        return float(generator(experiment.seed, number, experiment.search.pairing).normal())

    def _report(self, writer: Any, stage: str, experiment: Experiment, trial: str, point: Any, epoch: int,
                loss: float) -> None:  # fmt: skip
        failed = f"{stage}/{trial}" in self.fails
        early = loss + 0.1 * float(generator(experiment.seed, trial, "early").normal())
        judged = epoch == 2 or experiment.search.evaluate == "epochs"
        value = (loss if epoch == 2 else early) if judged and not failed else None
        writer.append(
            TrialRecord(
                stage=stage, trial=trial, epoch=epoch, epochs=2, config=dict(point),
                status="failed" if failed and epoch == 2 else "done" if epoch == 2 else "running",
                samples_consumed=round(540 * experiment.plan.ratio) * epoch, equiv_epochs=1.0,
                ratio=experiment.plan.ratio, metric_used="random", train_loss=1.0, train_s=1.0, select_s=0.0,
                eval_s=0.0, finished_s=float(epoch), seed=experiment.seed, val_loss=value,
                val_accuracy=None if value is None else round(math.exp(-abs(value)), 1),
            )
        )  # fmt: skip


def study_in(root: Path, digits: Dataset, base: Experiment | None = None, **changes: Any) -> CorrelationStudy:
    options = StudyOptions(**{"configs": 8, "ratios": (0.2, 0.1), "repeats": 2, **changes})
    return create_study(base or experiment(), digits, root, Silent(), options, command="raysubset corr")
