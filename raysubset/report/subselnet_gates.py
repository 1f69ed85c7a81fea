"""What a fit of SubSelNet must pass, as measured: gates G3 to G7.

A gate that was not measured, or not where it counts, neither holds nor fails. G1, G2, G8 and G9 are of the code,
not of a fit: its tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from raysubset.report.subselnet_facts import (
    FACILITY_LOCATION,
    GIBBS,
    HYBRID,
    INDUCTIVE,
    TRANSDUCTIVE,
    UNIFORM,
    EncoderFacts,
    KlFacts,
    ObjectiveFacts,
    StudyFacts,
    SubsetFacts,
)
from raysubset.report.subselnet_tables import size
from raysubset.report.wording import NOT_MEASURED, percent, seconds

READ_RIGHTLY, SPREAD, TWINS = 0.95, 0.1, 1e-3
NEAR = 0.02  # of the closed form's objective, by which the optimised one may lie above it
FEWEST_ROWS = 2000  # below that, times of selection say little
FEWEST_DRAWS = 8


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate.

    Attributes:
        name: "G3".
        asks: What it asks for.
        holds: None where it was not judged.
        measured: What was, in words.
    """

    name: str
    asks: str
    holds: bool | None
    measured: str


def gates(facts: StudyFacts) -> tuple[Gate, ...]:
    """Return the gates of a fit, in order."""
    return (
        _encoder(facts.encoder),
        _approximator(facts.kl),
        *_objective(facts.objectives),
        _time(facts.subsets),
        _sound(facts.subsets),
    )


def _encoder(found: EncoderFacts) -> Gate:
    shares = min(found.op_accuracy, found.edge_accuracy)
    apart = (
        "no twins in this space" if found.twins is None else f"twins {found.twins:.2f} standard deviations apart"
    )
    return Gate(
        "G3",
        f"encoder: operations and edges of held-out cells read back, at least {percent(READ_RIGHTLY)} each; "
        f"spread of the vectors at least {SPREAD:g}; twin cells told apart",
        shares >= READ_RIGHTLY and found.spread >= SPREAD and (found.twins is None or found.twins > TWINS),
        f"operations {percent(found.op_accuracy)}, edges {percent(found.edge_accuracy)} (none: "
        f"{percent(found.edge_baseline)}), spread {found.spread:.2f}, {apart}",
    )


def _approximator(kl: KlFacts | None) -> Gate:
    asks = "approximator: mean KL on unseen cells below B0 and below B1 (of this fit's seed)"
    if kl is None:
        return Gate("G4", asks, None, "fewer than two unseen cells")
    model, prior, label = (fmean(column) for column in (kl.model, kl.class_prior, kl.label_conditional))
    below = sum(one < min(both) for one, *both in zip(kl.model, kl.class_prior, kl.label_conditional, strict=True))
    measured = f"{model:.4f}, B0 {prior:.4f}, B1 {label:.4f} nats; below both in {below} of {len(kl.model)} cells"
    return Gate("G4", asks, model < min(prior, label), measured)


def _objective(found: tuple[ObjectiveFacts, ...]) -> tuple[Gate, Gate]:
    means = {one.ratio: {name: fmean(values) for name, values in one.values.items()} for one in found}
    enough = bool(found) and all(one.draws >= FEWEST_DRAWS for one in found)
    optimised = all(
        mean[TRANSDUCTIVE] < mean[UNIFORM] and mean[TRANSDUCTIVE] <= mean[GIBBS] + NEAR * abs(mean[GIBBS])
        for mean in means.values()
    )
    between = all(mean[GIBBS] < mean[INDUCTIVE] < mean[UNIFORM] for mean in means.values())
    return (
        Gate(
            "G5",
            "transductive objective below the uniform draw's, at most 2 % above the closed form's, at each size",
            optimised if enough else None,
            "; ".join(f"{size(ratio)}: {_ordered(mean, TRANSDUCTIVE)}" for ratio, mean in means.items()),
        ),
        Gate(
            "G5",
            "inductive objective strictly between uniform and closed form on unseen cells, at each size",
            between if enough else None,
            "; ".join(f"{size(ratio)}: {_ordered(mean, INDUCTIVE)}" for ratio, mean in means.items()),
        ),
    )


def _ordered(mean: Mapping[str, float], name: str) -> str:
    return f"uniform {mean[UNIFORM]:.4f}, {name} {mean[name]:.4f}, gibbs {mean[GIBBS]:.4f}"


def _time(found: SubsetFacts) -> Gate:
    asks = f"mean selection time: inductive < transductive < facility location, from {FEWEST_ROWS:,} rows on"
    order = [found.alone.get(name) for name in (INDUCTIVE, TRANSDUCTIVE, FACILITY_LOCATION)]
    known = [time for time in order if time is not None]
    rising = all(faster < slower for faster, slower in pairwise(known))
    measured = ", ".join(
        f"{name} {brief(found.alone.get(name))}"
        for name in (INDUCTIVE, TRANSDUCTIVE, FACILITY_LOCATION, GIBBS, HYBRID)
    )
    judged = found.n >= FEWEST_ROWS and (len(known) == len(order) or not rising)
    return Gate("G6", asks, rising if judged else None, f"{measured}; {size(found.ratio)} of {found.n:,} rows")


def brief(value: float | None) -> str:
    """Spell a time that may be short: 0.0234 -> "23 ms"; from a second on as `seconds`."""
    if value is None:
        return NOT_MEASURED
    return f"{1000 * value:.3g} ms" if value < 1 else seconds(value)


def _sound(found: SubsetFacts) -> Gate:
    asks = "draws: b different rows of the pool, the same from the same seed; the hybrid meets both its ends"
    said = "; ".join(found.faults[:3]) or "no fault"
    return Gate(
        "G7", asks, not found.faults, f"{found.checked} draws checked, {len(found.faults)} at fault: {said}"
    )
