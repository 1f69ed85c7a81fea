"""What a correlation study trains: said, else the preset's, else by its purpose."""

from __future__ import annotations

import pytest

from raysubset.cli.corr_options import PRESETS, CalibrationChoice, StudySizes, study_options
from raysubset.errors import OptionsError

STUDY = {"configs": 30, "ratios": "0.02,0.05", "pairing": "none,subset,both", "repeats": 3, "full_seeds": 2}
CALIBRATION = {"configs": 12, "ratios": "0.02,0.05,0.1,0.2,0.5", "pairing": "both", "repeats": 2, "full_seeds": 1}


@pytest.mark.parametrize(("calibrate", "sizes"), [(False, STUDY), (True, CALIBRATION)])
def test_sizes_are_those_of_the_purpose(calibrate: bool, sizes: dict[str, object]) -> None:
    left = {"limit": None, "model": None, "epochs": None, "grid": None, "plan": []}
    assert StudySizes().filled(None, calibrate) == {**left, **sizes}


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_a_preset_yields_to_what_is_said(preset: str) -> None:
    assert PRESETS[preset].items() <= StudySizes().filled(preset, calibrate=False).items()
    said = StudySizes(model="lenet", configs=7, epochs=3, ratios="0.5", plan=["random"], full_seeds=1)
    filled = said.filled(preset, calibrate=False)
    assert (filled["model"], filled["configs"], filled["epochs"], filled["ratios"]) == ("lenet", 7, 3, "0.5")
    assert (filled["plan"], filled["full_seeds"]) == (["random"], 1)
    assert filled["repeats"] == PRESETS[preset]["repeats"]


@pytest.mark.parametrize(
    ("given", "option"), [({"tau": 0.5}, "--tau"), ({"hold": "lower"}, "--hold"), ({"score": "loss"}, "--score")]
)
def test_what_a_calibration_must_reach_is_only_for_one(given: dict[str, object], option: str) -> None:
    with pytest.raises(OptionsError, match=f"{option}: only with --calibrate"):
        CalibrationChoice(**given)  # type: ignore[arg-type]


def test_a_calibration_is_as_asked() -> None:
    assert CalibrationChoice().calibration("none") is None
    usual = CalibrationChoice(calibrate=True).calibration(None)
    assert usual is not None
    assert (usual.threshold, usual.score, usual.pairing, usual.by) == (0.6, "loss", "both", "lower")
    asked = CalibrationChoice(calibrate=True, tau=0.0, hold="estimate", score="accuracy").calibration("none")
    assert asked is not None
    assert (asked.threshold, asked.score, asked.pairing, asked.by) == (0.0, "accuracy", "none", "estimate")


SIZES = {"configs": 5, "ratios": "0.1, 0.3", "pairing": "none,both", "repeats": 4, "full_seeds": 3}


def test_a_study_is_of_these_sizes() -> None:
    study = study_options({**SIZES, "plan": ["adaptive-random", "asp-loss"]}, None)
    assert (study.configs, study.ratios, study.pairings) == (5, (0.1, 0.3), ("none", "both"))
    assert (study.repeats, study.full_seeds, study.ways) == (4, 3, ("adaptive-random", "asp-loss"))
    assert study.calibration is None
    with pytest.raises(OptionsError, match="--ratios 'a tenth', need numbers"):
        study_options({**SIZES, "ratios": "a tenth", "plan": []}, None)


def test_a_study_knows_what_it_calibrates() -> None:
    calibration = CalibrationChoice(calibrate=True).calibration("none")
    assert study_options({**SIZES, "pairing": "none", "plan": []}, calibration).calibration == calibration
