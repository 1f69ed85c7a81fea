"""Our search spaces as Ray Tune's domains, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical, Float, LogUniform
from ray.tune.search.sample import Integer as TuneInteger

from raysubset.errors import SearchSpaceError
from raysubset.hpo.space import Choice, Domain, Integer, Space, Uniform


def tune_space(space: Space) -> dict[str, Any]:
    """Return the space for a Tune searcher. Tune's integer ranges exclude their upper end, ours include it."""
    domains: dict[str, Any] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            domains[name] = tune.choice(list(domain.options))
        elif isinstance(domain, Integer):
            domains[name] = tune.randint(domain.low, domain.high + 1)
        else:
            domains[name] = (tune.loguniform if domain.log else tune.uniform)(domain.low, domain.high)
    return domains


def own_space(space: Mapping[str, Any]) -> dict[str, Domain]:
    """Return a space in our domains; Tune's uniform, loguniform, randint and choice are translated.

    Raises:
        SearchSpaceError: A value is neither ours nor one of those.
    """
    return {name: _own_domain(name, domain) for name, domain in space.items()}


def _own_domain(name: str, domain: Any) -> Domain:
    if isinstance(domain, Uniform | Integer | Choice):
        return domain
    sampler = getattr(domain, "sampler", None)
    plain = sampler is None or type(sampler).__name__.strip("_") in ("Uniform", "LogUniform")
    if plain and isinstance(domain, Categorical):
        return Choice(tuple(domain.categories))
    if plain and isinstance(domain, Float):
        return Uniform(domain.lower, domain.upper, log=isinstance(sampler, LogUniform))
    if plain and isinstance(domain, TuneInteger) and not isinstance(sampler, LogUniform):
        return Integer(domain.lower, domain.upper - 1)
    raise SearchSpaceError(
        f"Search space: {name}={domain!r}; need raysubset.uniform, loguniform, integer or choice, or Ray Tune's "
        "uniform, loguniform, randint or choice."
    )
