"""Cases of the kernel benchmark: complete, solved by us at small size, with the step they are judged by."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from raysubset.bench.contenders import Contender
from raysubset.bench.kernels import CASES, Case
from raysubset.bench.runs import solve
from raysubset.seeds import generator
from raysubset.selection.glister import Glister
from raysubset.selection.protocol import Context
from tests.bench.made_pool import N

pytestmark = pytest.mark.usefixtures("no_collection")

OURS = [(case, each) for case in CASES.values() for each in case.contenders if each.package is None]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "contender"), OURS, ids=lambda value: value.name)
def test_every_contender_solves_its_case(case: Case, contender: Contender, known: Context) -> None:
    run = solve(replace(case, calls=min(case.calls, 2)), contender, known, 300, 0)
    assert (run.case, run.contender, run.note) == (case.name, contender.name, "")
    assert 0 < run.picked <= run.k <= run.n <= 300
    assert run.picked == run.k or case.name == "omp"  # which ends when the residual is small enough
    assert math.isfinite(run.quality)


@pytest.mark.parametrize(("name", "eta"), [("glister", 0.05), ("glister-mean", 0.05 / 1000)])
def test_glister_does_not_follow_a_default_step(name: str, eta: float, known: Context) -> None:
    task = CASES[name].task(known, N)
    step = next(CASES[name].contenders[1].steps(task, 0))
    expected = Glister(greedy="exact", eta=eta).select(known, task.k, generator(0, "unused"))
    assert step().rows.tolist() == expected.indices.tolist()
    other = Glister(greedy="exact", eta=0.05 if eta < 0.05 else 0.05 / 1000)
    assert step().rows.tolist() != other.select(known, task.k, generator(0, "unused")).indices.tolist()


def test_cases_are_complete() -> None:
    for name, case in CASES.items():
        names = [each.name for each in case.contenders]
        assert name == case.name
        assert len(set(names)) == len(names)
        assert not case.contenders[0].peer
        assert case.reference is None or case.reference in names
        assert case.warm_up <= case.rows
