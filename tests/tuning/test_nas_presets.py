"""Every preset makes an experiment of every algorithm in every space it knows."""

from __future__ import annotations

import pytest

from raysubset.nas_experiment import ALGORITHMS, NasExperiment
from raysubset.tuning.nas_presets import PRESETS, for_digits, nas_preset


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("algo", "space"), [(algo, one) for algo, known in ALGORITHMS.items() for one in known])
def test_a_preset_is_an_experiment(preset: str, algo: str, space: str) -> None:
    found = nas_preset(preset, space, algo)
    asked = NasExperiment(name="x", space=space, algo=algo, **found.options)
    assert asked.recipe.flip == 0.5
    digits = NasExperiment(name="x", space=space, algo=algo, **for_digits(found.options))
    assert (digits.recipe.flip, digits.recipe.crop_padding) == (0, 0)
    assert (asked.retrain_epochs > 0) == (space == "darts")


def test_the_paper_preset_has_the_papers_sizes() -> None:
    spos = NasExperiment(name="x", **nas_preset("paper", "nb201", "spos").options)
    assert (spos.channels, spos.cells, spos.recipe.epochs, spos.candidates.strategy) == (16, 5, 250, "exhaustive")
    darts = NasExperiment(name="x", space="darts", algo="darts", **nas_preset("paper", "darts", "darts").options)
    assert (darts.channels, darts.cells, darts.recipe.epochs, darts.retrain_epochs) == (16, 8, 50, 600)
    assert (darts.retrain_channels, darts.retrain_cells) == (36, 20)
