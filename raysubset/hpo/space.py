"""Search spaces: what a search may vary, as plain frozen values that go to and from TOML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysubset.errors import SearchSpaceError

Value = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float in [low, high], uniform in its value or (``log``) in its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(value, self.low), self.high)  # exp(log(x)) may miss x by one digit
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Integer:
    """An int in [low, high], both ends included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, log=False)

    def sample(self, rng: np.random.Generator) -> int:
        """Draw one value."""
        return int(rng.integers(self.low, self.high, endpoint=True))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values, each equally likely."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise SearchSpaceError("A choice needs at least one option.")

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        return self.options[int(rng.integers(len(self.options)))]


Domain = Uniform | Integer | Choice
Space = Mapping[str, Domain]


def uniform(low: float, high: float) -> Uniform:
    """Return a float domain [low, high]."""
    return Uniform(low, high)


def loguniform(low: float, high: float) -> Uniform:
    """Return a float domain [low, high], uniform in the logarithm; low > 0."""
    return Uniform(low, high, log=True)


def integer(low: int, high: int) -> Integer:
    """Return an int domain, both ends included."""
    return Integer(low, high)


def choice(options: Iterable[Value]) -> Choice:
    """Return a domain of listed values."""
    return Choice(tuple(options))


def sample_space(space: Space, rng: np.random.Generator) -> dict[str, Value]:
    """Draw one configuration, in the order of the space's keys."""
    return {name: domain.sample(rng) for name, domain in space.items()}


def check_space(space: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse keys nobody would read, and values that are no domain.

    Raises:
        SearchSpaceError: All faults at once, with the known keys.
    """
    names = sorted(known)
    faults = [f"unknown key {name!r}" for name in space if name not in names]
    faults += [
        f"{name}={value!r} is no domain (uniform, loguniform, integer, choice)"
        for name, value in space.items()
        if not isinstance(value, Uniform | Integer | Choice)
    ]
    if not space:
        faults.append("it is empty, so there is nothing to search")
    if faults:
        raise SearchSpaceError(f"Search space: {'; '.join(faults)}. Known keys: {', '.join(names)}.")


def space_to_plain(space: Space) -> dict[str, dict[str, Any]]:
    """Return the space in types that TOML knows."""
    plain: dict[str, dict[str, Any]] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            plain[name] = {"choice": list(domain.options)}
        elif isinstance(domain, Integer):
            plain[name] = {"integer": [domain.low, domain.high]}
        else:
            plain[name] = {"loguniform" if domain.log else "uniform": [domain.low, domain.high]}
    return plain


def space_from_plain(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Domain]:
    """Read a space written by `space_to_plain`.

    Raises:
        SearchSpaceError: An entry is not one of uniform, loguniform, integer, choice.
    """
    makers: dict[str, Callable[..., Domain]] = {"uniform": uniform, "loguniform": loguniform, "integer": integer}
    space: dict[str, Domain] = {}
    for name, entry in plain.items():
        kind, arguments = next(iter(entry.items())) if isinstance(entry, Mapping) and len(entry) == 1 else ("", [])
        if kind == "choice" and isinstance(arguments, list):
            space[name] = choice(arguments)
        elif kind in makers and isinstance(arguments, list) and len(arguments) == 2:
            space[name] = makers[kind](*arguments)
        else:
            raise SearchSpaceError(
                f"Search space: {name} = {entry!r}; need {{choice = [...]}} or one of "
                f"{', '.join(makers)} with [low, high]."
            )
    return space


def _check_range(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SearchSpaceError(f"A range needs finite low < high, got [{low!r}, {high!r}].")
    if log and low <= 0:
        raise SearchSpaceError(f"A logarithmic range needs low > 0, got {low!r}.")
