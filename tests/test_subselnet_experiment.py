"""SubSelNetExperiment: TOML there and back, and every fault named."""

from __future__ import annotations

from typing import Any

import pytest

from raysubset.errors import OptionsError, UnknownNameError
from raysubset.nas.space import NetworkSize
from raysubset.subselnet.approximator_fit import ApproximatorOptions
from raysubset.subselnet.encoder_fit import EncoderOptions
from raysubset.subselnet.inductive import InductiveOptions
from raysubset.subselnet.space import ENCODED_SPACES, space_key
from raysubset.subselnet_experiment import SubSelNetExperiment
from raysubset.training.recipe import Recipe
from raysubset.tuning.nas_presets import nas_preset
from raysubset.tuning.subselnet_presets import PRESETS, subselnet_preset

ASKED = SubSelNetExperiment(
    name="there",
    supervisors=5,
    checks=2,
    unseen=0,
    space="darts",
    channels=6,
    cells=4,
    recipe=Recipe(epochs=3, optimizer="adam", lr=1e-3, milestones=(0.2, 0.9)),
    embedding="pca",
    scout_model="lenet",
    scout_epochs=2,
    encoder_cells=20,
    encoder=EncoderOptions(form="gin", steps=7, kl_weight=0.25),
    approximator=ApproximatorOptions(kind="residual", readout="mean", steps=11),
    inductive=InductiveOptions(entropy=1.5, ratios=(0.2, 0.7), hidden=(8, 4)),
    validation=0.25,
    seed=9,
)


def test_toml_there_and_back() -> None:
    assert SubSelNetExperiment.from_toml(ASKED.to_toml()) == ASKED
    plain = SubSelNetExperiment(name="plain")
    assert SubSelNetExperiment.from_toml(plain.to_toml()) == plain
    assert SubSelNetExperiment.from_toml('name = "plain"') == plain


@pytest.mark.parametrize("space", ENCODED_SPACES)
@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_experiments(preset: str, colour: bool, space: str) -> None:
    asked = SubSelNetExperiment(name="x", **subselnet_preset(preset, colour=colour, space=space).options)
    assert asked.space == space
    assert SubSelNetExperiment.from_toml(asked.to_toml()) == asked


def test_nothing_is_lost_on_the_way() -> None:
    """Every field of `ASKED` differs from its default, and its line from that of the default's text."""
    plain = SubSelNetExperiment(name="plain")
    for name in ASKED.__dataclass_fields__:
        assert getattr(ASKED, name) != getattr(plain, name), name
        assert f"{name} = " in ASKED.to_toml() or f"[{name}]" in ASKED.to_toml()


def test_the_size_of_every_network() -> None:
    assert ASKED.size == NetworkSize(channels=6, cells=4)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", ".hidden", "a/"])
def test_a_name_is_that_of_a_folder(name: str) -> None:
    with pytest.raises(OptionsError, match="need a plain folder name"):
        SubSelNetExperiment(name=name)


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        ({"supervisors": 2}, "supervisors=2, need at least 3"),
        ({"checks": 0}, "checks=0, need at least 1"),
        ({"unseen": -1}, "unseen=-1, need at least 0"),
        ({"channels": 4}, "channels=4, need at least 5"),
        ({"cells": 0}, "cells=0, need at least 1"),
        ({"scout_epochs": 0}, "scout_epochs=0, need at least 1"),
        ({"encoder_cells": 19}, "encoder_cells=19, need at least 20"),
        ({"encoder_cells": 100_001}, "encoder_cells=100001, need at most 100000"),
        ({"embedding": "vit"}, "embedding='vit', need one of auto, resnet50, scout, pca"),
        ({"validation": 0.0}, "validation=0.0, need a share"),
        ({"validation": 1.0}, "validation=1.0, need a share"),
        ({"validation": float("nan")}, "validation=nan, need a share"),
        ({"supervisors": 0, "validation": 2.0, "cells": 0}, "supervisors=0.*validation=2.0.*cells=0"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], phrase: str) -> None:
    with pytest.raises(OptionsError, match=f"SubSelNetExperiment: .*{phrase}"):
        SubSelNetExperiment(**{"name": "x", **wrong})


def test_the_least_of_everything_is_allowed() -> None:
    least = {"supervisors": 3, "checks": 1, "unseen": 0, "channels": 5, "cells": 1, "encoder_cells": 20}
    assert SubSelNetExperiment(name="x", scout_epochs=1, **least).channels == 5
    assert SubSelNetExperiment(name="x", space="darts", channels=1, cells=3).size == NetworkSize(1, 3)


def test_spaces_say_how_small_a_network_may_be() -> None:
    with pytest.raises(OptionsError, match="channels=0, need at least 1; cells=2, need at least 3"):
        SubSelNetExperiment(name="x", space="darts", channels=0, cells=2)
    with pytest.raises(UnknownNameError, match="nb201.*Known: darts, nb101"):
        SubSelNetExperiment(name="x", space="nb201")


def test_fits_made_before_there_was_another_space_keep_their_artefacts() -> None:
    assert space_key("nb101") == {}
    assert space_key("darts") == {"space": "darts"}


def test_the_small_preset_has_the_rows_of_a_small_darts_search() -> None:
    fit, search = subselnet_preset("small", colour=True, space="darts"), nas_preset("small", "darts", "darts")
    assert (fit.limit, fit.shrink) == (search.limit, search.shrink)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("name = ", "not valid TOML"),
        ('name = "x"\nsupervisor = 3', "unknown key 'supervisor'.*known: approximator, cells"),
        ('name = "x"\n[inductive]\nratio = 0.1', "inductive: unknown key 'ratio'.*known: .*ratios"),
        ('name = "x"\n[approximator]\nkind = "best"', "kind='best'"),
        ('name = "x"\n[recipe]\nepochs = 0', "epochs=0"),
        ('name = "x"\nsupervisors = "20"', "SubSelNetExperiment: "),
        ("seed = 3", "SubSelNetExperiment: .*'name'"),
    ],
)
def test_toml_that_says_something_else_is_refused(text: str, phrase: str) -> None:
    with pytest.raises(OptionsError, match=phrase):
        SubSelNetExperiment.from_toml(text)
