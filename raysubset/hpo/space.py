"""Search spaces: what a search may vary, as plain frozen values that go to and from TOML.

    space = {
        "lr": loguniform(1e-3, 1e-1),
        "optimizer": choice(["sgd", "adam"]),
        "momentum": when(uniform(0.5, 0.99), optimizer="sgd"),
    }

A point of a space has one value for every *active* parameter: one without conditions, or one whose conditions all
hold on parameters that are active themselves. Inactive parameters are left out of the point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raysubset.errors import SearchSpaceError

Value = float | int | str | bool
Given = tuple[tuple[str, tuple[Value, ...]], ...]
"""Conditions: each parent must have one of its values; all must hold."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float in [low, high], uniform in its value or (``log``) in its logarithm; active where ``given`` holds."""

    low: float
    high: float
    log: bool = False
    given: Given = ()

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return float(min(max(value, self.low), self.high))  # exp(log(x)) may miss x by one digit
        return float(rng.uniform(self.low, self.high))

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of this domain."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Integer:
    """An int in [low, high], both ends included; active where ``given`` holds.

    All are equally likely, or (``log``) each as likely as [value - 1/2, value + 1/2] is long in the logarithm.
    """

    low: int
    high: int
    log: bool = False
    given: Given = ()

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)
        if self.low != int(self.low) or self.high != int(self.high):
            raise SearchSpaceError(f"An integer range needs whole ends, got [{self.low!r}, {self.high!r}].")

    def sample(self, rng: np.random.Generator) -> int:
        """Draw one value."""
        if self.log:
            value = round(math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))))
            return min(max(value, int(self.low)), int(self.high))
        return int(rng.integers(self.low, self.high, endpoint=True))

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of this domain."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several plain values, each equally likely; active where ``given`` holds."""

    options: tuple[Value, ...]
    given: Given = ()

    def __post_init__(self) -> None:
        if not self.options:
            raise SearchSpaceError("A choice needs at least one option.")
        for place, option in enumerate(self.options):
            if type(option) not in (bool, int, float, str):
                raise SearchSpaceError(f"A choice lists bools, ints, floats and strings, got {option!r}.")
            if isinstance(option, float) and not math.isfinite(option):
                raise SearchSpaceError(f"A choice needs finite numbers, got {option!r}.")
            if any(same(option, other) for other in self.options[:place]):
                raise SearchSpaceError(f"A choice lists {option!r} twice.")

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one value."""
        return self.options[int(rng.integers(len(self.options)))]

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of this domain."""
        return any(same(value, option) for option in self.options)

    def index(self, value: Value) -> int:
        """Return the place of an option.

        Raises:
            SearchSpaceError: It is none.
        """
        for place, option in enumerate(self.options):
            if same(value, option):
                return place
        raise SearchSpaceError(f"{value!r} is none of the options {_listed(self.options)}.")


Domain = Uniform | Integer | Choice
Space = Mapping[str, Domain]


def same(one: object, other: object) -> bool:
    """Tell whether two plain values are the same; True, 1 and 1.0 are three."""
    return type(one) is type(other) and one == other


def uniform(low: float, high: float) -> Uniform:
    """Return a float domain [low, high]."""
    return Uniform(_plain(low), _plain(high))


def loguniform(low: float, high: float) -> Uniform:
    """Return a float domain [low, high], uniform in the logarithm; low > 0."""
    return Uniform(_plain(low), _plain(high), log=True)


def integer(low: int, high: int, log: bool = False) -> Integer:
    """Return an int domain, both ends included; ``log`` (low >= 1): uniform in the logarithm."""
    return Integer(_plain(low), _plain(high), log)


def choice(options: Iterable[Value]) -> Choice:
    """Return a domain of listed values: bools, ints, floats or strings."""
    return Choice(tuple(_plain(option) for option in options))


def when(domain: Domain, /, **given: Value | Sequence[Value]) -> Domain:
    """Return the domain, active only where other parameters have certain values.

    Args:
        domain: Any domain.
        given: For each parameter that decides (a choice of the same space), the value or values that it must have;
            all must hold, and a parameter that is itself inactive has none.

    Raises:
        SearchSpaceError: No condition, a condition without values, or two on one parameter.
    """
    if not given:
        raise SearchSpaceError("when(domain) needs a condition, for example when(domain, optimizer='sgd').")
    conditions: list[tuple[str, tuple[Value, ...]]] = []
    for parent, values in given.items():
        listed = (values,) if isinstance(values, bool | int | float | str | np.generic) else tuple(values)
        if not listed or parent in dict(domain.given):
            fault = "is given twice" if listed else "has no value"
            raise SearchSpaceError(f"when(..., {parent}={values!r}): {parent!r} {fault}.")
        conditions.append((parent, tuple(_plain(value) for value in listed)))
    return replace(domain, given=(*domain.given, *conditions))


def sample_space(space: Space, rng: np.random.Generator) -> dict[str, Value]:
    """Draw one point, in the order of the space's keys.

    Inactive parameters are drawn too and then left out, so a parameter's draw does not depend on the others'.
    """
    return active_part(space, {name: domain.sample(rng) for name, domain in space.items()})


