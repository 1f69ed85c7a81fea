"""Sizes of a fit of SubSelNet: the paper's on GPUs, minutes on two CPU cores.

References:
    [1] Jain et al., 2023, arXiv:2409.12255, section 5 and appendix D.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from raysubset.hpo.space import Domain, choice, loguniform, uniform, when
from raysubset.subselnet.approximator_fit import ApproximatorOptions
from raysubset.subselnet.encoder_fit import EncoderOptions
from raysubset.subselnet.inductive import InductiveOptions
from raysubset.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class SubSelNetPreset:
    """What a fit and its evaluation are made of where nothing is said.

    Attributes:
        options: Fields of `SubSelNetExperiment`.
        subset_epochs: Epochs of a cell's training on a subset.
        shrink: Images are averaged over squares of so many pixels.
        limit: Rows of each split, None for all.
    """

    options: Mapping[str, Any]
    subset_epochs: int
    shrink: int = 1
    limit: int | None = None


PRESETS = ("small", "paper")


def subselnet_preset(name: str, *, colour: bool, space: str = "nb101") -> SubSelNetPreset:
    """Return a preset; only ``colour`` images are flipped and cropped."""
    preset = _small(colour) if name == "small" else _paper(colour)
    return preset if space == "nb101" else _for_genotypes(name, preset)


def optimizer_space() -> dict[str, Domain]:
    """Return the space of the paper's hyper-parameter search (appendix D.4): optimiser, its options, schedule.

    The printed ranges are lost; these are ours. ``step_size`` is a share of training here, an epoch there.
    """
    return {
        "optimizer": choice(["sgd", "adam", "rmsprop"]),
        "lr": loguniform(1e-4, 1e-1),
        "momentum": when(uniform(0.7, 0.99), optimizer=["sgd", "rmsprop"]),
        "weight_decay": loguniform(1e-6, 1e-2),
        "schedule": choice(["step", "cosine"]),
        "step_size": when(uniform(0.1, 0.5), schedule="step"),
        "gamma": when(uniform(0.05, 0.5), schedule="step"),
    }


def _small(colour: bool) -> SubSelNetPreset:
    recipe = Recipe(
        epochs=8,
        optimizer="adam",
        lr=3e-3,
        batch_size=128,
        flip=0.5 if colour else 0.0,
        channels_last=True,  # a CPU trains these small networks a quarter faster so
    )
    options = {
        "recipe": recipe,
        "supervisors": 20,
        "checks": 4,
        "unseen": 12,
        "channels": 8,
        "cells": 1,
        "encoder_cells": 2000,
        "encoder": EncoderOptions(steps=1500),
    }
    return SubSelNetPreset(options, 25, 2 if colour else 1, 4444)


def _for_genotypes(name: str, preset: SubSelNetPreset) -> SubSelNetPreset:
    """Return a preset with networks of genotypes, on the rows of a DARTS search of the same name.

    The paper says nothing of supervisors in that space; their size is the search network's.
    """
    if name == "small":
        recipe = replace(preset.options["recipe"], batch_size=32)  # 900 rows in batches of 128 are 56 steps in all
        sizes = {"unseen": 4, "channels": 4, "cells": 3}
        return replace(preset, options={**preset.options, "space": "darts", "recipe": recipe, **sizes}, limit=1000)
    recipe = replace(preset.options["recipe"], epochs=50)
    return replace(
        preset, options={**preset.options, "space": "darts", "channels": 16, "cells": 8, "recipe": recipe}
    )


def _paper(colour: bool) -> SubSelNetPreset:
    recipe = Recipe(
        epochs=150,
        optimizer="adam",
        lr=1e-3,
        weight_decay=1e-5,
        batch_size=128,
        schedule="constant",
        flip=0.5 if colour else 0.0,
        crop_padding=4 if colour else 0,
    )
    options = {
        "recipe": recipe,
        "supervisors": 250,
        "checks": 36,
        "unseen": 72,
        "channels": 128,
        "cells": 3,
        "embedding": "resnet50",
        "encoder_cells": 100_000,
        "encoder": EncoderOptions(steps=132_000, batch=32, dropout=0.3),
        "approximator": ApproximatorOptions(steps=100_000, check_every=5_000),
        "inductive": InductiveOptions(hidden=(256, 16), steps=5_000),
    }
    return SubSelNetPreset(options, 150)
