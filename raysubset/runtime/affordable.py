"""A selector that costs more than it saves gives way to adaptive random, aloud (DESIGN, D10)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from torch import nn

from raysubset.errors import SlowSelectorWarning
from raysubset.models.cost import forward_flops
from raysubset.models.head import last_linear
from raysubset.selection.plan import SubsetPlan

TRAINING_STEP = 3  # forward passes that a training step is worth


@runtime_checkable
class Priced(Protocol):
    """A selector that says what a selection costs."""

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Return the floating-point operations of choosing k of n rows with c logits and h features."""
        ...


def share_of_full_cost(
    plan: SubsetPlan, model: nn.Module, input_shape: tuple[int, ...], n: int, epochs: int
) -> float:
    """Return what a trial under ``plan`` costs, selection included, as a share of training on all n rows.

    Counted in floating-point operations: 3 F a trained row, F a row that passes forward only (F: the model's own
    forward pass), and what the selector says of itself. A selector without a price counts as free.
    """
    table = plan.timetable(n, epochs)
    forward = forward_flops(model, input_shape)
    spent = forward * (TRAINING_STEP * float(table.sizes.sum()) + float(table.forward.sum()))
    selector = None if plan.habits.in_batch else plan.compose()
    if isinstance(selector, Priced):
        head = last_linear(model)
        epochs_of_choice = np.unique(table.chosen_at[table.chosen_at >= table.first_choice])
        sizes = [int(table.sizes[e]) for e in epochs_of_choice if 0 < table.sizes[e] < n]
        spent += sum(selector.flops(n, k, head.out_features, head.in_features) for k in sizes)
    return spent / (forward * TRAINING_STEP * n * epochs)


def affordable(
    plan: SubsetPlan, model: nn.Module, input_shape: tuple[int, ...], n: int, epochs: int
) -> SubsetPlan:
    """Return ``plan``, or adaptive random in its place if it would cost more than training on everything.

    Warns:
        SlowSelectorWarning: It would; says by how much, and what would mend it.
    """
    if not plan.needs_pool or plan.selector == "infobatch":
        return plan
    share = share_of_full_cost(plan, model, input_shape, n, epochs)
    if share < 1:
        return plan
    warnings.warn(
        f"Selector {plan.name!r} at ratio {plan.ratio:g}, choosing every {plan.habits.every or epochs} epochs, "
        f"would cost {share:.3g} times as much as training on all {n} rows: adaptive random takes its place. "
        "Choose less often (select_every), or per class.",
        SlowSelectorWarning,
        stacklevel=2,
    )
    return replace(plan, selector="adaptive-random", options={}, select_every=1, warm_start=None, evidence="auto")