def active_part(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of the active parameters, in the order of the space's keys; ``values`` has all of them."""

    def active(name: str) -> bool:
        return all(
            active(parent) and any(same(values[parent], value) for value in allowed)
            for parent, allowed in space[name].given
        )

    return {name: values[name] for name in space if active(name)}


def in_space(space: Space, point: Mapping[str, object]) -> bool:
    """Tell whether a point has exactly the active parameters, each with a value of its domain."""
    if not all(name in space and space[name].holds(value) for name, value in point.items()):
        return False
    absent = object()  # no value of any domain
    values: Mapping[str, Any] = {name: point.get(name, absent) for name in space}
    return active_part(space, values).keys() == point.keys()


def check_space(space: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse keys nobody would read, values that are no domain, conditions that cannot hold, and a constant space.

    Raises:
        SearchSpaceError: All faults at once, with the known keys.
    """
    names = sorted(known)
    domains = {name: value for name, value in space.items() if isinstance(value, Uniform | Integer | Choice)}
    faults = [f"unknown key {name!r}" for name in space if name not in names]
    faults += [
        f"{name}={value!r} is no domain (uniform, loguniform, integer, choice)"
        for name, value in space.items()
        if name not in domains
    ]
    faults += _condition_faults(space, domains)
    if not space:
        faults.append("it is empty, so there is nothing to search")
    elif all(isinstance(value, Choice) and len(value.options) == 1 for value in space.values()):
        faults.append("nothing varies: every parameter has a single value")
    if faults:
        raise SearchSpaceError(f"Search space: {'; '.join(faults)}. Known keys: {', '.join(names)}.")


def _condition_faults(space: Mapping[str, object], domains: Space) -> Iterator[str]:
    sound = True
    for name, domain in domains.items():
        for parent, values in domain.given:
            decides = space.get(parent)
            fault = ""
            if parent not in space:
                fault = "which is not in the space"
            elif not isinstance(decides, Choice):
                fault = "which is no choice"
            elif strange := [value for value in values if not decides.holds(value)]:
                fault = f"which has no {_listed(strange)}, only {_listed(decides.options)}"
            if fault:
                sound = False
                yield f"{name} depends on {parent!r}, {fault}"
    if cycle := _cycle(domains):
        yield f"{' depends on '.join(cycle)}: a cycle"
    elif sound:
        yield from _never_active(domains)


def _cycle(domains: Space) -> list[str]:
    """Return a path of parents that comes back to its start, [] if there is none."""

    def walk(path: list[str]) -> list[str]:
        for parent, _ in domains[path[-1]].given:
            if parent in path:
                return [*path[path.index(parent) :], parent]
            if parent in domains and (found := walk([*path, parent])):
                return found
        return []

    return next((found for name in domains if (found := walk([name]))), [])


def _never_active(domains: Space) -> Iterator[str]:
    """Name parameters whose own and inherited conditions ask a parent for values that exclude each other."""
    for name in domains:
        pending = [name]
        possible: dict[str, tuple[Value, ...]] = {}
        while pending:
            for parent, values in domains[pending.pop()].given:
                before = possible.get(parent, values)
                possible[parent] = tuple(value for value in values if any(same(value, other) for other in before))
                pending.append(parent)
        for parent in (parent for parent, values in possible.items() if not values):
            yield f"{name} is never active: no value of {parent!r} meets all its conditions"


def space_to_plain(space: Space) -> dict[str, dict[str, Any]]:
    """Return the space in types that TOML knows."""
    plain: dict[str, dict[str, Any]] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            plain[name] = {"choice": list(domain.options)}
        else:
            kind = "integer" if isinstance(domain, Integer) else "uniform"
            plain[name] = {f"log{kind}" if domain.log else kind: [domain.low, domain.high]}
        if domain.given:
            plain[name]["when"] = {parent: list(values) for parent, values in domain.given}
    return plain


def space_from_plain(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Domain]:
    """Read a space written by `space_to_plain`.

    Raises:
        SearchSpaceError: An entry is not one of uniform, loguniform, integer, loginteger, choice, or its condition
            is no table.
    """
    return {name: _read_domain(name, entry) for name, entry in plain.items()}


def _read_domain(name: str, entry: Any) -> Domain:
    parts = dict(entry) if isinstance(entry, Mapping) else {}
    given = parts.pop("when", {})
    kind, arguments = next(iter(parts.items())) if len(parts) == 1 else ("", None)
    numeric = {"uniform": uniform, "loguniform": loguniform, "integer": integer, "loginteger": _loginteger}
    domain: Domain
    if kind == "choice" and isinstance(arguments, list):
        domain = choice(arguments)
    elif kind in numeric and isinstance(arguments, list) and len(arguments) == 2:
        domain = numeric[kind](*arguments)  # type: ignore[operator]
    else:
        raise SearchSpaceError(
            f"Search space: {name} = {entry!r}; need {{choice = [...]}} or one of {', '.join(numeric)} with "
            "[low, high], and at most a condition: when = {parameter = [values]}."
        )
    if not isinstance(given, Mapping):
        raise SearchSpaceError(f"Search space: {name}: when = {given!r}, need {{parameter = [values]}}.")
    return when(domain, **given) if given else domain


def _loginteger(low: int, high: int) -> Integer:
    return integer(low, high, log=True)


def _plain(value: Any) -> Any:
    """Strip numpy from a value, so that points hold nothing but Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(repr, values))


def _check_range(low: float, high: float, log: bool) -> None:
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise SearchSpaceError(f"A range needs two numbers, got [{low!r}, {high!r}].")
    if not (math.isfinite(high - low) and low < high):
        raise SearchSpaceError(f"A range needs finite low < high, got [{low!r}, {high!r}].")
    if log and low <= 0:
        raise SearchSpaceError(f"A logarithmic range needs low > 0, got {low!r}.")
