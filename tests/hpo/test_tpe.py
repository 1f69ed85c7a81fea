"""TPE: what it sees, and that it finds more than chance does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hyperopt import JOB_STATE_DONE, STATUS_OK, Trials, hp, tpe
from hyperopt.base import Domain as Bandit
from scipy import stats
from tolerances import KS_P_VALUE

from raysubset.hpo.history import History
from raysubset.hpo.proposer import Proposer, RandomProposer
from raysubset.hpo.space import Space, Value, choice, integer, loguniform, sample_space, uniform, when
from raysubset.hpo.tpe import TpeProposer
from raysubset.seeds import generator, seed64

UNIT: Space = {"x": uniform(0, 1), "kind": choice(["a", "b", "c"]), "y": when(uniform(0, 1), kind="a")}


def history_of(space: Space, count: int) -> History:
    history = History(1)
    for i in range(count):
        point = sample_space(space, generator(8, i))
        history.points[str(i)] = point
        history.observe(
            str(i), 0, abs(float(point["x"]) - 0.3) + (point["kind"] != "a") + float(point.get("y", 1))
        )
    return history


def test_random_until_one_rung_has_enough() -> None:
    proposer, chance = TpeProposer(UNIT, 4, startup=10), RandomProposer(UNIT, 4)
    history = history_of(UNIT, 9)
    assert proposer.propose(history, 9, 0) == chance.propose(history, 9, 0)
    history = history_of(UNIT, 10)
    assert proposer.propose(history, 9, 0) != chance.propose(history, 9, 0)


def suggestions(space: dict[str, Any], history: History, draws: int) -> list[dict[str, Any]]:
    """What hyperopt itself suggests for x ("0"), kind ("1") and y ("2")."""
    bandit, trials = Bandit(lambda _: 0, space), Trials()
    for tid, (name, point) in enumerate(history.points.items()):
        code = {"0": point["x"], "1": "abc".index(str(point["kind"])), "2": point.get("y")}
        known = {label: [value] if value is not None else [] for label, value in code.items()}
        places = {label: [tid] if values else [] for label, values in known.items()}
        misc = {"tid": tid, "cmd": bandit.cmd, "idxs": places, "vals": known}
        result = {"status": STATUS_OK, "loss": history.losses[0][name]}
        (document,) = trials.new_trial_docs([tid], [None], [result], [misc])
        trials.insert_trial_doc({**document, "state": JOB_STATE_DONE})
    trials.refresh()
    found = []
    for draw in range(draws):
        seed = seed64(5, draw, "tpe") % 2**32
        (document,) = tpe.suggest([30], bandit, trials, seed, n_startup_jobs=0, verbose=False)
        found.append({label: values[0] for label, values in document["misc"]["vals"].items() if values})
    return found


def test_it_is_hyperopt() -> None:
    """The same draws as from a flat space that a user of hyperopt would write, y left out on other branches."""
    history = history_of(UNIT, 30)
    space = {"x": hp.uniform("0", 0, 1), "k": hp.randint("1", 0, 3), "y": hp.uniform("2", 0, 1)}
    for draw, theirs in enumerate(suggestions(space, history, 12)):
        expected = {"x": theirs["0"], "kind": "abc"[theirs["1"]], "y": theirs["2"]}
        if theirs["1"] != 0:
            del expected["y"]
        assert TpeProposer(UNIT, 5, startup=10).propose(history, draw, 0) == expected


@pytest.mark.slow
def test_conditions_are_the_branches_of_its_tree() -> None:
    """The same distributions as from a tree in which y exists on the branch of "a" only."""
    history = history_of(UNIT, 30)
    space = {"x": hp.uniform("0", 0, 1), "k": hp.choice("1", [{"y": hp.uniform("2", 0, 1)}, "b", "c"])}
    tree = suggestions(space, history, 300)
    ours = [TpeProposer(UNIT, 6, startup=10).propose(history, draw, 0) for draw in range(300)]
    kinds = [
        [sum(p["1"] == k for p in tree) for k in range(3)],
        [sum(p["kind"] == k for p in ours) for k in "abc"],
    ]
    assert abs(kinds[0][0] - kinds[1][0]) < 5 * math.sqrt(2 * 300 / 4)
    for label, name in (("0", "x"), ("2", "y")):
        pair = [p[label] for p in tree if label in p], [p[name] for p in ours if name in p]
        assert stats.ks_2samp(*pair).pvalue > KS_P_VALUE


def test_running_trials_count_as_bad() -> None:
    space: Space = {"x": uniform(0, 1)}
    history = History(1)
    for i, x in enumerate(np.linspace(0.05, 0.95, 12)):
        history.points[str(i)] = {"x": float(x)}
        history.observe(str(i), 0, abs(float(x) - 0.5))
    free = [float(TpeProposer(space, 1, 10).propose(history, draw, 0)["x"]) for draw in range(40)]
    for i in range(8):
        history.points[f"running {i}"] = {"x": 0.5 + i / 1000}
    busy = [float(TpeProposer(space, 1, 10).propose(history, draw, 0)["x"]) for draw in range(40)]
    assert sum(abs(x - 0.5) < 0.03 for x in busy) < sum(abs(x - 0.5) < 0.03 for x in free)


@pytest.mark.slow
def test_it_finds_better_points_than_chance() -> None:
    """Median best of 40 over 20 seeds, on a function of four parameters; three quarters of chance's or less."""
    space: Space = {
        "lr": loguniform(1e-5, 1),
        "kind": choice(["a", "b", "c"]),
        "depth": when(integer(1, 12), kind=["a", "b"]),
        "width": integer(8, 512, log=True),
    }

    def loss(point: dict[str, Value]) -> float:
        far = (math.log10(float(point["lr"])) + 2) ** 2 + (math.log2(float(point["width"])) - 6) ** 2 / 4
        return far + {"a": 0.0, "b": 0.5, "c": 1.5}[str(point["kind"])] + abs(float(point.get("depth", 4)) - 4) / 4

    def best(proposer: Proposer) -> float:
        history = History(1)
        for draw in range(40):
            point = proposer.propose(history, draw, 0)
            assert point is not None
            history.points[str(draw)] = point
            history.observe(str(draw), 0, loss(dict(point)))
        return min(history.losses[0].values())

    ours = [best(TpeProposer(space, seed, startup=10)) for seed in range(20)]
    chance = [best(RandomProposer(space, seed)) for seed in range(20)]
    assert np.median(ours) < 0.75 * np.median(chance)
