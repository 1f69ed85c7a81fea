"""NasExperiment: TOML there and back, and every fault named."""

from __future__ import annotations

import pytest

from raysubset.errors import OptionsError, UnknownNameError
from raysubset.nas.genotype import DARTS_V2
from raysubset.nas_experiment import ALGORITHMS, CandidateOptions, NasExperiment
from raysubset.selection.plan import SubsetPlan
from raysubset.training.bilevel import ArchitectureRecipe
from raysubset.training.recipe import Recipe

READING = {
    "space": "darts",
    "algo": "darts",
    "cells": 3,
    "plan": SubsetPlan(selector="subselnet", options={"fitted": "f"}),
}


@pytest.mark.parametrize(
    ("algo", "space"), [(algo, space) for algo, known in ALGORITHMS.items() for space in known]
)
def test_toml_there_and_back(algo: str, space: str) -> None:
    asked = NasExperiment(
        name="there",
        space=space,
        algo=algo,
        plan=SubsetPlan(ratio=0.3, selector="craig", warm_start=0.2),
        recipe=Recipe(epochs=7, gradient_clip=5.0, cutout=4, milestones=(0.2, 0.9)),
        architecture=ArchitectureRecipe(lr=0.1),
        candidates=CandidateOptions(strategy="random", count=3, score="loss"),
        split="refresh",
        seed=9,
    )
    assert NasExperiment.from_toml(asked.to_toml()) == asked


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"space": "nb301"}, "Unknown space 'nb301'.*nb101, nb201"),
        ({"algo": "enas"}, "Unknown algorithm 'enas'.*spos"),
        ({"space": "nb101", "algo": "spos"}, "no supernet of 'nb101'; there random, evolution search"),
        ({"space": "darts", "algo": "spos"}, "no supernet of 'darts'; there darts, random, evolution search"),
        ({"name": "a/b"}, "plain folder name"),
        ({"channels": 0, "cells": 0, "validation": 1.0}, "validation=1.0.*channels=0.*cells=0"),
        (
            {"space": "darts", "algo": "darts", "cells": 2},
            "cells=2: two of a DARTS network's cells reduce; need 3",
        ),
        ({"algo": "random", "plan": SubsetPlan(selector="el2n")}, "'el2n' looks at evidence gathered beforehand"),
        ({"retrain_epochs": 3}, "for the darts space"),
        (
            {"plan": SubsetPlan(selector="subselnet", options={"fitted": "f"})},
            "single nb101 cells.*not algo='spos'",
        ),
        (
            {"algo": "gdas", "candidates": CandidateOptions(finalists=2)},
            "finalists=2: algo='gdas' ranks no cells by shared weights; spos and rsps do",
        ),
        (
            {"plan": SubsetPlan(selector="el2n"), "candidates": CandidateOptions(finalists=2)},
            "finalists=2: selector='el2n' looks at evidence gathered beforehand.*give finalists=0",
        ),
        (
            {"space": "nb201", "algo": "darts", "plan": SubsetPlan(selector="subselnet", options={"fitted": "f"})},
            "darts, random, evolution in darts.*not algo='darts' in space='nb201'",
        ),
        ({**READING, "split": "refresh"}, "split='refresh' with selector='subselnet': its sides are fixed"),
        (
            {**READING, "plan": SubsetPlan(selector="subselnet", options={"fitted": "f"}, select_every=2)},
            "select_every=2 with selector='subselnet': it chooses whenever the genotype has changed",
        ),
        (
            {**READING, "plan": SubsetPlan(selector="subselnet", options={"fitted": "f", "cell": str(DARTS_V2)})},
            "the selector's cell is the search's own",
        ),
        ({"split": "both"}, "split='both', need one of fixed, refresh"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], phrase: str) -> None:
    with pytest.raises((OptionsError, UnknownNameError), match=phrase):
        NasExperiment(**{"name": "x", **options})  # type: ignore[arg-type]


def test_candidate_options_are_checked_together() -> None:
    with pytest.raises(OptionsError, match="strategy='all'.*count=0.*batch=1"):
        CandidateOptions(strategy="all", count=0, batch=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("name = ", "not valid TOML"),
        ('name = "x"\nspaces = "nb201"', "unknown key 'spaces'.*known: algo"),
        ('name = "x"\n[candidates]\nnumber = 3', "candidates: unknown key 'number'.*count"),
    ],
)
def test_toml_that_says_something_else_is_refused(text: str, phrase: str) -> None:
    with pytest.raises(OptionsError, match=phrase):
        NasExperiment.from_toml(text)
