"""The contract of proposers: pure functions of space, seed, history and draw, over every kind of space."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proposer_spaces import EVERYTHING, spaces

from raysubset.hpo.bayes import BayesProposer
from raysubset.hpo.bohb import BohbProposer
from raysubset.hpo.grid import GridProposer
from raysubset.hpo.history import History, Point
from raysubset.hpo.proposer import Proposer, RandomProposer
from raysubset.hpo.space import Domain, Space, choice, in_space, integer, loguniform, sample_space, uniform, when
from raysubset.hpo.surrogate import HyperTuneProposer
from raysubset.hpo.tpe import TpeProposer
from raysubset.seeds import generator

ORDINARY = [0.5, 0.4, 0.9, 0.1, 0.7, 0.3]
LOSSES = {
    "ordinary": ORDINARY,
    "failures among them": [0.5, math.nan, 0.2, math.inf, 0.4, -math.inf],
    "all equal": [1.0],
    "all failed": [math.inf],
    "huge": [1e300, -1e300, 1e308],
    "tiny": [1e-300, 2e-300],
}
ONE_PARAMETER: list[Space] = [
    {"x": uniform(0, 1)},
    {"x": loguniform(1e-9, 1e3)},
    {"x": integer(3, 4)},
    {"x": choice([True, False])},
]
# For those that cost much on many parameters; `test_points_lie_in_any_space` tries them on all kinds of space.
FEW: Space = {"lr": loguniform(1e-4, 1), "n": when(integer(1, 9), kind="a"), "kind": choice(["a", "b"])}
COUNTS = (20, 17, 3)  # results at each rung: enough at the second, for every proposer and up to seven parameters


def history_of(space: Space, losses: list[float] = ORDINARY, counts: tuple[int, ...] = COUNTS) -> History:
    """Results at three rungs, one trial running and one that failed at once."""
    history, values = History(len(counts)), cycle(losses)
    for i in range(max(counts) + 2):
        history.points[str(i)] = sample_space(space, generator(11, i))
    for rung, count in enumerate(counts):
        for i in range(count):
            history.observe(str(i), rung, next(values))
    history.failed.add(str(max(counts)))
    return history


def assert_is_a_point(space: Space, point: Point | None) -> None:
    assert point is not None
    assert in_space(space, point)
    for name, value in point.items():
        assert type(value) in (bool, int, float, str)
        if not hasattr(space[name], "options"):
            assert type(value) is (int if type(space[name]).__name__ == "Integer" else float)
    assert json.loads(json.dumps(point)) == point


class ProposerContract:
    """What every proposer keeps to."""

    make: ClassVar[Callable[[Space, int], Proposer]]
    space: ClassVar[Space] = EVERYTHING

    def proposer(self, space: Space, seed: int = 0) -> Proposer:
        return type(self).make(space, seed)

    @pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
    def test_points_lie_in_the_space_whatever_the_losses(self, losses: list[float]) -> None:
        history = history_of(self.space, losses)
        for draw in range(2):
            assert_is_a_point(self.space, self.proposer(self.space).propose(history, draw, 0))

    @pytest.mark.parametrize("space", ONE_PARAMETER, ids=["float", "log", "int", "choice"])
    def test_one_parameter_is_enough(self, space: Space) -> None:
        assert_is_a_point(space, self.proposer(space).propose(history_of(space), 1, 0))

    def test_it_starts_from_nothing(self) -> None:
        assert_is_a_point(self.space, self.proposer(self.space).propose(History(1), 0, 0))

    def test_the_same_history_and_draw_give_the_same_point(self) -> None:
        history = history_of(self.space)
        once = [self.proposer(self.space).propose(history, draw, 0) for draw in (3, 4)]
        again = [self.proposer(self.space).propose(copy.deepcopy(history), draw, 0) for draw in (4, 3)]
        assert once == again[::-1]
        assert list(once[0] or ()) == list(again[1] or ())

    def test_no_global_randomness_is_used_or_moved(self) -> None:
        history = history_of(self.space)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        before = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
        once = self.proposer(self.space).propose(history, 5, 0)
        after = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
        assert before[0] == after[0]
        assert str(before[1]) == str(after[1])
        np.random.seed(2)  # noqa: NPY002
        assert self.proposer(self.space).propose(history, 5, 0) == once

    def test_the_history_is_left_as_it_was_and_nothing_is_printed(self, capfd: pytest.CaptureFixture[str]) -> None:
        history = history_of(self.space)
        before = copy.deepcopy(history)
        self.proposer(self.space).propose(history, 2, 0)
        assert history == before
        assert [list(losses) for losses in history.losses] == [list(losses) for losses in before.losses]
        out, err = capfd.readouterr()
        assert out + err == ""


class SeededContract(ProposerContract):
    """What proposers that draw keep to."""

    def test_draws_and_seeds_differ(self) -> None:
        """But for a draw or two: a model may see the same optimum."""
        history = history_of(self.space)
        pairs = [(seed, draw) for seed in (0, 1) for draw in range(3)]
        proposals = [self.proposer(self.space, seed).propose(history, draw, 0) for seed, draw in pairs]
        assert proposals[:3] != proposals[3:]
        assert all(len({json.dumps(point) for point in half}) > 1 for half in (proposals[:3], proposals[3:]))


class LearningContract(SeededContract):
    """What proposers that learn from one rung keep to."""

    def proposals(self, history: History) -> list[Point | None]:
        return [self.proposer(self.space).propose(history, draw, 0) for draw in range(2)]

    def test_fidelities_are_not_mixed(self) -> None:
        """The second of three rungs has enough results: the lowest and the highest say nothing."""
        history = history_of(self.space)
        before = self.proposals(history)
        for rung in (0, 2):
            losses = history.losses[rung]
            history.losses[rung] = dict(zip(losses, reversed(list(losses.values())), strict=True))
        assert self.proposals(history) == before
        losses = history.losses[1]
        history.losses[1] = dict(zip(losses, reversed(list(losses.values())), strict=True))
        assert self.proposals(history) != before


class TestRandom(SeededContract):
    make = RandomProposer


class TestGrid(ProposerContract):
    make = staticmethod(lambda space, seed: GridProposer(space))


@pytest.mark.slow
class TestTpe(LearningContract):
    make = staticmethod(lambda space, seed: TpeProposer(space, seed, 10))


@pytest.mark.slow
class TestBayes(LearningContract):
    make = staticmethod(lambda space, seed: BayesProposer(space, seed, 10))
    space = FEW


@pytest.mark.slow
class TestBohb(LearningContract):
    make = BohbProposer


@pytest.mark.slow
class TestHyperTuneForest(SeededContract):
    make = HyperTuneProposer
    space = FEW


@pytest.mark.slow
class TestHyperTuneProcess(SeededContract):
    make = staticmethod(lambda space, seed: HyperTuneProposer(space, seed, "gp"))
    space = FEW


@pytest.mark.slow
@pytest.mark.parametrize(
    "contract", [TestGrid, TestTpe, TestBayes, TestBohb, TestHyperTuneForest, TestHyperTuneProcess]
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(space=spaces(), seed=st.integers(0, 2**40), losses=st.sampled_from(list(LOSSES)))
def test_points_lie_in_any_space(
    contract: type[ProposerContract], space: dict[str, Domain], seed: int, losses: str
) -> None:
    history = history_of(space, LOSSES[losses], (14, 13, 2))
    for draw in range(2):
        point = contract.make(space, seed).propose(history, draw, 0)
        if point is not None or draw == 0:  # a grid may have one point only
            assert_is_a_point(space, point)


PROPOSERS = [RandomProposer, TpeProposer, BayesProposer, BohbProposer, HyperTuneProposer]


def proposals_as_text() -> str:
    made: list[Any] = [
        kind(EVERYTHING, 3, *((10,) if kind in (TpeProposer, BayesProposer) else ())) for kind in PROPOSERS
    ]
    return json.dumps([[p.propose(history_of(EVERYTHING), d, 0) for d in range(3)] for p in made])


@pytest.mark.slow
def test_a_fresh_process_proposes_the_same() -> None:
    program = "from test_proposer_contract import proposals_as_text; print(proposals_as_text())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == proposals_as_text()


def test_importing_proposers_loads_none_of_the_heavy_libraries() -> None:
    program = (
        "import sys, raysubset.hpo.tpe, raysubset.hpo.bayes, raysubset.hpo.bohb, raysubset.hpo.surrogate\n"
        "print([m for m in ('sklearn', 'hyperopt', 'bayes_opt', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
