"""Controls: what chooses from the approximator's predictions without any sampler, by name.

A context for these carries predictions for one architecture: the losses as ``signals["loss"]``, or logits and
labels, of which loss and entropy are computed; for the oracle, the losses of the network trained on all data, as
``signals["true-loss"]``.

    bottom-loss          the b rows of smallest predicted loss: our objective without its entropy term
    bottom-loss-gumbel   the b smallest of loss + Gumbel(0, scale), as the paper has it, see `BottomLossGumbel`
    top-loss             the b largest; the "loss" sampler of the paper's table 3
    uncertainty          the b of largest entropy of the prediction; the "uncertainty" sampler of that table
    bottom-true-loss     bottom-loss with the true losses: what a perfect approximator would buy it
    *-per-class          each of them inside the classes, quotas by largest remainder: most of what bottom-loss
                         loses, it loses by skewed classes

Most are `TopScore` and `PerClass` under a name. Ties are broken at random from the given stream, the same in every
run: by row number they would drop whole classes where a saturated approximator gives many rows a loss of 0.

The paper's baselines are plans of the catalogue, with no predictions of ours in them:

    random, by class     SubsetPlan(selector="random", per_class=...)
    facility location    SubsetPlan(selector=FacilityLocation(exact=True), embedding=...): over the whole pool, by
                         max D^2 - D^2, first picks not on a sample. The name "facility-location" works per class.
    pruning, as run      SubsetPlan(selector="entropy", scout_model="resnet18", scout_epochs=5): a ResNet-18
                         master, its most uncertain rows. A scout trains by the trial's recipe, so the printed lr
                         of 0.025 is the recipe's to set. "Uncertainty" is not defined there; entropy is assumed.
    pruning, as cited    SubsetPlan(selector="prototypes-hard", options={"floor": 0.0}, embedding="resnet50"), for
                         small b "prototypes-easy"; Euclidean distance, the features of a supervised network. The
                         default floor of 0.5 is its class-balanced form.
    selection via proxy  SubsetPlan(selector="least-confidence", scout_model="resnet20", scout_epochs=...), or
                         "entropy", "margin", "forgetting"; "k-center" with embedding="scout".
    EL2N, GraNd          SubsetPlan(selector="el2n" or "grand", scout_epochs=5): scores of a scout of the trial's
                         own model; the trial starts anew, where the paper's goes on. With evidence="model",
                         select_every=0 and warm_start=kappa it goes on: ceil(floor(kappa N) r) epochs on all data.
    GLISTER, GRAD-MATCH  SubsetPlan(selector="glister"), SubsetPlan(selector="gradmatch-per-batch").

References:
    [1] Jain et al., 2023, "Efficient data subset selection to generalize training across models", NeurIPS,
        arXiv:2409.12255, section 5.2, appendices D.2 and E.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from raysubset.errors import OptionsError
from raysubset.selection.protocol import Context, Selector, check_budget
from raysubset.selection.sampling import gumbel_keys, top_m
from raysubset.selection.top import TopScore, finite_order, measured
from raysubset.selection.wrappers import PerClass
from raysubset.types import Selection

TRUE_LOSS = "true-loss"
PER_CLASS = "-per-class"


@dataclass(frozen=True, slots=True)
class BottomLossGumbel:
    """The k smallest of l_i + e_i, e_i ~ Gumbel(0, scale), smallest first.

    The noise is added to a loss that is minimised. Plackett-Luce sampling with weights exp(-l / scale) subtracts
    it (k smallest of l_i - e_i), and a Gumbel variable is skewed: its right tail is the long one. Added, few rows
    are thrown far back and none is pulled far forward, so this is not that sampler, and at equal scale it stays
    closer to the k smallest.

    Attributes:
        scale: Of the noise, in units of the loss, > 0; the paper's is 0.025.
        signal: "loss", or any other of the context.

    Cost: O(n + k log k) time, 24 n bytes. Ties go to the lowest row; they have probability 0.
    """

    scale: float = 0.025
    signal: str = "loss"

    def __post_init__(self) -> None:
        faults = []
        if not 0 < self.scale < math.inf:
            faults.append(f"scale={self.scale!r}, need a finite number > 0")
        if not self.signal:
            faults.append("signal='', need the name of a signal")
        if faults:
            raise OptionsError.of("BottomLossGumbel", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The signal is neither measured nor computable here, or NaN (names its row).
        """
        check_budget(k, context.pool_size)
        losses = finite_order(measured(context, self.signal))
        noise = self.scale * gumbel_keys(np.zeros(len(losses)), rng.random(len(losses)))
        return Selection.uniform(top_m(-(losses + noise), k), context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return 5.0 * n * c + 8.0 * n + k * math.log2(k + 1.0)


_PLAIN: Mapping[str, Callable[[], Selector]] = {
    "bottom-loss": partial(TopScore, "loss", lowest=True),
    "bottom-loss-gumbel": BottomLossGumbel,
    "top-loss": partial(TopScore, "loss"),
    "uncertainty": partial(TopScore, "entropy"),
    "bottom-true-loss": partial(TopScore, TRUE_LOSS, lowest=True),
}


def _by_class(make: Callable[[], Selector]) -> Selector:
    return PerClass(make())


CONTROLS: Mapping[str, Callable[[], Selector]] = {
    **_PLAIN,
    **{f"{name}{PER_CLASS}": partial(_by_class, make) for name, make in _PLAIN.items()},
}
"""Name -> how to build the control; see the module for what each is."""
