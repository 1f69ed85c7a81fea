"""Grid search: every combination once, in a fixed order."""

from __future__ import annotations

from itertools import count, product, takewhile

import pytest
from hypothesis import given, settings
from proposer_spaces import EVERYTHING, spaces
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError
from raysubset.hpo.grid import GridProposer
from raysubset.hpo.history import History, Point
from raysubset.hpo.space import Choice, Domain, Space, choice, in_space, integer, loguniform, uniform, when


def everything(grid: GridProposer) -> list[Point]:
    proposals = (grid.propose(History(1), draw, 0) for draw in count())
    return [point for point in takewhile(lambda point: point is not None, proposals) if point is not None]


def test_a_grid_by_hand() -> None:
    space: Space = {
        "lr": loguniform(1e-4, 1e-2),
        "optimizer": choice(["sgd", "adam"]),
        "momentum": when(uniform(0.5, 0.9), optimizer="sgd"),
    }
    points = everything(GridProposer(space))
    assert [point["lr"] for point in points] == pytest.approx([1e-4] * 4 + [1e-3] * 4 + [1e-2] * 4, rel=FLOAT64)
    assert [(p["optimizer"], p.get("momentum")) for p in points[:4]] == [
        ("sgd", 0.5),
        ("sgd", pytest.approx(0.7, rel=FLOAT64)),
        ("sgd", 0.9),
        ("adam", None),
    ]
    assert GridProposer(space).propose(History(1), 12, 0) is None


def test_numbers_have_equal_steps_and_keep_their_ends() -> None:
    def ticks(domain: Domain, steps: int) -> list[object]:
        return [point["x"] for point in everything(GridProposer({"x": domain}, steps))]

    assert ticks(uniform(0, 1), 5) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(integer(1, 3), 5) == [1, 2, 3]
    assert ticks(integer(1, 256, log=True), 5) == [1, 4, 16, 64, 256]
    assert ticks(integer(0, 10), 2) == [0, 10]
    assert ticks(choice([3, "a", True]), 2) == [3, "a", True]


@settings(PROPERTY, max_examples=30)
@given(spaces(most=4))
def test_every_combination_once_and_in_the_space(space: dict[str, Domain]) -> None:
    grid = GridProposer(space, 2)
    points = list(grid.points())
    assert points == list(grid.points())
    assert all(in_space(space, point) for point in points)
    kinds = {type(value) for point in points for value in point.values()}
    assert kinds <= {bool, int, float, str}
    keys = [tuple((name, type(value), value) for name, value in point.items()) for point in points]
    assert len(set(keys)) == len(keys)
    ticks = {n: d.options if isinstance(d, Choice) else (d.low, d.high) for n, d in space.items()}
    expected = set()
    for values in product(*ticks.values()):  # brute force: keep what is active, drop repetitions
        point = dict(zip(ticks, values, strict=True))
        expected.add(frozenset((n, repr(point[n])) for n in space if active(space, n, point)))
    assert len(points) == len(expected)


def active(space: Space, name: str, values: Point) -> bool:
    return all(
        active(space, parent, values) and any(repr(values[parent]) == repr(v) for v in allowed)
        for parent, allowed in space[name].given
    )


def test_plain_draws_agree_with_the_sequence() -> None:
    grid = GridProposer(EVERYTHING, 2)
    assert [grid.propose(History(1), draw, 0) for draw in (0, 7, 30)] == [
        list(grid.points())[d] for d in (0, 7, 30)
    ]


def test_one_step_is_refused() -> None:
    with pytest.raises(OptionsError, match="steps=1, need at least 2"):
        GridProposer(EVERYTHING, 1)
