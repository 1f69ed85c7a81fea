"""raysubset select: arrays in, positions and weights out; wrong input is one line and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raysubset.cli import main
from raysubset.cli.values import scalar as parse_option
from raysubset.errors import OptionsError
from raysubset.seeds import generator
from raysubset.selection.catalog import known_selectors
from raysubset.selection.entries import ENTRIES
from raysubset.selection.kernels import backend
from raysubset.selection.protocol import Context
from raysubset.selection.uniform import UniformRandom

N, CLASSES, WIDTH = 40, 3, 4
RESULT = "result.npz"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every array that a selector may ask for; commands run in it."""
    rng = generator(0, "cli select")
    arrays: dict[str, NDArray[Any]] = {
        "F": rng.normal(size=(N, WIDTH)).astype(np.float32),
        "Z": rng.normal(size=(N, CLASSES)).astype(np.float32),
        "Y": rng.permutation(np.repeat([0, 1, 2], [20, 13, 7])),
        "S": rng.normal(size=N).astype(np.float32),
        "I": 1000 + 7 * rng.permutation(N),
        "VZ": rng.normal(size=(9, CLASSES)).astype(np.float32),
        "VY": rng.integers(0, CLASSES, 9),
        "VF": rng.normal(size=(9, WIDTH)).astype(np.float32),
    }
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "numba_available", lambda: False)  # nothing here is worth a compilation
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(("select", *arguments.split()))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def chosen(capsys: pytest.CaptureFixture[str], arguments: str) -> dict[str, NDArray[Any]]:
    code, _, err = run(capsys, f"{arguments} --out {RESULT}")
    assert code == 0, err
    with np.load(RESULT) as archive:
        return dict(archive)


