"""How every method of SubSelNet's comparison chooses the rows that a cell's network is trained on.

A method is one of three kinds:

    a sampler or control    reads what the fit foresees of the cell
    a consensus             reads what the fit's supervisors say on average: the same for every cell
    a baseline              reads fixed features, or a network trained beforehand on all rows; its time is charged
    adaptive                chooses anew while the cell's network trains, by what that network says

Samplers and controls see the predictions of the fit; so does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from raysubset.data.batches import RowSource
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.runtime.evidence import Evidence, gather_evidence
from raysubset.runtime.supervisors import CellTraining
from raysubset.seeds import generator, seed64
from raysubset.selection.facility_location import FacilityLocation
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass
from raysubset.subselnet.controls import CONTROLS, TRUE_LOSS
from raysubset.subselnet.inductive import Prediction
from raysubset.subselnet.predictor import SAMPLERS, ArchitecturePredictor
from raysubset.subselnet.samplers import LOSS, Gibbs, Released

UNINFORMED: Mapping[str, Callable[[], Selector]] = {
    "random": UniformRandom,
    "random-per-class": lambda: PerClass(UniformRandom()),
    "facility-location": lambda: FacilityLocation(exact=True),  # on the fit's features: no architecture in it
}
CONSENSUS: Mapping[str, Callable[[float], Selector]] = {
    "consensus-gibbs": Gibbs,
    "consensus-gibbs-per-class": lambda entropy: PerClass(Gibbs(entropy)),
}  # what a sampler on predictions is worth that ignore the architecture
FITTED = (*SAMPLERS, "released", *CONTROLS)
SCOUTS: Mapping[str, SubsetPlan] = {
    "pruning": SubsetPlan(selector="entropy", scout_model="resnet18", scout_epochs=5),
    "prototypes": SubsetPlan(selector="prototypes-hard", options={"floor": 0.0}),
    "selection-via-proxy": SubsetPlan(selector="least-confidence", scout_model="resnet20"),
    "el2n": SubsetPlan(selector="el2n"),
    "grand": SubsetPlan(selector="grand"),
}
OWN_SCOUTS = ("el2n", "grand")  # the others' scout is the same network whatever the cell
ADAPTIVE: Mapping[str, SubsetPlan] = {
    "glister": SubsetPlan(selector="glister", schedule="static"),
    "gradmatch": SubsetPlan(selector="gradmatch-per-batch", schedule="static"),
}
METHODS: tuple[str, ...] = (*UNINFORMED, *FITTED, *CONSENSUS, *SCOUTS, *ADAPTIVE)


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """What the methods have to be told.

    Attributes:
        entropy: lambda of the samplers, in nats of loss.
        candidates: Of the hybrid, in multiples of the rows chosen.
        master: Zoo name of the network that prunes; the paper's is ResNet-18.
        proxy: The same of selection via proxy; the paper names none, its source takes ResNet-20.
        proxy_epochs: Epochs of that proxy.
    """

    entropy: float = 0.3
    candidates: float = 4.0
    master: str = "resnet18"
    proxy: str = "resnet20"
    proxy_epochs: int = 5


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Rows, and the wall seconds that choosing them took, all that it needed included."""

    rows: NDArray[np.int64]
    seconds: float


@dataclass(frozen=True, slots=True)
class BankLosses:
    """Losses that a bank of trained networks knows, float32[n] each, in nats; computed when they are asked for.

    Attributes:
        true: Of the cell's own network trained on everything, for the oracle.
        consensus: Of the mean of the supervisors' predictions.
    """

    true: Callable[[], NDArray[np.float32]]
    consensus: Callable[[], NDArray[np.float32]]


def check_methods(names: tuple[str, ...]) -> None:
    """Refuse names that stand for nothing.

    Raises:
        UnknownNameError: One is unknown; lists the known ones.
    """
    for name in names:
        if name not in METHODS:
            raise UnknownNameError.of("method", name, METHODS)


