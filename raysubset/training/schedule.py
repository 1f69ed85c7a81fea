"""The learning rate as a pure function of training progress u in [0, 1].

    constant    lr
    cosine      lr_min + (lr - lr_min) (1 + cos(pi u)) / 2                         [1], without restarts
    step        lr gamma^floor(u / step_size)
    multistep   lr gamma^(number of milestones <= u)

References:
    [1] Loshchilov, Hutter, 2017, "SGDR", arXiv:1608.03983, equation 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from raysubset.training.recipe import Recipe

# Progress is a quotient: 3 of 10 epochs is 0.3, yet 0.3 / 0.1 < 3 in floats. Less than a sample in 1e9.
_ROUNDING = 1e-9


def lr_at(recipe: Recipe, progress: float) -> float:
    """Return the learning rate at ``progress``.

    Args:
        recipe: Names the schedule and its numbers.
        progress: u, share of training done, in [0, 1].

    Returns:
        A rate in [0, lr]; at a boundary the lower one. Cost: about 0.3 µs.
    """
    if recipe.schedule == "cosine":
        return recipe.lr_min + (recipe.lr - recipe.lr_min) * (1.0 + math.cos(math.pi * progress)) / 2.0
    if recipe.schedule == "step":
        drops = math.floor(progress / recipe.step_size + _ROUNDING)
    elif recipe.schedule == "multistep":
        drops = sum(progress >= milestone - _ROUNDING for milestone in recipe.milestones)
    else:
        drops = 0
    return recipe.lr * math.pow(recipe.gamma, drops)


def epoch_progress(recipe: Recipe, *, epoch: int, consumed: int, planned: int) -> Callable[[int], float]:
    """Return the function that maps samples done in this epoch to progress in [0, 1].

    Args:
        recipe: Names the unit.
        epoch: Epochs finished before this one, in [0, epochs).
        consumed: Samples trained on before this epoch.
        planned: Samples of the whole training, > 0. Progress stays at 1 once they are used up.
    """
    if recipe.schedule_unit == "epochs":
        share = epoch / recipe.epochs
        return lambda _: share
    return lambda done: min((consumed + done) / planned, 1.0)
