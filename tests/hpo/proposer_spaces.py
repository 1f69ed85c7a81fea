"""Search spaces for the tests of proposers: hypothesis strategies and one of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from raysubset.hpo.space import Choice, Domain, Integer, Space, choice, integer, loguniform, uniform, when

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

finite = st.floats(-1e9, 1e9)
ranges = st.tuples(finite, finite).filter(lambda r: r[0] < r[1])
log_ranges = st.tuples(st.floats(1e-12, 1e9), st.floats(1e-12, 1e9)).filter(lambda r: r[0] < r[1])
integers = st.tuples(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40)).filter(lambda r: r[0] < r[1])
log_integers = st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)).filter(lambda r: r[0] < r[1])
values = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), finite, st.text(max_size=8))
choices = st.lists(values, min_size=1, max_size=4, unique_by=lambda v: (type(v), v)).map(choice)
domains = st.one_of(
    ranges.map(lambda r: uniform(*r)),
    log_ranges.map(lambda r: loguniform(*r)),
    integers.map(lambda r: integer(*r)),
    log_integers.map(lambda r: integer(*r, log=True)),
    choices,
)


@st.composite
def spaces(draw: st.DrawFn, least: int = 1, most: int = 5) -> dict[str, Domain]:
    """Spaces that vary, some parameters conditional on choices made before them or after."""
    names = draw(st.lists(st.text("abc_", min_size=1, max_size=6), min_size=least, max_size=most, unique=True))
    space: dict[str, Domain] = {}
    for name in names:
        domain = draw(domains)
        parents = [parent for parent, other in space.items() if isinstance(other, Choice)]
        for parent in draw(st.lists(st.sampled_from(parents), max_size=2, unique=True)) if parents else []:
            decides = space[parent]
            assert isinstance(decides, Choice)
            allowed = draw(st.lists(st.sampled_from(decides.options), min_size=1, unique=True))
            if not _contradicts(space, [*domain.given, (parent, tuple(allowed))]):
                domain = when(domain, **{parent: allowed})
        space[name] = domain
    if all(isinstance(domain, Choice) and len(domain.options) == 1 for domain in space.values()):
        space["varies"] = uniform(0, 1)
    order = draw(st.permutations(list(space)))
    return {name: space[name] for name in order}


def _contradicts(space: dict[str, Domain], given: list[Any]) -> bool:
    """True if the conditions, with those of the parents, ask one choice for values that exclude each other."""
    possible: dict[str, list[Any]] = {}
    while given:
        parent, allowed = given.pop()
        kept = [v for v in allowed if any(v == o and type(v) is type(o) for o in possible.get(parent, allowed))]
        if not kept:
            return True
        possible[parent] = kept
        given.extend(space[parent].given)
    return False


EVERYTHING: dict[str, Domain] = {
    "momentum": when(uniform(0.5, 0.99), optimizer=("sgd", "rmsprop")),
    "lr": loguniform(1e-4, 1e-1),
    "optimizer": choice(["sgd", "adam", "rmsprop"]),
    "batch_size": integer(16, 256, log=True),
    "layers": integer(1, 4),
    "nesterov": when(choice([False, True]), optimizer="sgd"),
    "damping": when(uniform(0, 1), nesterov=True),
}
"""Every kind of domain, conditions on conditions, children before their parents."""


def configuration_space(space: Space) -> ConfigurationSpace:
    """The same space in ConfigSpace, an oracle; a choice has the indices of its options for values."""
    from ConfigSpace import (  # takes more than a second
        AndConjunction,
        CategoricalHyperparameter,
        ConfigurationSpace,
        InCondition,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    made = ConfigurationSpace()
    for name, domain in space.items():
        if isinstance(domain, Choice):
            made.add(CategoricalHyperparameter(name, range(len(domain.options))))
        else:
            kind = UniformIntegerHyperparameter if isinstance(domain, Integer) else UniformFloatHyperparameter
            made.add(kind(name, domain.low, domain.high, log=domain.log))
    for name, domain in space.items():
        conditions = [
            InCondition(made[name], made[parent], [space[parent].options.index(value) for value in values])  # type: ignore[union-attr]
            for parent, values in domain.given
        ]
        if conditions:
            made.add(AndConjunction(*conditions) if len(conditions) > 1 else conditions[0])
    return made
