"""Recipe: what it accepts, what it turns into, what it says."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysubset.errors import OptionsError, SearchSpaceError, UnknownNameError
from raysubset.training.recipe import Recipe


def test_defaults_are_the_documented_ones() -> None:
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.lr) == (10, 128, "sgd", 0.1)
    assert (recipe.momentum, recipe.weight_decay, recipe.schedule) == (0.9, 5e-4, "cosine")


OUT_OF_RANGE = {
    "epochs": (0, 2.5, True, None),
    "batch_size": (0, "64", 64.5),
    "crop_padding": (-1, 0.5),
    "optimizer": ("adamw", None),
    "schedule": ("linear", 3),
    "schedule_unit": ("steps",),
    "precision": ("float16",),
    "lr": (0.0, -1.0, float("nan"), float("inf"), "0.1", True),
    "lr_min": (-1e-9, 0.2, float("nan")),
    "momentum": (1.0, -0.1, None),
    "weight_decay": (-1e-9, float("inf")),
    "step_size": (0.0, 1.1),
    "gamma": (0.0, 1.5),
    "label_smoothing": (1.0, -0.1),
    "flip": (1.01, -0.1),
    "cutout": (-1, 1.5, "4"),
    "gradient_clip": (-0.1, math.inf, math.nan),
    "nesterov": ("yes", 1),
    "channels_last": (1, None),
    "milestones": ((0.75, 0.5), (0.5, 0.5), (0.0,), (1.0,), 0.5, ("a",), None),
}


@pytest.mark.parametrize(
    ("field", "value"), [(f, value) for f, values in OUT_OF_RANGE.items() for value in values]
)
def test_refuses_what_is_out_of_range(field: str, value: object) -> None:
    with pytest.raises(OptionsError, match=rf"^Recipe: {field}={re.escape(repr(value))}"):
        Recipe(**{field: value})


ENDS = {
    "epochs": 1,
    "batch_size": 1,
    "crop_padding": 0,
    "cutout": 0,
    "gradient_clip": 0,
    "lr_min": 0.1,
    "momentum": 0,
    "weight_decay": 0,
    "step_size": 1,
    "gamma": 1,
    "label_smoothing": 0,
    "flip": 1,
    "milestones": (),
}


def test_every_field_is_checked() -> None:
    assert set(OUT_OF_RANGE) == {field.name for field in dataclasses.fields(Recipe)}


@pytest.mark.parametrize(("field", "value"), ENDS.items())
def test_accepts_the_ends_of_a_range(field: str, value: object) -> None:
    assert getattr(Recipe(**{field: value}), field) == value


def test_reports_all_faults_together() -> None:
    with pytest.raises(OptionsError) as caught:
        Recipe(epochs=0, lr=-1.0, optimizer="lamb", milestones=(2.0,))
    assert all(
        name in str(caught.value) for name in ("epochs=0", "lr=-1.0", "optimizer='lamb'", "milestones=(2.0,)")
    )


@pytest.mark.parametrize("others", [{"optimizer": "adam"}, {"optimizer": "rmsprop"}, {"momentum": 0.0}])
def test_nesterov_needs_momentum_of_sgd(others: dict[str, object]) -> None:
    assert Recipe(nesterov=True).nesterov
    with pytest.raises(OptionsError, match="nesterov=True needs optimizer='sgd' and momentum > 0"):
        Recipe(nesterov=True, **others)


def test_numbers_of_a_searcher_become_plain_ones() -> None:
    recipe = Recipe().with_config(
        {
            "batch_size": 64.0,
            "epochs": np.int64(3),
            "lr": np.float32(0.5),
            "momentum": 0,
            "nesterov": np.bool_(False),
            "optimizer": np.str_("adam"),
            "milestones": [np.float64(0.25), 0.5],
        }
    )
    kinds = {f.name: type(getattr(recipe, f.name)) for f in dataclasses.fields(recipe)}
    assert (recipe.batch_size, recipe.epochs, recipe.lr, recipe.momentum) == (64, 3, 0.5, 0.0)
    assert [kinds[name] for name in ("batch_size", "epochs", "lr", "momentum")] == [int, int, float, float]
    assert (kinds["nesterov"], kinds["optimizer"]) == (bool, str)
    assert recipe.milestones == (0.25, 0.5)
    assert all(type(share) is float for share in recipe.milestones)


def test_unknown_key_lists_the_tunable_ones() -> None:
    with pytest.raises(SearchSpaceError, match="no tunable 'learning_rate', 'width'") as caught:
        Recipe().with_config({"width": 3, "learning_rate": 0.1, "lr": 0.1})
    assert all(name in str(caught.value) for name in Recipe.tunable())


def test_execution_is_not_tunable() -> None:
    assert {"lr", "epochs", "batch_size", "optimizer", "momentum", "gamma"} < Recipe.tunable()
    assert not Recipe.tunable() & {"precision", "channels_last", "schedule_unit"}
    with pytest.raises(SearchSpaceError, match="'precision'"):
        Recipe().with_config({"precision": "bfloat16"})


def test_options_reach_every_field() -> None:
    recipe = Recipe(lr=0.3).with_options({"precision": "bfloat16", "channels_last": True, "epochs": 4})
    assert (recipe.precision, recipe.channels_last, recipe.epochs, recipe.lr) == ("bfloat16", True, 4, 0.3)
    with pytest.raises(UnknownNameError, match="option of a recipe 'learn_rate'.*batch_size"):
        recipe.with_options({"learn_rate": 0.1})
    with pytest.raises(OptionsError, match="precision"):
        recipe.with_options({"precision": "float16"})


@given(lr=st.floats(1e-6, 10), momentum=st.floats(0, 0.999), batch_size=st.integers(1, 4096))
def test_config_changes_its_keys_alone(lr: float, momentum: float, batch_size: int) -> None:
    base = Recipe(weight_decay=1e-3, label_smoothing=0.1)
    changed = base.with_config({"lr": lr, "momentum": momentum, "batch_size": float(batch_size)})
    assert changed == dataclasses.replace(base, lr=lr, momentum=momentum, batch_size=batch_size)
    assert base == Recipe(weight_decay=1e-3, label_smoothing=0.1)
