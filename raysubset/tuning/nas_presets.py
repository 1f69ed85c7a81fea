"""Sizes of an architecture search: the papers' on a GPU, minutes on two CPU cores.

References:
    [1] ASP (Table 1, 2) after Guo et al. (SPOS) on NAS-Bench-201 and Liu et al. (DARTS): see `paper`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raysubset.nas_experiment import CandidateOptions
from raysubset.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class NasPreset:
    """What a search is made of where nothing is said.

    Attributes:
        options: Fields of `NasExperiment`.
        shrink: Images are averaged over squares of so many pixels.
        limit: Rows of each split, None for all.
    """

    options: Mapping[str, Any]
    shrink: int = 1
    limit: int | None = None


PRESETS = ("small", "paper")


def nas_preset(name: str, space: str, algo: str) -> NasPreset:
    """Return a preset."""
    if algo in ("random", "evolution"):
        preset = _PRESETS[name, "training"]()
        if space != "darts":
            return preset
        whole = _PRESETS[name, "darts"]().options
        sizes = {key: whole[key] for key in ("channels", "cells", *_RETRAINED) if key in whole}
        return replace(preset, options={**preset.options, **sizes})
    if space == "darts":
        return _PRESETS[name, "darts"]()
    preset = _PRESETS[name, "supernet"]()
    if algo in ("spos", "rsps"):
        return preset
    candidates = replace(preset.options["candidates"], finalists=0)  # alpha decides
    return replace(preset, options={**preset.options, "candidates": candidates})


_RETRAINED = ("retrain_epochs", "retrain_channels", "retrain_cells")


def _small_supernet() -> NasPreset:
    # Fewer steps rank cells worse than chance: with 4,000 (8 epochs of 25,000 rows, 50 of 5,000) tau to the
    # table was -0.2 to 0, after 7,800 of 11,700 it was 0.27 by accuracy and 0.39 by loss.
    recipe = _recipe(epochs=30, batch_size=64, lr=0.05, weight_decay=2.5e-4, crop_padding=2, nesterov=True)
    recipe = replace(recipe, channels_last=True)  # a CPU trains paths of this size a quarter faster so
    # Kendall's tau of 24 cells trained by themselves on a tenth to the table, judged by 1,000 validation rows:
    # 0.04 to 0.25 after 5 epochs, 0.36 to 0.39 after 10, 0.45 after 20 (one draw of cells).
    candidates = CandidateOptions(count=100, population=20, rows=1000, finalists=8, finalist_epochs=10)
    return NasPreset({"recipe": recipe, "channels": 8, "cells": 1, "candidates": candidates}, 2)


def _paper_supernet() -> NasPreset:
    recipe = _recipe(epochs=250, batch_size=64, lr=0.05, weight_decay=2.5e-4, crop_padding=4, nesterov=True)
    candidates = CandidateOptions(strategy="exhaustive")
    return NasPreset({"recipe": recipe, "channels": 16, "cells": 5, "candidates": candidates})


def _small_darts() -> NasPreset:
    recipe = _recipe(epochs=30, batch_size=32, lr=0.025, lr_min=1e-3, weight_decay=3e-4, crop_padding=2)
    options = {"recipe": recipe, "channels": 4, "cells": 3, "retrain_epochs": 5}
    return NasPreset({**options, "retrain_channels": 8, "retrain_cells": 3}, 2, 1000)


def _paper_darts() -> NasPreset:
    recipe = _recipe(epochs=50, batch_size=64, lr=0.025, lr_min=1e-3, weight_decay=3e-4, crop_padding=4)
    return NasPreset({"recipe": recipe, "channels": 16, "cells": 8, "retrain_epochs": 600})


def _small_training() -> NasPreset:
    recipe = _recipe(epochs=5, batch_size=64, lr=0.05, weight_decay=5e-4, crop_padding=2, nesterov=True)
    candidates = CandidateOptions(count=20, population=10)
    return NasPreset({"recipe": recipe, "channels": 8, "cells": 1, "candidates": candidates}, 2, 2000)


def _paper_training() -> NasPreset:
    recipe = _recipe(epochs=12, batch_size=256, lr=0.1, weight_decay=5e-4, crop_padding=4, nesterov=True)
    candidates = CandidateOptions(count=1000, population=100)
    return NasPreset({"recipe": recipe, "channels": 16, "cells": 5, "candidates": candidates})


def for_digits(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preset's options without flips and crops, which suit colour images."""
    return {**options, "recipe": replace(options["recipe"], flip=0.0, crop_padding=0)}


def _recipe(*, crop_padding: int, nesterov: bool = False, **options: Any) -> Recipe:
    return Recipe(
        **options,
        momentum=0.9,
        nesterov=nesterov,
        gradient_clip=5.0,
        flip=0.5,
        crop_padding=crop_padding,
    )


_PRESETS: Mapping[tuple[str, str], Callable[[], NasPreset]] = {
    ("small", "supernet"): _small_supernet,
    ("small", "darts"): _small_darts,
    ("small", "training"): _small_training,
    ("paper", "supernet"): _paper_supernet,
    ("paper", "darts"): _paper_darts,
    ("paper", "training"): _paper_training,
}
