"""The cases of ``raysubset bench kernels``: which rows, how many of them, who competes, what counts as good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.bench.contenders import (
    EPS,
    IMPORTANCE,
    Contender,
    Task,
    apricot_lazy,
    apricot_lazy_compiled,
    gumbel_topk,
    multinomial,
    our_draw,
    ours,
    submodlib_lazy,
    textbook_pursuit,
)
from raysubset.bench.model_outputs import LEARNING_RATE
from raysubset.bench.quality import Picked, coverage_error, loss_after, match_residual
from raysubset.selection.craig import Craig
from raysubset.selection.glister import Glister
from raysubset.selection.gradmatch import GradMatch
from raysubset.selection.protocol import Context
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass

OMP_CLASS = 3  # cats: the class whose rows are matched
GLISTER_PICKS = 1000  # k of the whole case; a capped one keeps the step
CHUNK = 1 << 22  # importances made at a time


@dataclass(frozen=True, slots=True)
class Case:
    """A task and its contenders, all of which meet it on one thread.

    Attributes:
        name: On the command line.
        title: For tables.
        task: (everything known, most rows) -> task.
        rows: Rows of the whole case.
        warm_up: Rows of the task that every contender solves first, unmetered: loading and compiling are not the
            point, and the code path must be that of the whole case.
        contenders: Ours first.
        measure: What ``quality`` is.
        quality: (task, what was picked) -> that number.
        better: Which quality is.
        reference: Contender whose quality the others' is divided by, or None.
        calls: Calls in a process, the median of which counts; more than one where a call takes milliseconds.
    """

    name: str
    title: str
    task: Callable[[Context, int], Task]
    rows: int
    warm_up: int
    contenders: tuple[Contender, ...]
    measure: str
    quality: Callable[[Task, Picked], float]
    better: Literal["lower", "higher", "equal"] = "lower"
    reference: str | None = None
    calls: int = 1


def a_tenth(known: Context, n: int) -> Task:
    """A tenth of the first n rows of a fixed shuffle."""
    if n < known.pool_size:
        known = known.restrict(np.random.default_rng(0).permutation(known.pool_size)[:n])
    return Task(known, max(1, round(known.pool_size / 10)))


def a_fiftieth(known: Context, n: int) -> Task:
    """A fiftieth of the first n rows of a fixed shuffle."""
    few = a_tenth(known, n)
    return few._replace(k=max(1, round(few.context.pool_size / 50)))


def a_tenth_of_a_class(known: Context, n: int) -> Task:
    """A tenth of the first n rows of one class."""
    return a_tenth(known.restrict(np.flatnonzero(Task(known, 1).labels == OMP_CLASS)), n)


def a_tenth_by_loss(known: Context, n: int) -> Task:
    """A tenth of n rows whose importances are drawn, with replacement, from the losses of the real rows."""
    real = Task(known, 1)
    own = 1 + real.gradients.residuals[np.arange(len(real.labels)), real.labels]  # p_y, as the residual is p - y
    losses = -np.log(np.maximum(own, np.finfo(np.float32).tiny))
    values, rng = np.empty(n, dtype=np.float32), np.random.default_rng(0)
    for start in range(0, n, CHUNK):
        part = values[start : start + CHUNK]
        part[:] = losses[rng.integers(0, len(losses), len(part))]
    return Task(Context(n, signals={IMPORTANCE: values}), max(1, round(n / 10)))


def error_by_class(task: Task, picked: Picked) -> float:
    """Coverage error within classes."""
    return coverage_error(task.gradients, picked.rows, task.labels)


def error(task: Task, picked: Picked) -> float:
    """Coverage error over all rows."""
    return coverage_error(task.gradients, picked.rows)


def residual(task: Task, picked: Picked) -> float:
    """Relative match residual."""
    return match_residual(task.gradients, picked)


def stepped_loss(task: Task, picked: Picked) -> float:
    """Validation loss after a step of the learning rate for each pick."""
    return _loss_after(task, picked.rows, LEARNING_RATE)


def fall_of_loss(task: Task, picked: Picked) -> float:
    """How much lower the validation loss is after one step of the learning rate on the picks' mean loss.

    The loss itself moves in its third digit: its ratios would say nothing.
    """
    return _loss_after(task, picked.rows[:0], 0.0) - _loss_after(task, picked.rows, LEARNING_RATE / GLISTER_PICKS)


def _loss_after(task: Task, rows: NDArray[np.int64], eta: float) -> float:
    assert task.context.target is not None  # the file has validation rows
    return loss_after(task.gradients, rows, task.context.target, eta)


def mean_importance(task: Task, picked: Picked) -> float:
    """Mean importance of the rows drawn: equal laws have equal means."""
    return float(task.context.signal(IMPORTANCE)[picked.rows].mean(dtype=np.float64))


def _glister(eta: float) -> tuple[Contender, ...]:
    """GLISTER with the step that its quality is judged by, whatever its default, and rows at random."""
    return (
        ours(Glister(eta=eta)),
        ours(Glister(greedy="exact", eta=eta), "raysubset, exact greedy"),
        ours(UniformRandom(), "random rows"),
    )


PURSUIT = GradMatch(lam=0.0, eps=EPS)

_CASES = (
    Case(
        "craig-class",
        "CRAIG (facility location of gradients), 50,000 rows, 10 % of each class",
        a_tenth,
        50_000,
        15_000,
        (
            ours(PerClass(Craig())),
            ours(PerClass(Craig()), "raysubset, torch alone", numba=False),
            submodlib_lazy(classes=True),
            apricot_lazy(classes=True),
            apricot_lazy_compiled(classes=True),
        ),
        "coverage error",
        error_by_class,
        reference="submodlib lazy",
    ),
    Case(
        "craig-20k",
        "the same, 20,000 rows, 10 % of all",
        a_tenth,
        20_000,
        3_000,
        (
            ours(Craig()),
            submodlib_lazy(classes=False),
            apricot_lazy(classes=False),
            apricot_lazy_compiled(classes=False),
        ),
        "coverage error",
        error,
        reference="submodlib lazy",
    ),
    Case(
        "craig-50k",
        "the same, 50,000 rows, 10 % of all",
        a_tenth,
        50_000,
        15_000,
        (ours(Craig()), ours(PerClass(Craig()), "raysubset by class")),
        "coverage error",
        error,
        reference="raysubset by class",
    ),
    Case(
        "omp",
        "GRAD-MATCH (non-negative OMP), 10 % of the 5,000 rows of a class",
        a_tenth_of_a_class,
        5_000,
        1_500,
        (ours(PURSUIT), ours(PURSUIT, "raysubset, torch alone", numba=False), textbook_pursuit()),
        "residual",
        residual,
    ),
    Case(
        "glister",
        "GLISTER, 2 % of 50,000 rows, 5,000 validation rows, a step for each pick",
        a_fiftieth,
        50_000,
        5_000,
        _glister(LEARNING_RATE),
        "loss after the steps",
        stepped_loss,
        reference="raysubset, exact greedy",
    ),
    Case(
        "glister-mean",
        "the same, one step on the picks' mean loss",
        a_fiftieth,
        50_000,
        5_000,
        _glister(LEARNING_RATE / GLISTER_PICKS),
        "fall of the loss",
        fall_of_loss,
        better="higher",
        reference="raysubset, exact greedy",
    ),
    Case(
        "draw",
        "weighted draw without replacement, 10 % of 1,280,000 rows",
        a_tenth_by_loss,
        1_280_000,
        1_100_000,
        (
            our_draw(),
            our_draw("raysubset, drawing order", ordered=True),
            our_draw("raysubset, torch alone", numba=False),
            multinomial(),
            gumbel_topk(),
        ),
        "mean importance",
        mean_importance,
        "equal",
        "torch.multinomial",
        calls=15,
    ),
    Case(
        "draw-100m",
        "the same, 10 % of 100,000,000 rows",
        a_tenth_by_loss,
        100_000_000,
        1_100_000,
        (our_draw(), our_draw("raysubset, drawing order", ordered=True), gumbel_topk()),
        "mean importance",
        mean_importance,
        "equal",
        "torch Gumbel, topk",
    ),
)
CASES: Mapping[str, Case] = {case.name: case for case in _CASES}
