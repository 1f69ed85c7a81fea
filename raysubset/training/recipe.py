"""Recipe: how a model is trained, as one frozen object that a search may vary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import numpy as np

from raysubset.errors import OptionsError, SearchSpaceError, UnknownNameError

Optimizer = Literal["sgd", "adam", "rmsprop"]
LrSchedule = Literal["constant", "cosine", "step", "multistep"]
ScheduleUnit = Literal["samples", "epochs"]
Precision = Literal["float32", "bfloat16"]

# How a model is executed, not how it learns: equal for all trials of a search.
_FIXED = frozenset({"schedule_unit", "precision", "channels_last"})

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "schedule": get_args(LrSchedule),
    "schedule_unit": get_args(ScheduleUnit),
    "precision": get_args(Precision),
}
_NUMBERS: Mapping[str, tuple[type, str, Callable[[float], bool]]] = {
    "epochs": (int, "an integer >= 1", lambda v: v >= 1),
    "batch_size": (int, "an integer >= 1", lambda v: v >= 1),
    "crop_padding": (int, "an integer >= 0", lambda v: v >= 0),
    "cutout": (int, "an integer >= 0", lambda v: v >= 0),
    "gradient_clip": (float, "a finite number >= 0", lambda v: 0 <= v < math.inf),
    "lr": (float, "a finite number > 0", lambda v: 0 < v < math.inf),
    "lr_min": (float, "a finite number >= 0", lambda v: 0 <= v < math.inf),
    "momentum": (float, "a number in [0, 1)", lambda v: 0 <= v < 1),
    "weight_decay": (float, "a finite number >= 0", lambda v: 0 <= v < math.inf),
    "step_size": (float, "a number in (0, 1], a share of training", lambda v: 0 < v <= 1),
    "gamma": (float, "a number in (0, 1]", lambda v: 0 < v <= 1),
    "label_smoothing": (float, "a number in [0, 1)", lambda v: 0 <= v < 1),
    "flip": (float, "a probability in [0, 1]", lambda v: 0 <= v <= 1),
}
_SWITCHES = ("nesterov", "channels_last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about training but the model and the rows.

    Numbers may come from numpy, from TOML or from a searcher: numpy scalars become Python numbers, whole floats
    become integers where an integer is meant (64.0 -> 64), lists become tuples.

    Attributes:
        epochs: Passes over the epoch's rows, >= 1.
        batch_size: Rows of one step, >= 1.
        optimizer: "sgd", "adam" or "rmsprop".
        lr: Highest learning rate, > 0.
        momentum: In [0, 1); of sgd and rmsprop, and beta_1 of adam.
        nesterov: Nesterov's momentum; sgd only, and it needs momentum > 0.
        weight_decay: L2 penalty, >= 0, on every parameter.
        schedule: "constant"; "cosine" from lr down to lr_min; "step": times gamma at every step_size of training;
            "multistep": times gamma at each milestone.
        schedule_unit: What training progress u in [0, 1] counts. "samples": samples consumed / samples planned,
            followed at every step, so that unequal epochs decay evenly. "epochs": epoch / epochs, a constant
            within an epoch.
        lr_min: Floor of the cosine, absolute, in [0, lr].
        step_size: Share of training between two steps, in (0, 1].
        milestones: Shares of training, ascending, each in (0, 1).
        gamma: Factor of a step, in (0, 1].
        label_smoothing: s in [0, 1): the target is 1 - s on the label plus s / K everywhere.
        flip: Probability of a horizontal flip, in [0, 1].
        crop_padding: Pixels of padding before a random crop back to size; 0 crops nothing.
        cutout: Side in pixels of a square that is blanked at a random place; 0 blanks nothing.
        gradient_clip: Longest gradient (2-norm over all parameters) that a step takes; longer ones are shortened
            to it, 0 shortens none.
        precision: "float32", or "bfloat16": autocast, weights and loss stay float32. For GPUs and for CPUs with
            bfloat16 instructions (with AMX, one core: ResNet-8 trains 1.5 to 1.8 times as many images a second,
            ResNet-20 1.9, LeNet 1.1 times); without them it is several times slower than float32.
        channels_last: Keep images and convolutions in NHWC order; often faster, and rounds differently.

    Raises:
        OptionsError: Options out of range; all of them in one message.
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: LrSchedule = "cosine"
    schedule_unit: ScheduleUnit = "samples"
    lr_min: float = 0.0
    step_size: float = 1 / 3
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    label_smoothing: float = 0.0
    flip: float = 0.0
    crop_padding: int = 0
    cutout: int = 0
    gradient_clip: float = 0.0
    precision: Precision = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = _NUMBERS[field.name][0] if field.name in _NUMBERS else None
            object.__setattr__(self, field.name, _plain(getattr(self, field.name), kind))
        if faults := [*self._field_faults(), *self._joint_faults()]:
            raise OptionsError.of("Recipe", faults)

    def _field_faults(self) -> list[str]:
        """Return what is wrong with single fields."""
        wrong: list[tuple[str, str]] = []
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                wrong.append((name, "one of " + ", ".join(allowed)))
        for name, (kind, rule, holds) in _NUMBERS.items():
            if not _is(kind, value := getattr(self, name)) or not holds(value):
                wrong.append((name, rule))
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                wrong.append((name, "True or False"))
        if not _are_milestones(self.milestones):
            wrong.append(("milestones", "ascending shares of training, each in (0, 1)"))
        return [f"{name}={getattr(self, name)!r}, need {rule}" for name, rule in wrong]

    def _joint_faults(self) -> list[str]:
        """Return what is wrong between fields."""
        faults = []
        if _is(float, self.lr) and _is(float, self.lr_min) and self.lr_min > self.lr:
            faults.append(f"lr_min={self.lr_min!r} is above lr={self.lr!r}")
        if self.nesterov is True and (self.optimizer != "sgd" or self.momentum == 0):
            faults.append(
                f"nesterov=True needs optimizer='sgd' and momentum > 0, got {self.optimizer!r}, {self.momentum!r}"
            )
        return faults

    @classmethod
    def tunable(cls) -> frozenset[str]:
        """Return the fields that a search space may set."""
        return frozenset(field.name for field in fields(cls)) - _FIXED

    def with_config(self, config: Mapping[str, Any]) -> Self:
        """Return this recipe with the values of one point of a search space.

        Raises:
            SearchSpaceError: A key that is not tunable; lists those that are.
            OptionsError: A value out of range.
        """
        if unknown := sorted(set(config) - self.tunable()):
            raise SearchSpaceError(
                f"A recipe has no tunable {', '.join(map(repr, unknown))}. "
                f"Tunable: {', '.join(sorted(self.tunable()))}."
            )
        return self.with_options(config)

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """Return this recipe with other values of any of its fields, as a person names them.

        Raises:
            UnknownNameError: A name is no field; lists those there are.
            OptionsError: A value out of range.
        """
        known = {field.name for field in fields(self)}
        for name in sorted(set(options) - known):
            raise UnknownNameError.of("option of a recipe", name, known)
        return replace(self, **options)


def _plain(value: Any, kind: type | None) -> Any:
    """Strip numpy from a value, and give a whole number or a float the kind its field has."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_plain(item, float) for item in value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and _is(int, value):
        return float(value)
    return value


def _is(kind: type, value: Any) -> bool:
    """True for a number of that kind; a bool is none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _are_milestones(value: Any) -> bool:
    if not isinstance(value, tuple) or not all(_is(float, share) and 0 < share < 1 for share in value):
        return False
    return all(left < right for left, right in pairwise(value))