def test_the_written_selection(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = run(capsys, "--selector adaptive-random --features F.npy --k 6 --seed 3 --json --out new/s.npz")
    facts = json.loads(out)
    with np.load("new/s.npz") as archive:
        written = dict(archive)
    assert code == 0
    assert facts == {
        "selector": "adaptive-random",
        "pool_size": N,
        "k": 6,
        "selected": 6,
        "scale": 1.0,
        "seed": 3,
        "out": "new/s.npz",
    }
    assert set(written) == {"indices", "weights", "scale"}
    assert written["indices"].dtype == np.int64
    assert written["weights"].dtype == np.float32
    assert written["weights"].tolist() == [1] * 6
    expected = UniformRandom().select(Context(N), 6, generator(3, "select")).indices
    assert written["indices"].tolist() == expected.tolist()
    assert [path.name for path in (folder / "new").iterdir()] == ["s.npz"]


def test_ids_name_the_chosen_rows(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    written = chosen(capsys, "--selector adaptive-random --ids I.npy --k 5")
    assert written["ids"].tolist() == np.load("I.npy")[written["indices"]].tolist()
    np.save("words.npy", np.array([f"image {i}.png" for i in range(N)]))
    written = chosen(capsys, "--selector adaptive-random --ids words.npy --k 5")
    assert written["ids"].tolist() == [f"image {i}.png" for i in written["indices"]]


def test_seeds_differ_and_repeat(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    draws = [
        chosen(capsys, f"--selector adaptive-random --labels Y.npy --k 9 --seed {seed}")["indices"].tolist()
        for seed in (0, 1, 0)
    ]
    assert draws[0] == draws[2] != draws[1]


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "k"), [("0.1", 4), ("1", 40), ("0.29", 12), ("0.06", 2), ("0.001", 1)])
def test_a_ratio_is_rounded_to_the_nearest_row_and_at_least_one(
    capsys: pytest.CaptureFixture[str], folder: Path, ratio: str, k: int
) -> None:
    assert len(chosen(capsys, f"--selector random --labels Y.npy --ratio {ratio}")["indices"]) == k


def test_per_class_keeps_the_class_shares(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    rows = chosen(capsys, "--selector adaptive-random --labels Y.npy --per-class --k 20")["indices"]
    assert np.bincount(np.load("Y.npy")[rows]).tolist() == [10, 7, 3]  # of 10, 6.5 and 3.5


def test_asp_draws_by_the_one_signal_or_the_named_one(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    largest = np.argsort(-np.load("S.npy"), kind="stable")[:5].tolist()
    np.save("negative.npy", -np.load("S.npy"))
    only = chosen(capsys, "--selector asp --signal loss=S.npy --k 5 --option deterministic=true")["indices"]
    assert only.tolist() == largest
    two = "--selector asp --signal loss=S.npy --signal other=negative.npy --k 5"
    named = chosen(capsys, f"{two} --option metric=loss --option temperature=1e-5")["indices"]
    assert named.tolist() == largest
    code, _, err = run(capsys, f"{two} --out {RESULT}")
    assert code == 2
    assert "Signals given: loss, other" in err


def test_integer_and_double_signals_are_signals(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    np.save("counts.npy", np.arange(N)[::-1])
    arguments = "--selector asp --signal forgetting=counts.npy --k 3 --option deterministic=true"
    assert chosen(capsys, arguments)["indices"].tolist() == [0, 1, 2]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_logits_and_labels_make_the_residuals(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    logits, labels = np.load("Z.npy"), np.load("Y.npy")
    np.save("R.npy", (softmax(logits) - np.eye(CLASSES)[labels]).astype(np.float32))
    made = chosen(capsys, "--selector gradmatch --features F.npy --logits Z.npy --labels Y.npy --k 7")
    given = chosen(capsys, "--selector gradmatch --features F.npy --residuals R.npy --k 7")
    bias = chosen(capsys, "--selector gradmatch --logits Z.npy --labels Y.npy --k 7")
    assert made["indices"].tolist() == given["indices"].tolist()
    np.testing.assert_allclose(made["weights"], given["weights"], rtol=1e-4)
    assert float(made["scale"]) == pytest.approx(float(given["scale"]), rel=1e-4)
    assert made["weights"].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert set(bias["indices"].tolist()) != set(made["indices"].tolist())


def test_given_residuals_are_not_made_anew(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    np.save("R.npy", np.load("Z.npy")[::-1])
    alone = chosen(capsys, "--selector gradmatch --features F.npy --residuals R.npy --k 7")
    beside = chosen(
        capsys, "--selector gradmatch --features F.npy --residuals R.npy --logits Z.npy --labels Y.npy --k 7"
    )
    assert alone["indices"].tolist() == beside["indices"].tolist()
    assert alone["weights"].tolist() == beside["weights"].tolist()


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


STEERED = "--val-logits VZ.npy --val-labels VY.npy --val-features VF.npy"


def test_validation_rows_steer(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    arguments = "--selector gradmatch --features F.npy --logits Z.npy --labels Y.npy --k 5"
    steered = chosen(capsys, f"{arguments} {STEERED} --option target=validation")
    assert steered["indices"].tolist() != chosen(capsys, arguments)["indices"].tolist()
    code, _, err = run(capsys, f"{arguments} --option target=validation --out {RESULT}")
    assert code == 2
    assert "validation" in err


def test_float64_and_big_endian_arrays_are_narrowed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    arguments = "--selector gradmatch --logits Z.npy --labels Y.npy --k 7 --features"
    plain = chosen(capsys, f"{arguments} F.npy")
    for dtype in (np.float64, ">f4"):
        np.save("wide.npy", np.load("F.npy").astype(dtype))
        assert chosen(capsys, f"{arguments} wide.npy")["indices"].tolist() == plain["indices"].tolist()


EVERYTHING = f"--features F.npy --logits Z.npy --labels Y.npy {STEERED} --learning-rate 0.05 --progress 0.3"
SIGNALS = " ".join(f"--signal {name}=S.npy" for name in ("loss", "forgetting", "aum"))
OUTSIDE_BATCHES = [name for name, entry in ENTRIES.items() if not entry.habits.in_batch and name != "subselnet"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTSIDE_BATCHES)
def test_every_selector_works_on_arrays(capsys: pytest.CaptureFixture[str], folder: Path, name: str) -> None:
    size = "--ratio 1" if name in ("full", "infobatch") else "--k 9"
    option = "--option metric=loss" if name == "asp" else ""
    written = chosen(capsys, f"--selector {name} {EVERYTHING} {SIGNALS} {size} {option}")
    rows = written["indices"]
    assert len(set(rows.tolist())) == len(rows) == len(written["weights"]) <= N
    assert 0 <= rows.min() <= rows.max() < N


def test_an_old_selection_is_replaced_in_one_step(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    chosen(capsys, "--selector random --labels Y.npy --k 3")
    assert len(chosen(capsys, "--selector random --labels Y.npy --k 4")["indices"]) == 4
    old = (folder / RESULT).read_bytes()
    code, _, _ = run(capsys, f"--selector random --labels Y.npy --k 400 --out {RESULT}")
    assert code == 2
    assert (folder / RESULT).read_bytes() == old


def test_a_failed_write_leaves_the_old_file(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen(capsys, "--selector random --labels Y.npy --k 3")
    old = (folder / RESULT).read_bytes()
    before = {path.name for path in folder.iterdir()}

    def half(file: Any, **arrays: Any) -> None:
        file.write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    code, _, err = run(capsys, f"--selector random --labels Y.npy --k 4 --out {RESULT}")
    assert code == 2
    assert "Cannot write result.npz: No space left on device" in err
    assert (folder / RESULT).read_bytes() == old
    assert {path.name for path in folder.iterdir()} == before


def test_the_list_holds_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--list --json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert tuple(rows) == known_selectors()
    assert rows["craig"]["looks_at"] == "model"
    assert rows["rho-loss"]["chooses"] == "in each batch"
    assert rows["random"]["summary"]
    code, table, _ = run(capsys, "--list")
    assert code == 0
    assert all(name in table for name in known_selectors())


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


def check_refused(capsys: pytest.CaptureFixture[str], folder: Path, arguments: str, said: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code, out, err = run(capsys, arguments)
    assert code == 2, err
    assert out == ""
    for words in said:
        assert words in err
    assert "Traceback" not in err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def changed(name: str, change: Callable[[NDArray[Any]], Any]) -> Callable[[], None]:
    return lambda: np.save("bad.npy", change(np.load(f"{name}.npy")))


def with_value(row: Any, value: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def put(values: NDArray[Any]) -> NDArray[Any]:
        values[row] = value
        return values

    return put


def pickled() -> None:
    np.save("bad.npy", np.array([{"a": 1}], dtype=object))


def text() -> None:
    Path("bad.npy").write_text("1,2,3\n")


def cut_off() -> None:
    Path("bad.npy").write_bytes(Path("F.npy").read_bytes()[:-20])


def archive() -> None:
    with Path("bad.npy").open("wb") as file:
        np.savez(file, x=np.zeros(3), y=np.zeros(3))


HALF = "need float32 or float64 (float16 loses"
BAD_ARRAYS: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "text": (text, "--features bad.npy", ["features: bad.npy is no whole .npy file"]),
    "cut off": (cut_off, "--features bad.npy", ["bad.npy is no whole .npy file"]),
    "empty": (lambda: Path("bad.npy").write_bytes(b""), "--features bad.npy", ["bad.npy is no whole .npy file"]),
    "pickle": (pickled, "--features bad.npy", ["bad.npy is no whole .npy file"]),
    "archive": (archive, "--features bad.npy", ["archive of arrays (x, y)"]),
    "one dimension": (changed("S", lambda s: s), "--features bad.npy", ["features must have shape (n, width)"]),
    "no columns": (changed("F", lambda f: f[:, :0]), "--features bad.npy", ["width >= 1, got (40, 0)"]),
    "no rows": (changed("F", lambda f: f[:0]), "--features bad.npy", ["n=0"]),
    "nan": (
        changed("F", with_value((7, 2), np.nan)),
        "--features bad.npy",
        ["features of row 7 hold nan in column 2"],
    ),
    "inf": (
        changed("Z", with_value((5, 1), np.inf)),
        "--logits bad.npy",
        ["logits of row 5 hold inf in column 1"],
    ),
    "half": (changed("F", lambda f: f.astype(np.float16)), "--features bad.npy", ["features are float16", HALF]),
    "integers": (changed("F", lambda f: f.astype(int)), "--residuals bad.npy", ["residuals are int64"]),
    "too large": (
        changed("F", lambda f: with_value((3, 0), 1e300)(f.astype(np.float64))),
        "--features bad.npy",
        ["row 3 hold 1e+300, too large for float32"],
    ),
    "a row short": (
        changed("F", lambda f: f[:-1]),
        "--features bad.npy --labels Y.npy",
        ["differ in their number of rows: features 39, labels 40"],
    ),
    "a signal row short": (
        changed("S", lambda s: s[:-1]),
        "--signal loss=bad.npy --labels Y.npy",
        ["labels 40, signal 'loss' 39"],
    ),
    "signal nan": (
        changed("S", with_value(4, np.nan)),
        "--signal loss=bad.npy",
        ["signal 'loss' of row 4 is nan"],
    ),
    "signal half": (changed("S", lambda s: s.astype(np.float16)), "--signal loss=bad.npy", ["float16(40,)"]),
    "signal of two dimensions": (changed("F", lambda f: f), "--signal loss=bad.npy", ["float32(40, 4)"]),
    "float labels": (changed("S", lambda s: s), "--labels bad.npy", ["labels must be integers", "float32(40,)"]),
    "one-hot labels": (changed("Y", lambda y: np.eye(3, dtype=int)[y]), "--labels bad.npy", ["int64(40, 3)"]),
    "negative label": (changed("Y", with_value(6, -1)), "--labels bad.npy", ["labels of row 6 hold -1"]),
    "huge label": (
        changed("Y", with_value(6, 10**12)),
        "--labels bad.npy",
        ["labels of row 6 hold 1000000000000"],
    ),
    "label beyond the logits": (
        changed("Y", with_value(6, 3)),
        "--labels bad.npy --logits Z.npy",
        ["label of row 6 is 3, but the logits have 3 columns"],
    ),
    "validation label beyond": (
        changed("VY", with_value(2, 5)),
        "--features F.npy --val-logits VZ.npy --val-features VF.npy --val-labels bad.npy",
        ["Validation row 2 has label 5, need [0, 3)"],
    ),
    "validation rows disagree": (
        changed("VY", lambda y: y[:-1]),
        "--features F.npy --val-logits VZ.npy --val-features VF.npy --val-labels bad.npy",
        ["9 logits, 8 labels, 9 feature rows"],
    ),
    "validation features of another width": (
        changed("VF", lambda f: f[:, :2]),
        "--features F.npy --val-logits VZ.npy --val-labels VY.npy --val-features bad.npy",
        ["features and val-features belong to one model, but have 4 and 2 columns"],
    ),
    "residuals of another width": (
        changed("Z", lambda z: z[:, :2]),
        "--residuals bad.npy --logits Z.npy",
        ["logits and residuals belong to one model, but have 3 and 2 columns"],
    ),
    "duplicate id": (changed("I", with_value(9, 1000)), "--ids bad.npy", ["id 1000 stands at rows", "distinct"]),
    "float ids": (changed("S", lambda s: s), "--ids bad.npy", ["ids must be integers or strings"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_a_wrong_array_is_named_with_its_row(capsys: pytest.CaptureFixture[str], folder: Path, case: str) -> None:
    make, arguments, said = BAD_ARRAYS[case]
    make()
    check_refused(capsys, folder, f"--selector random --k 3 {arguments} --out {RESULT}", said)


@pytest.mark.parametrize("name", ["rho-loss", "selective-backprop"])
def test_selectors_that_choose_while_training_are_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str
) -> None:
    arguments = f"--selector {name} --features F.npy --k 3 --out {RESULT}"
    check_refused(capsys, folder, arguments, [f"Selector '{name}'", "while a model trains"])