def adaptive_plan(method: str, ratio: float) -> SubsetPlan:
    """Return the plan of a method that chooses while the network trains."""
    return replace(ADAPTIVE[method], ratio=ratio)


@dataclass(frozen=True, slots=True)
class Scout:
    """A network trained on all rows before a method of `SCOUTS` chooses; one serves every ratio.

    Attributes:
        method: Whose.
        cell: Whose network it is; "" where it serves every cell.
        seed: Of the evaluation's repeat.
    """

    method: str
    cell: str
    seed: int

    @classmethod
    def of(cls, method: str, training: CellTraining) -> Scout:
        """Return the scout by which a method chooses for this training."""
        return cls(method, training.cell if method in OWN_SCOUTS else "", training.seed)

    def gather(
        self, training: CellTraining, train: RowSource, transform: Transform, options: MethodOptions
    ) -> Evidence:
        """Train it and return what it says of every row; ``training`` says how, its cell and seed are not read."""
        plan = scout_plan(self.method, options)
        return gather_evidence(
            plan,
            train,
            transform,
            model=plan.scout_model or replace(training, cell=self.cell).builder,
            recipe=training.recipe,
            num_classes=training.num_classes,
            seed=seed64(self.seed, self.method),
            device=training.device,
        )


def scout_plan(method: str, options: MethodOptions) -> SubsetPlan:
    """Return the plan of a method of `SCOUTS` as the options have it."""
    plan = SCOUTS[method]
    if method == "pruning":
        return replace(plan, scout_model=options.master)
    if method in OWN_SCOUTS:
        return plan
    return replace(plan, scout_model=options.proxy, scout_epochs=options.proxy_epochs, embedding="auto")


def choose(
    method: str,
    ratio: float,
    training: CellTraining,
    train: RowSource,
    predictor: ArchitecturePredictor,
    bank: BankLosses,
    scouted: Callable[[Scout], Evidence],
    options: MethodOptions,
) -> Chosen:
    """Choose rows by a method that does so before training.

    Args:
        method: A name of `METHODS`, not an adaptive one.
        ratio: b / n, in (0, 1).
        training: Of the cell; its seed names all draws.
        train: The rows.
        predictor: The fit.
        bank: Gives losses to the oracle and to a consensus.
        scouted: Gives what a scout says; the seconds of its training are charged to the method, each time.
        options: See there.

    Raises:
        UnknownNameError: ``method`` is unknown; lists the known ones.
        OptionsError: It is adaptive.
    """
    check_methods((method,))
    if method in ADAPTIVE:
        raise OptionsError(f"Method {method!r} chooses while the network trains: see `adaptive_plan`.")
    k = max(1, round(ratio * len(train)))
    rng = generator(training.seed, training.cell, method, k, "subset-method")
    started, before = perf_counter(), 0.0
    if method in SCOUTS:
        found = scouted(Scout.of(method, training))
        started, before = perf_counter(), found.seconds
        chosen = scout_plan(method, options).compose().select(found.context, k, rng)
    elif method in CONSENSUS:
        context = Context(len(train), train.labels, {LOSS: bank.consensus()})
        chosen = CONSENSUS[method](options.entropy).select(context, k, rng)
    elif method in UNINFORMED:
        context = Context(len(train), train.labels, features=predictor.features)
        chosen = UNINFORMED[method]().select(context, k, rng)
    else:
        seen = predictor.predict(predictor.parse(training.cell))
        context = predictor.context(seen)
        if method.startswith(f"bottom-{TRUE_LOSS}"):
            context = replace(context, signals={**context.signals, TRUE_LOSS: bank.true()})
        chosen = _fitted(method, predictor, seen, options).select(context, k, rng)
    return Chosen(chosen.indices, before + perf_counter() - started)


def _fitted(method: str, predictor: ArchitecturePredictor, seen: Prediction, options: MethodOptions) -> Selector:
    if method in CONTROLS:
        return CONTROLS[method]()
    if method == "released":
        return Released()
    (kind,) = (kind for kind in SAMPLERS if kind == method)
    return predictor.sampler(kind, seen, options.entropy, candidates=options.candidates)
