"""SubsetPlan: how a training run chooses its data, as one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from raysubset.errors import BudgetError, OptionsError, UnknownNameError
from raysubset.seeds import generator
from raysubset.selection.asp import ProxySampling
from raysubset.selection.catalog import find_selector, habits_of, is_known, known_selectors
from raysubset.selection.mixture import METRICS, ORDERS, draw_metric, metric_probabilities
from raysubset.selection.protocol import Selector
from raysubset.selection.ratio import BUDGETS, FIRST_EPOCHS, SCHEDULES, Budget, FirstEpoch, Schedule
from raysubset.selection.sampling import SCALES, Scale
from raysubset.selection.timing import EVIDENCE, FORWARD_SHARE, Habits, Timetable, timetable
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass

FirstEpochChoice = Literal["auto", "full", "scheduled", "shared"]
SharedWeight = Literal["equal", "score"]
EvidenceChoice = Literal["auto", "none", "memory", "model", "scout", "embedding"]
MemoryType = Literal["float32", "float16"]
METRIC_CHOICES: tuple[str, ...] = ("mixture", "adaptive", *METRICS)
SHARED_WEIGHTS: tuple[SharedWeight, ...] = ("equal", "score")
MEMORY_TYPES: tuple[MemoryType, ...] = ("float32", "float16")
EMBEDDINGS: tuple[str, ...] = ("auto", "resnet50", "scout", "pca")
WITH_CLASSES: tuple[str, ...] = ("prediction", "entropy")  # the metrics that only class probabilities have
PROBE = 0.25  # of an epoch's rows, where something is learnt from them
CONTROLS: tuple[str, ...] = ("adaptive-random", "random", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetPlan:
    """Which rows, how many, when.

    Attributes:
        selector: A name of `selection.catalog` ("asp", "adaptive-random", "craig", ...), "module:name" of a class
            or function that gives a selector, or a selector object.
        options: The named selector's own options, by keyword.
        metric: For asp: one of random, prediction, gradient, loss, entropy; "mixture": one an epoch, by hand-set
            phases; "adaptive": one an epoch, by the progress it makes, see `selection.bandit`.
        ratio: r, mean share of the data an epoch trains on, in (0, 1].
        schedule: "dynamic" (large subsets first), "static", or, for asp, "adaptive": as many samples in all as
            dynamic, more of them in epochs in which the ranking of the rows changes, see `selection.pacing`.
        budget: "paper" (about r N n samples, see `selection.ratio`) or "exact" (r N n).
        first_epoch: "full"; "scheduled"; "shared": sized as scheduled, and chosen by what earlier trials at the
            same selector remember, where there are any (asp and infobatch, which choose by memory); or "auto":
            full for a single run, scheduled inside a search, where a full first epoch would cost more than the
            lower rungs.
        shared_weight: How trials count in what is shared: "equal", or by "score", the better their validation
            loss the more, see `proxy.shared`.
        select_every: Epochs between selections, 0 for one selection; in between the subset is kept. None: the
            selector's habit.
        warm_start: kappa in [0, 1), see `selection.timing`. None: the selector's habit.
        evidence: What the selector looks at, see `selection.timing.Habits`. "auto": its habit.
        embedding: Where the evidence is "embedding": "resnet50" (pretrained), "scout" (features of a model trained
            beforehand, charged), "pca" (principal components), or "auto": the first of the first two to be had.
        scout_model: Zoo name of the model trained beforehand where the evidence is "scout"; "" for the trial's.
        scout_epochs: Its epochs on everything, >= 1.
        scout_models: How many are trained; scores are means over them.
        temperature: T of the Plackett-Luce draw, > 0.
        scale: "none" (paper), "zscore" or "rank".
        per_class: Keep the class proportions (largest remainder) inside every subset.
        deterministic: The k most important rows instead of a draw.
        metrics: Those that "mixture" and "adaptive" choose among, at least one. The default is all of the task's:
            in a regression random, gradient and loss.
        order, sigma: The mixture's phases, see `selection.mixture`.
        probe: Share in [0, 1) of asp's rows that is drawn uniformly. An adaptive metric or schedule measures on
            them, see `proxy.adaptive`. None: 1/4 for those, else 0.
        memory: What remembered values are kept in: "float32", or "float16" (13 bytes a row and trial instead of
            21; the rows drawn are the same but for one in ten thousand, see `proxy.memory`).

    Raises:
        UnknownNameError: selector or metric is unknown (lists the known ones).
        BudgetError: ratio outside (0, 1].
        OptionsError: Any other option out of range; all of them in one message.
    """

    selector: str | Selector = "asp"
    options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "mixture"
    ratio: float = 0.1
    schedule: Schedule = "dynamic"
    budget: Budget = "paper"
    first_epoch: FirstEpochChoice = "auto"
    shared_weight: SharedWeight = "equal"
    select_every: int | None = None
    warm_start: float | None = None
    evidence: EvidenceChoice = "auto"
    embedding: str = "auto"
    scout_model: str = ""
    scout_epochs: int = 5
    scout_models: int = 1
    temperature: float = 1.0
    scale: Scale = "none"
    per_class: bool = False
    deterministic: bool = False
    metrics: tuple[str, ...] = METRICS
    order: str = "012"
    sigma: float = 1 / 8
    probe: float | None = None
    memory: MemoryType = "float32"

    def __post_init__(self) -> None:
        if isinstance(self.selector, str) and not is_known(self.selector):
            raise UnknownNameError.of("selector", self.selector, known_selectors())
        if self.metric not in METRIC_CHOICES:
            raise UnknownNameError.of("metric", self.metric, METRIC_CHOICES)
        if not 0 < self.ratio <= 1:
            raise BudgetError(f"ratio={self.ratio!r}, need 0 < ratio <= 1 (0.1 trains on a tenth of the data).")
        if faults := self._faults():
            raise OptionsError.of("SubsetPlan", faults)
        if self.options or self.habits.evidence == "fitted":
            find_selector(self.selector, self.options)  # a misspelt option must not wait for the first epoch

    def _faults(self) -> list[str]:
        faults = [
            f"{name}={value!r}, need one of {', '.join(allowed)}"
            for name, value, allowed in (
                ("schedule", self.schedule, SCHEDULES),
                ("budget", self.budget, BUDGETS),
                ("first_epoch", self.first_epoch, ("auto", *FIRST_EPOCHS)),
                ("shared_weight", self.shared_weight, SHARED_WEIGHTS),
                ("scale", self.scale, SCALES),
                ("order", self.order, ORDERS),
                ("evidence", self.evidence, ("auto", *EVIDENCE)),
                ("embedding", self.embedding, EMBEDDINGS),
                ("memory", self.memory, MEMORY_TYPES),
            )
            if value not in allowed
        ]
        if self.select_every is not None and self.select_every < 0:
            faults.append(f"select_every={self.select_every}, need at least 1 epoch, or 0 for one selection")
        if self.warm_start is not None and not 0 <= self.warm_start < 1:
            faults.append(f"warm_start={self.warm_start!r}, need a share of the epochs in [0, 1)")
        for name, value in (("scout_epochs", self.scout_epochs), ("scout_models", self.scout_models)):
            if value < 1:
                faults.append(f"{name}={value}, need at least 1")
        if not self.temperature > 0:
            faults.append(f"temperature={self.temperature!r}, need a number > 0")
        if not 0 < self.sigma < np.inf:
            faults.append(f"sigma={self.sigma!r}, need a finite number > 0")
        if self.selector == "asp" and self.options:
            faults.append(
                f"options={dict(self.options)!r}: asp has none; metric, temperature, ... are the plan's own"
            )
        if not isinstance(self.selector, str) and (
            isinstance(self.selector, type) or not callable(getattr(self.selector, "select", None))
        ):
            faults.append(f"selector={self.selector!r}, need a name or an object with select(context, k, rng)")
        if self.budget == "exact" and not faults and (self.habits.every != 1 or self.habits.warm_start):
            faults.append(
                "budget='exact' needs select_every=1 and no warm start: kept sizes and whole epochs on everything "
                "sum to something else"
            )
        faults += self._faults_of_adapting() if not faults else []
        if self.first_epoch == "shared" and not faults and self.habits.evidence != "memory":
            faults.append(
                f"first_epoch='shared' needs a selector that chooses by memory (asp, infobatch), {self.name!r} "
                "does not"
            )
        if self.selector in ("full", "infobatch") and self.ratio != 1:
            why = "trains on everything" if self.selector == "full" else "decides itself how much to leave out"
            faults.append(f"selector={self.selector!r} {why}, so ratio must be 1, got {self.ratio!r}")
        return faults

    def _faults_of_adapting(self) -> list[str]:
        faults = []
        if self.probe is not None and not 0 <= self.probe < 1:
            faults.append(f"probe={self.probe!r}, need a share in [0, 1)")
        if not self.metrics or set(self.metrics) - set(METRICS):
            faults.append(f"metrics={self.metrics!r}, need some of {', '.join(METRICS)}")
        if self.selector == "asp":
            adaptive = [name for name in ("metric", "schedule") if getattr(self, name) == "adaptive"]
            if adaptive and self.probe == 0:
                faults.append(f"probe=0 with {adaptive[0]}='adaptive', which learns from rows drawn uniformly")
        else:
            only: list[tuple[str, object]] = [("probe", self.probe)] if self.probe else []
            only += [("schedule", self.schedule)] if self.schedule == "adaptive" else []
            faults += [f"{name}={value!r} with selector={self.name!r}: for asp alone" for name, value in only]
        if self.schedule == "adaptive" and not faults and (self.habits.every != 1 or self.habits.warm_start):
            faults.append(
                "schedule='adaptive' needs select_every=1 and no warm start: it sizes every epoch by itself"
            )
        return faults

    @classmethod
    def full(cls) -> SubsetPlan:
        """Return the plan that trains on everything."""
        return cls(selector="full", ratio=1.0, schedule="static", metric="random")

    def resolved(self, first_epoch: FirstEpoch) -> SubsetPlan:
        """Return the plan with ``first_epoch="auto"`` decided: as given, but not where rows are known at once."""
        if self.first_epoch != "auto":
            return self
        habits = self.habits
        known = habits.informed_at_start or habits.warm_start > 0
        return replace(self, first_epoch="scheduled" if known else first_epoch)

    def for_targets(self) -> SubsetPlan:
        """Return the plan for a task without classes (regression): what is left of it that is defined there.

        Loss and gradient are; entropy and the count of wrong predictions are not. The default ``metrics`` mean all
        that a task has: there "mixture" and "adaptive" choose among random, gradient and loss, in the same phases
        (each group of the mixture keeps one). Metrics that were named are never left out: they are refused.

        Raises:
            OptionsError: The plan asks for what needs classes; all of it in one message.
        """
        faults = []
        if self.selector not in ("asp", "infobatch", *CONTROLS):
            faults.append(
                f"selector={self.name!r} looks at class probabilities or labels; asp, infobatch and "
                f"{', '.join(CONTROLS)} do not"
            )
        if self.per_class:
            faults.append("per_class=True keeps class proportions, and there are none; need False")
        if self.selector == "asp" and self.metric in WITH_CLASSES:
            faults.append(f"metric={self.metric!r} is of class probabilities; random, gradient and loss are not")
        left = tuple(metric for metric in self.metrics if metric not in WITH_CLASSES)
        if self.selector == "asp" and self.metrics != METRICS and left != self.metrics:
            faults.append(
                f"metrics={self.metrics!r}: {', '.join(WITH_CLASSES)} are of class probabilities; "
                "random, gradient and loss are not"
            )
        if self.evidence not in ("auto", "none", "memory"):
            faults.append(f"evidence={self.evidence!r} is of a model of classes; need auto, none or memory")
        if faults:
            raise OptionsError.of("SubsetPlan for targets that are no classes", faults)
        return replace(self, metrics=left)

    @property
    def name(self) -> str:
        """The selector's name; that of its type for an object."""
        return self.selector if isinstance(self.selector, str) else type(self.selector).__name__

    @property
    def habits(self) -> Habits:
        """What the selector looks at and when it chooses, with this plan's changes."""
        habits = habits_of(self.selector, self.options)
        if self.evidence != "auto":
            habits = replace(habits, evidence=self.evidence)
        if self.select_every is not None:
            habits = replace(habits, every=self.select_every)
        return habits if self.warm_start is None else replace(habits, warm_start=self.warm_start)

    @property
    def is_adaptive(self) -> bool:
        """True where rows follow the signals of the training passes, so that they must be recorded."""
        if self.selector == "asp":
            return (self.metric != "random" or self.schedule == "adaptive") and self.ratio < 1
        return self.habits.evidence == "memory"

    @property
    def learns(self) -> bool:
        """True where metrics or sizes follow what the training itself shows, so that none is known beforehand."""
        return self.selector == "asp" and self.is_adaptive and "adaptive" in (self.metric, self.schedule)

    def probe_size(self, size: int) -> int:
        """Return how many of an epoch's rows are drawn uniformly: none, or at least one and not all."""
        share = self.probe if self.probe is not None else PROBE if self.learns else 0.0
        return min(max(1, round(share * size)), size - 1) if share else 0

    @property
    def shares_memory(self) -> bool:
        """True where a trial learns from the memories of others, and they from its own."""
        return self.first_epoch == "shared" and self.is_adaptive

    @property
    def needs_pool(self) -> bool:
        """True where the selector must know more of the pool than its size."""
        return self.per_class or self.selector not in ("asp", *CONTROLS)

    def timetable(self, n: int, epochs: int) -> Timetable:
        """Lay out the epochs over a pool of n rows, of which the steering rows are never trained on.

        Raises:
            BudgetError: See `subset_sizes` and `timing.timetable`.
        """
        first = self.resolved("full").first_epoch
        assert first != "auto"  # resolved
        habits = self.habits
        held_out = steering_size(habits.steering, n)
        return timetable(habits, n - held_out, epochs, self.ratio, self.schedule, self.budget, first, held_out)

    def scouting_samples(self, n: int) -> int:
        """Return the samples charged once, before any trial, for the evidence that all trials share."""
        habits = self.habits
        if habits.evidence != "scout":
            return 0
        trained = steering_size(habits.steering, n) if habits.in_batch else n
        return self.scout_models * (self.scout_epochs * trained + round(n * FORWARD_SHARE))

    def metric_at(self, epoch: int, epochs: int, seed: int) -> str:
        """Return what chooses the rows of ``epoch``: ASP's metric, or the selector's name.

        Args:
            epoch: One at which a choice is made.
            epochs: N.
            seed: Of the subset noise; keyed, so asking twice gives the same.

        Raises:
            OptionsError: The metric is "adaptive": it follows what a stream has measured.
        """
        if self.selector == "full":
            return "full"
        if self.selector in CONTROLS:
            return "random"
        if self.selector != "asp":
            return self.name
        if self.metric == "adaptive":
            raise OptionsError("metric='adaptive' is chosen by the stream, from what it has measured so far.")
        if self.metric != "mixture":
            return self.metric
        probabilities = metric_probabilities(epochs, self.order, self.sigma, self.metrics)
        return draw_metric(probabilities, epoch, generator(seed, epoch, "metric"))

    def compose(self, metric: str = "random") -> Selector:
        """Return the selector that applies this plan's options (ASP: with ``metric``)."""
        if self.selector == "asp":
            inner: Selector = ProxySampling(metric, self.temperature, self.scale, self.deterministic)
        else:
            inner = find_selector(self.selector, self.options).selector
        return PerClass(inner) if self.per_class and not isinstance(inner, PerClass) else inner

    def blind(self) -> Selector:
        """Return the selector of an epoch at which nothing is known yet."""
        return PerClass(UniformRandom()) if self.per_class else UniformRandom()

    def stream(self, epoch: int, seed: int) -> np.random.Generator:
        """Return the generator of the selection made at ``epoch``; one for all epochs if "random"."""
        return generator(seed, 0 if self.selector == "random" else epoch, "subset")


def steering_size(share: float, n: int) -> int:
    """Return how many of n rows are held out to steer a selector: at least one if the share is not 0."""
    return min(max(1, round(share * n)), n - 1) if share else 0
