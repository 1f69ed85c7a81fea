"""Selectors against adaptive random: equal samples, several seeds, selection paid for.

Every run may consume B = ratio x epochs x n samples. What a selector spends on forward passes over the pool it
cannot spend on training: it gets as many epochs as fit, and a little more in each to use up the rest. Evidence
that a whole search shares (scouts, embeddings) counts by its share, 1 / trials. Seeds pair the runs: equal initial
weights and order of samples.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Dataset
from raysubset.data.transform import Transform
from raysubset.errors import BudgetError, OptionsError, SelectionError, SlowSelectorWarning, UnknownNameError
from raysubset.hpo.pairing import TrialSeeds
from raysubset.proxy.service import SelectorService
from raysubset.report.line_file import LineFile
from raysubset.runtime.evidence import Evidence, gather_evidence
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.seeds import seed64
from raysubset.selection.catalog import habits_of, known_selectors
from raysubset.selection.plan import METRIC_CHOICES, SubsetPlan
from raysubset.selection.ratio import SCHEDULES
from raysubset.training.recipe import Recipe

BASELINE = "adaptive-random"
KEPT = 0.7  # InfoBatch at a prune share of 1/2: two thirds of the losses lie below their mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared.

    Attributes:
        model: Zoo name.
        recipe: How every run trains; its epochs are those of a run that spends nothing on selection.
        ratios: Mean shares of the data.
        seeds: Seeds 0..seeds-1.
        trials: How many trials of a search share the evidence.
        select_every: Epochs between the choices of selectors that look at the model.
        scout_epochs: Epochs of a scout.
    """

    model: str
    recipe: Recipe
    ratios: tuple[float, ...] = (0.05, 0.1)
    seeds: int = 3
    trials: int = 16
    select_every: int = 10
    scout_epochs: int = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        selector, ratio, seed: Which.
        accuracy, loss: On the test rows; None if the run failed.
        epochs: Trained.
        samples: Consumed, with the run's share of the evidence.
        budget: Samples it might consume.
        train_s, select_s: Seconds, the latter with the run's share of the evidence.
        cpu_s: Processor seconds of both; on a busy machine they say more than the clock.
        evidence_samples: Samples of the whole evidence.
        note: Why it failed, or what took its place.
    """

    selector: str
    ratio: float
    seed: int
    accuracy: float | None
    loss: float | None
    epochs: int
    samples: int
    budget: int
    train_s: float
    select_s: float
    cpu_s: float
    evidence_samples: int
    note: str = ""


def plan_for(name: str, ratio: float, study: Study) -> SubsetPlan:
    """Return a contender's plan: its habits, but a choice every ``select_every`` epochs by those with a model.

    Args:
        name: SELECTOR, SELECTOR:METRIC, SELECTOR:SCHEDULE or SELECTOR:METRIC:SCHEDULE; else the metric is the
            mixture and the schedule "static". A lone "adaptive" is a metric.
        ratio: Mean share of the data.
        study: What it is compared in.

    Raises:
        UnknownNameError: Selector, metric or schedule is none.
    """
    selector, *words = name.split(":")
    if selector not in known_selectors():
        raise UnknownNameError.of("selector", selector, known_selectors())
    habits = habits_of(selector)
    whole = selector == "full" or habits.prunes
    plan = SubsetPlan(
        selector=selector,
        ratio=1.0 if whole else ratio,
        schedule="static",
        first_epoch="full" if whole else "scheduled",
        select_every=study.select_every if habits.evidence == "model" else None,
        scout_epochs=study.scout_epochs,
    )
    return replace(plan, **_said(words)) if words else plan


def _said(words: Sequence[str]) -> dict[str, Any]:
    """Return the plan's options that a contender's name says; a schedule that changes keeps the budget exactly."""
    said: dict[str, Any] = {}
    if words[0] in METRIC_CHOICES:
        said, words = {"metric": words[0]}, words[1:]
    if not words:
        return said
    if len(words) > 1 or words[0] not in SCHEDULES:
        raise UnknownNameError.of("metric or schedule", ":".join(words), (*METRIC_CHOICES, *SCHEDULES))
    return {**said, "schedule": words[0], "budget": "exact"}


def affordable_epochs(plan: SubsetPlan, n: int, budget: float, most: int) -> int:
    """Return the largest number of epochs, at most ``most``, whose planned cost fits the budget; at least 1.

    A selector that prunes by its own rule is expected to keep `KEPT` of the rows after its first epoch.
    """
    fitting = [e for e in range(1, most + 1) if _cost(plan, n, e) <= budget]
    return max(fitting, default=1)


def filled_up(plan: SubsetPlan, n: int, budget: float, epochs: int) -> SubsetPlan:
    """Return the plan with the ratio at which its epochs use up the budget; whole epochs stay whole."""
    if plan.ratio == 1:
        return plan
    table = plan.timetable(n, epochs)
    rest = (budget - float(table.charges.sum())) / float(table.sizes.sum())
    return replace(plan, ratio=min(1.0, plan.ratio * rest)) if rest > 0 else plan


def _cost(plan: SubsetPlan, n: int, epochs: int) -> float:
    try:
        costs = plan.timetable(n, epochs).costs
        return float(costs[0] + KEPT * costs[1:].sum() if plan.habits.prunes else costs.sum())
    except BudgetError:  # a warm start that leaves no epoch
        return float("inf")


class Bench:
    """Runs a study over one data set; evidence of a kind is gathered once a seed."""

    def __init__(self, data: Dataset, study: Study) -> None:
        if data.test is None:
            raise OptionsError("A comparison of selectors needs test rows, and this data set has none.")
        self._data, self._study = data, study
        self._train, self._test = ArraySource(data.train), ArraySource(data.test)
        self._transform = Transform.fit(data.train.inputs)
        self._evidence: dict[tuple[str, bool, int], Evidence] = {}

    def run(self, name: str, ratio: float, seed: int) -> Outcome:
        """Train one model on subsets of one selector, and test it."""
        study, n = self._study, len(self._train)
        plan = plan_for(name, ratio, study)
        evidence = self._gathered(plan, seed)
        share, seconds = evidence.samples / study.trials, evidence.seconds / study.trials
        budget = ratio * study.recipe.epochs * n
        epochs = affordable_epochs(plan, n, budget - share, study.recipe.epochs)
        plan = filled_up(plan, n, budget - share, epochs)
        recipe = replace(study.recipe, epochs=epochs)
        seeds = TrialSeeds(seed64(seed, "subset"), seed64(seed, "init"))
        spec = TrialSpec("bench", study.model, recipe, plan, seeds, self._data.num_classes)
        started = perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SlowSelectorWarning)
            trial = Trial(spec, self._train, self._test, self._transform, SelectorService(evidence.context))
        note = "; ".join(str(each.message) for each in caught if each.category is SlowSelectorWarning)
        train_s = select_s = 0.0
        cpu = process_time()
        try:
            while not trial.done and trial.samples_consumed < budget:
                report = trial.run_epoch()
                train_s, select_s = train_s + report.train_s, select_s + report.select_s
            cpu_s = process_time() - cpu
            judged = trial.evaluate()
            accuracy, loss = judged.accuracy, judged.loss
        except (SelectionError, ArithmeticError) as error:
            accuracy, loss, note = None, None, f"{type(error).__name__}: {error}"
            train_s, cpu_s = perf_counter() - started, process_time() - cpu
        finally:
            trial.close()
        return Outcome(
            name,
            ratio,
            seed,
            accuracy,
            loss,
            epochs,
            trial.samples_consumed + round(share),
            round(budget),
            train_s,
            select_s + seconds,
            cpu_s + seconds,
            evidence.samples,
            note,
        )

    def _gathered(self, plan: SubsetPlan, seed: int) -> Evidence:
        habits, study = plan.habits, self._study
        key = (habits.evidence, habits.in_batch, seed)
        if key not in self._evidence:
            self._evidence[key] = gather_evidence(
                plan,
                self._train,
                self._transform,
                model=study.model,
                recipe=study.recipe,
                num_classes=self._data.num_classes,
                seed=seed64(seed, "evidence"),
            )
        return self._evidence[key]


def run_study(
    data: Dataset, study: Study, names: Sequence[str], file: Path, tell: Callable[[Outcome], None]
) -> Iterator[Outcome]:
    """Yield the outcomes of all runs, those that ``file`` holds already included; new ones are appended to it.

    Args:
        data: Training and test rows.
        study: What to compare.
        names: Selectors; adaptive random is always among them, first.
        file: One JSON object a line.
        tell: Called with each new outcome.
    """
    bench = Bench(data, study)
    known = {(o.selector, o.ratio, o.seed): o for o in read_outcomes(file)}
    contenders = dict.fromkeys((BASELINE, *names))
    with LineFile(file) as results:
        for seed, name, ratio in product(range(study.seeds), contenders, study.ratios):
            outcome = known.get((name, ratio, seed))
            if outcome is None:
                outcome = bench.run(name, ratio, seed)
                results.write(json.dumps(asdict(outcome)))
                tell(outcome)
            yield outcome


def read_outcomes(file: Path) -> list[Outcome]:
    """Return the outcomes that a file holds, without a last line that was cut short; none if there is no file."""
    if not file.exists():
        return []
    *lines, _ = file.read_text(encoding="utf-8").split("\n")
    return [Outcome(**json.loads(line)) for line in lines]
