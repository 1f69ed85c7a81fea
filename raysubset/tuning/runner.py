"""What a trial does between two decisions of a search: one epoch, judged where a decision needs it, reported.

The same code runs in a Tune actor (`tuning.trainable`) and in every training worker of a team (`tuning.team`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import ray

from raysubset.data.batches import RowSource
from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError
from raysubset.experiment import Experiment
from raysubset.hpo.fidelity import Ladder
from raysubset.hpo.pairing import trial_seeds
from raysubset.proxy.memory import ProxyMemory
from raysubset.report.traces import RankTrace
from raysubset.runtime.client import SelectorClient
from raysubset.runtime.failure import ends_only_the_trial
from raysubset.runtime.ladder import AnyTrial, make_trial
from raysubset.runtime.ranks import TeamClient
from raysubset.runtime.resident import peak_bytes
from raysubset.runtime.selectors import Selectors
from raysubset.runtime.session import Slots
from raysubset.runtime.store import StoredSplit
from raysubset.runtime.trial import EpochReport, TrialSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.training.evaluate import Evaluation
from raysubset.training.recipe import Recipe
from raysubset.training.team import ALONE, Team
from raysubset.tuning.contest import Contest
from raysubset.tuning.evidence import StoredEvidence

MEASURES = ("loss", "accuracy", "rmse", "r2")  # of an evaluation, in records as val_... and test_...


@dataclass(frozen=True, slots=True)
class StageSetting:
    """What all trials of a stage share; travels once, through the object store.

    Attributes:
        stage: Its name; trial ids at the selector begin with it.
        experiment: Plan, recipe, seed and options of this stage.
        train, validation: Blocks in the object store.
        transform: The data's statistics.
        selectors: The selector actors.
        evidence: What all trials know of the training rows.
        num_classes: Width of the models' output.
        ladder: The segments of a trial, and where it is evaluated.
        slots: Workers of a trial, and what each may use.
        checkpoint_every_s: Seconds between checkpoints: what a fault may cost.
        keep_final: Checkpoint the finished trial (its model is wanted afterwards).
        folder: Of Ray's own files of the stages, on storage that all nodes see.
        contest: What the points of the trials stand for, where they are no configurations.
    """

    stage: str
    experiment: Experiment
    train: StoredSplit
    validation: StoredSplit
    transform: Transform
    selectors: Selectors
    evidence: StoredEvidence
    num_classes: int
    ladder: Ladder
    slots: Slots
    checkpoint_every_s: float
    keep_final: bool
    folder: str
    contest: Contest | None = None

    @property
    def gpu(self) -> bool:
        """True if models are trained on the GPUs that Ray assigns."""
        return self.slots.gpus > 0


class TrialRunner:
    """One trial after another, in one process, epoch by epoch.

    Args:
        setting: What the trials share; the data of this node are opened at once.
        team: The workers that train each trial together; all run the same calls in the same order.
    """

    def __init__(self, setting: StageSetting, team: Team = ALONE) -> None:
        self._setting, self._team = setting, team
        self._train: RowSource = setting.train.open()
        self._validation: RowSource = setting.validation.open()
        self._client = self._connect()
        self._trial: AnyTrial | None = None
        self._rung, self._score = -1, math.inf

    def _connect(self) -> SelectorClient:
        setting, first = self._setting, self._team.shard.rank == 0
        client = setting.selectors.client(setting.evidence.context, setting.evidence.key) if first else None
        if client is not None and self._team.size == 1:
            return client
        return TeamClient(self._team, client)

    @property
    def trial(self) -> AnyTrial:
        """The trial that is being run; `become` must have been called."""
        assert self._trial is not None, "become() makes the trial"
        return self._trial

    def become(self, config: Mapping[str, Any]) -> None:
        """Let go of the trial before and begin the one that ``config`` describes."""
        setting, experiment = self._setting, self._setting.experiment
        self.close()
        self._rung, self._score = -1, math.inf
        recipe, plan, seed = self._entry(config["point"])
        spec = TrialSpec(
            trial=f"{experiment.name}/{setting.stage}/{config['trial']}",
            model=experiment.model,
            recipe=recipe,
            plan=plan,
            seeds=trial_seeds(seed, config["trial"], experiment.search.pairing),
            num_classes=setting.num_classes,
            device="cuda" if setting.gpu else "cpu",
        )
        self._trial = make_trial(
            spec, setting.ladder, self._train, self._validation, setting.transform, self._client, self._team
        )

    def _entry(self, point: Mapping[str, Any]) -> tuple[Recipe, SubsetPlan, int]:
        """Return how a point is trained, how it chooses its rows, and its seed."""
        experiment, contest = self._setting.experiment, self._setting.contest
        if contest is None:
            return experiment.recipe.with_config(point), experiment.plan, experiment.seed
        return experiment.recipe, *contest.entry(point)

    def step(self) -> dict[str, Any]:
        """Train one epoch; a trial that diverged, or whose code fails, ends with its reason and an infinite score.

        Of a team all workers must do the same: what fails in one of them is a fault of the team.
        """
        try:
            report = self.trial.run_epoch()
        except NonFiniteLossError as error:
            return self._failure(str(error))
        except Exception as error:
            if self._team.size > 1 or not ends_only_the_trial(error):
                raise
            return self._failure(f"{type(error).__name__}: {error}")
        self._keep_ranks(report.epoch)
        rung = self._setting.ladder.rungs.reached(report.samples_consumed, report.epoch)
        reached = rung > self._rung
        due = reached or self.trial.done or self._setting.experiment.search.evaluate == "epochs"
        started = perf_counter()
        evaluation = self.trial.evaluate() if due else None
        tested = self._test() if self.trial.done else None
        eval_s = perf_counter() - started
        if evaluation is not None:
            self._score = self._scored(evaluation)
            if self._setting.experiment.plan.shares_memory and math.isfinite(evaluation.loss):
                self._client.rate(self.trial.spec.trial, evaluation.loss)
        self._rung = max(rung, self._rung)
        return {
            **self._fields(report, evaluation, eval_s, tested),
            "rung": rung if reached else None,
            "status": "done" if self.trial.done else "running",
            "reason": "",
            "done": self.trial.done,
        }

    def _keep_ranks(self, epoch: int) -> None:
        """Add an epoch to the trial's rank trace, where one is asked for; epochs trained again count once."""
        contest, spec = self._setting.contest, self.trial.spec
        if contest is None or contest.traces is None or not spec.plan.is_adaptive:
            return
        memory = ProxyMemory.from_state(self._client.state(spec.trial)["memory"])
        metric = "loss" if "loss" in memory.values else next(iter(memory.values))
        _, stage, trial = spec.trial.rsplit("/", 2)
        file = contest.traces / f"{stage}-{trial}.npz"
        trace = RankTrace.read(file) if epoch > 1 and file.exists() else RankTrace.empty(len(memory), metric)
        if len(trace.ranks) == epoch - 1:
            trace.after(memory.importance(metric)).write(file)

    def _test(self) -> Evaluation | None:
        """Judge a finished trial on the test rows, where nothing will be chosen by its scores."""
        contest = self._setting.contest
        return None if contest is None or contest.test is None else self.trial.evaluate_on(contest.test.open())

    def _scored(self, evaluation: Evaluation) -> float:
        score = evaluation.loss if self._setting.experiment.search.score == "loss" else 1.0 - evaluation.accuracy
        return score if math.isfinite(score) else math.inf

    def _fields(
        self, report: EpochReport, evaluation: Evaluation | None, eval_s: float, tested: Evaluation | None = None
    ) -> dict[str, Any]:
        return {
            "score": self._score,
            "epoch": report.epoch,
            "epochs": self.trial.planned_epochs,
            "samples_consumed": report.samples_consumed,
            "equiv_epochs": report.samples_consumed / len(self._train),
            "ratio": report.ratio,
            "metric_used": report.metric_used,
            "train_loss": report.train_loss,
            "train_s": report.train_s,
            "select_s": report.select_s,
            "eval_s": eval_s,
            **_judged("val", evaluation),
            **_judged("test", tested),
            "node": ray.get_runtime_context().get_node_id(),
            "peak_bytes": peak_bytes(),
        }

    def _failure(self, reason: str) -> dict[str, Any]:
        """End the trial with the worst score there is; the memory keeps what it knew before."""
        self._score = math.inf
        report = EpochReport(self.trial.epoch + 1, self.trial.samples_consumed, 0.0, "none", math.nan, 0.0, 0.0)
        return {
            **self._fields(report, None, 0.0),
            "rung": None,
            "status": "failed",
            "reason": reason,
            "done": True,
        }

    def state(self) -> dict[str, Any]:
        """Return weights, optimiser, memory, place and rung."""
        return {**self.trial.state(), "rung": self._rung, "score": self._score}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.trial.restore(state)
        self._rung, self._score = int(state["rung"]), float(state["score"])

    def close(self) -> None:
        """Let the selector forget the trial, if there is one."""
        if self._trial is not None:
            self._trial.close()
        self._trial = None


def _judged(where: str, found: Evaluation | None) -> dict[str, float | None]:
    """Return what a split said, under the records' names; None was not measured, or is not of this task."""
    if found is None:
        return {f"{where}_{name}": None for name in MEASURES}
    scores = {name: float(getattr(found, name)) for name in MEASURES}
    return {
        f"{where}_{name}": None if name != "loss" and math.isnan(value) else value
        for name, value in scores.items()
    }
