"""raysubset select: wrong use is one line and leaves nothing behind; which values an option takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysubset.cli.values import scalar as parse_option
from raysubset.errors import OptionsError
from tests.cli.select_arrays import RESULT, check_refused


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1e-5", -1e-5),
        ("inf", float("inf")),
        ("true", True),
        ("false", False),
        ("hard", "hard"),
        ("last-layer", "last-layer"),
        ("'two words'", "two words"),
        ('"true"', "true"),
    ],
)
def test_option_values_are_scalars_or_words(text: str, value: Any) -> None:
    parsed = parse_option("name", text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text", ["True", "None", "NaN", "two words", "[1]", "{a=1}", "1\nb = 2", "", "1979-05-27"]
)
def test_other_option_values_are_refused(text: str) -> None:
    with pytest.raises(OptionsError, match="--option name="):
        parse_option("name", text)


FOUND = "--features F.npy --labels Y.npy"
BAD_USE = {
    "nothing": ("", ["--selector is missing", "--out is missing", "exactly one of --k and --ratio, got neither"]),
    "both sizes": (f"--selector random {FOUND} --k 3 --ratio 0.1", ["exactly one of --k and --ratio, got both"]),
    "k 0": (f"--selector random {FOUND} --k 0", ["k=0 of n=40", "1 <= k <= n"]),
    "k above n": (f"--selector random {FOUND} --k 41", ["k=41 of n=40"]),
    "k no number": (f"--selector random {FOUND} --k three", ["--k", "integer"]),
    "ratio 0": (f"--selector random {FOUND} --ratio 0", ["need 0 < ratio <= 1"]),
    "ratio above 1": (f"--selector random {FOUND} --ratio 1.01", ["need 0 < ratio <= 1"]),
    "ratio nan": (f"--selector random {FOUND} --ratio nan", ["need 0 < ratio <= 1"]),
    "progress": (f"--selector random {FOUND} --k 3 --progress 1", ["progress=1.0, need a share"]),
    "learning rate": (f"--selector random {FOUND} --k 3 --learning-rate 0", ["learning_rate=0.0"]),
    "no array": ("--selector random --k 3", ["how many rows"]),
    "unknown selector": (f"--selector randon {FOUND} --k 3", ["Did you mean 'random'?", "craig", "milo"]),
    "unknown option": (
        f"--selector asp {FOUND} --k 3 --option metric=loss --option heat=1",
        ["heat", "Its options: metric, temperature, scale, deterministic"],
    ),
    "option without value": (f"--selector random {FOUND} --k 3 --option heat", ["need NAME=VALUE"]),
    "option twice": (f"--selector random {FOUND} --k 3 --option a=1 --option a=2", ["'a' is given twice"]),
    "Python's True": (f"--selector random {FOUND} --k 3 --option a=True", ["a=True", "true, false"]),
    "a list": (f"--selector random {FOUND} --k 3 --option a=[1]", ["need a number"]),
    "signal without name": (f"--selector random {FOUND} --k 3 --signal S.npy", ["need NAME=FILE.npy"]),
    "asp without signal": (f"--selector asp {FOUND} --k 3", ["Signals given: none"]),
    "labels missing": ("--selector random --features F.npy --per-class --k 3", ["needs labels"]),
    "gradients missing": (f"--selector gradmatch {FOUND} --k 3", ["needs last-layer gradients"]),
    "metric not given": (
        f"--selector asp {FOUND} --signal loss=S.npy --option metric=el2n --k 3",
        ["'el2n'", "Measured: loss"],
    ),
    "steering incomplete": (
        f"--selector random {FOUND} --k 3 --val-logits VZ.npy",
        ["--val-labels, --val-features", "give all three"],
    ),
    "missing file": ("--selector random --k 3 --features none.npy", ["features: cannot read none.npy", "No such"]),
    "a folder": ("--selector random --k 3 --features .", ["features: cannot read"]),
    "out is an input": (f"--selector random {FOUND} --k 3 --out F.npy", ["one of the input files"]),
    "out is a folder": (f"--selector random {FOUND} --k 3 --out .", ["it is a folder"]),
    "out below a file": (f"--selector random {FOUND} --k 3 --out F.npy/s.npz", ["Cannot write"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD_USE)
def test_wrong_use_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], folder: Path, case: str
) -> None:
    arguments, said = BAD_USE[case]
    if arguments and "--out" not in arguments:
        arguments += f" --out {RESULT}"
    check_refused(capsys, folder, arguments, said)


@pytest.mark.parametrize("name", ["rho-loss", "selective-backprop"])
def test_selectors_that_choose_while_training_are_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str
) -> None:
    arguments = f"--selector {name} --features F.npy --k 3 --out {RESULT}"
    check_refused(capsys, folder, arguments, [f"Selector '{name}'", "while a model trains"])
