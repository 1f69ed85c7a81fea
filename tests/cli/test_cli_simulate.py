"""raysubset simulate: tables, JSON, replays of runs and tables; wrong input is one line and exit code 2."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from raysubset.cli import main
from raysubset.cli.simulated_task import Setting, read_task
from raysubset.hpo.catalog import SCHEDULERS
from raysubset.hpo.replay import CELL_SPACE, cell_of
from raysubset.nas.cell201 import OPS
from raysubset.report.records import RECORDS_FILE, RecordWriter
from raysubset.report.run_info import RUN_FILE, RunInfo
from raysubset.types import TrialRecord


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(("simulate", *arguments))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def runs_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    runs: list[dict[str, Any]] = json.loads(out)["runs"]
    return runs


SMALL = ("--trials", "30", "--workers", "3", "--epochs", "27")


# ---------------------------------------------------------------------- the synthetic task


def test_one_search_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Costs by hand: 30 trials of 27 static-cost epochs on all of 100 rows, all trained to their end."""
    arguments = (*SMALL, "--scheduler", "none", "--ratio", "1", "--rows", "100", "--seconds-per-sample", "0.01")
    (one,) = runs_of(capsys, *arguments, "--startup-s", "3")
    assert (one["trials"], one["jobs"], one["promotions"]) == (30, 30, 0)
    assert one["samples"] == 30 * 27 * 100
    assert one["wall_s"] == pytest.approx(10 * (27 + 3))
    assert one["idle_share"] == pytest.approx(0, abs=1e-12)
    last = one["incumbents"][-1]
    assert last["regret"] == one["regret"] > 0
    assert last["rung"] == 3


def test_the_same_seed_gives_the_same_search(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, other = (
        [{**one, "cpu_s": 0} for one in runs_of(capsys, *SMALL, "--seed", seed)] for seed in ("1", "1", "2")
    )
    assert first == second != other


def test_the_seed_is_that_of_noise_and_stragglers_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def watched(*options: Any) -> Setting:
        setting = read_task(*options)
        return replace(setting, make=lambda seed: (seeds.append(seed), setting.make(seed))[1])

    monkeypatch.setattr("raysubset.cli.simulate.read_task", watched)
    arguments = (*SMALL, "--scheduler", "none", "--seed", "5", "--seeds", "2")
    plain = runs_of(capsys, *arguments)
    straggling = runs_of(capsys, *arguments, "--straggling", "1")
    assert seeds == [5, 6, 5, 6]
    assert plain[0]["wall_s"] == plain[1]["wall_s"] < straggling[0]["wall_s"] != straggling[1]["wall_s"]
    assert {one["samples"] for one in plain + straggling} == {plain[0]["samples"]}


def test_a_table_of_medians(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*SMALL, "--scheduler", "asha", "--seeds", "3")
    regrets = [100 * one["regret"] for one in runs_of(capsys, *arguments)]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert f"{median(regrets):.2f}" in out
    assert f"{min(regrets):.2f}-{max(regrets):.2f}" in out
    assert "medians of 3 seeds" in out
    assert "random search, 3 workers, judged after" in out


def test_the_budget_is_the_ratio_of_the_full_searchs(capsys: pytest.CaptureFixture[str]) -> None:
    """20 epochs of 1,000 rows at ratio 0.1 are 2,000 samples; 3 workers may each end an epoch of 200 at most."""
    arguments = (*SMALL, "--rows", "1000", "--ratio", "0.1", "--budget-epochs", "20")
    (one,) = runs_of(capsys, *arguments)
    assert 2000 <= one["samples"] <= 2000 + 3 * 200
    assert "2,000 samples allowed" in run(capsys, *arguments)[1]


def test_few_rungs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "only 1 halvings fit" in run(capsys, "--trials", "3", "--epochs", "3", "--ratio", "1")[1]


def test_compare_runs_every_scheduler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raysubset.hpo.catalog.SCHEDULERS", ("asha", "hyperband", "none"))
    arguments = ("--compare", *SMALL, "--seeds", "2")
    runs = runs_of(capsys, *arguments)
    assert [(one["scheduler"], one["seed"]) for one in runs] == [
        *itertools.product(("asha", "hyperband", "none"), (0, 1))
    ]
    _, out, _ = run(capsys, *arguments)
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("asha", "hyp", "none"))] == [
        "asha",
        "hyperband",
        "none",
    ]


@pytest.mark.slow
def test_all_of_the_catalogue_can_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    runs = runs_of(capsys, "--compare", *SMALL, "--seeds", "1")
    assert [one["scheduler"] for one in runs] == list(SCHEDULERS)


# ---------------------------------------------------------------------- replay of a run


def record(trial: int, epoch: int, samples: int, status: str, loss: float | None) -> TrialRecord:
    accuracy = None if loss is None else 1 - loss / 10
    return TrialRecord(
        "search", f"{trial:04d}", epoch, 3, {"lr": 0.1 * (trial + 1)}, status, samples, 0.0, 0.5, "loss", 0.0,
        2.0, 1.0, 1.0, 0.0, 0, val_loss=loss, val_accuracy=accuracy,
    )  # fmt: skip


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Three trials over epochs of 20, 10 and 10 samples: one whole, one stopped, one failed; 4 s an epoch."""
    with RecordWriter(tmp_path / RECORDS_FILE) as writer:
        for row in (
            record(0, 1, 20, "running", 0.9),
            record(0, 2, 30, "running", None),
            record(1, 1, 20, "stopped", 0.95),
            record(0, 3, 40, "done", 0.5),
            record(2, 1, 20, "running", 0.8),
            record(2, 2, 30, "failed", 0.1),
        ):
            writer.append(row)
    info = RunInfo(
        "old", "digits", "embedded", 40, 5, 5, "lenet", "asp", "loss", 0.5, "dynamic", "paper", "scheduled",
        "tpe", "asha", "loss", 3, 3, 0, "cpu", "raysubset hpo", "2024-05-01T12:00:00+00:00",
        settings={"experiment": "[space.lr]\nuniform = [0.05, 0.5]\n"},
    )  # fmt: skip
    (tmp_path / RUN_FILE).write_text(info.to_json())
    return tmp_path


def test_a_run_is_replayed(capsys: pytest.CaptureFixture[str], run_folder: Path) -> None:
    """Without halving, 40 samples each, the failure noticed at the last rung; 24 s are recorded for 90 samples."""
    arguments = ("--task", f"records:{run_folder}", "--scheduler", "none", "--workers", "1", "--startup-s", "0")
    (one,) = runs_of(capsys, *arguments)
    assert (one["trials"], one["samples"]) == (3, 120)
    assert one["wall_s"] == pytest.approx(120 * 24 / 90)
    last = one["incumbents"][-1]
    assert (last["loss"], last["rung"], one["regret"]) == (0.5, 1, 0.0)
    _, out, _ = run(capsys, *arguments)
    assert "replay of old, 3 configurations" in out
    assert "2 were stopped early" in " ".join(out.split())
    orders = {
        tuple(one["loss"] for one in search["incumbents"])
        for search in runs_of(capsys, *arguments, "--seeds", "8")
    }
    assert len(orders) > 1


def test_a_run_that_was_scored_by_accuracy(capsys: pytest.CaptureFixture[str], run_folder: Path) -> None:
    text = (run_folder / RUN_FILE).read_text().replace('"score": "loss"', '"score": "accuracy"')
    (run_folder / RUN_FILE).write_text(text)
    (one,) = runs_of(capsys, "--task", f"records:{run_folder}", "--scheduler", "none")
    assert one["incumbents"][-1]["loss"] == pytest.approx(0.05)


def test_a_run_without_a_whole_trial(capsys: pytest.CaptureFixture[str], run_folder: Path) -> None:
    lines = (run_folder / RECORDS_FILE).read_text().splitlines()
    (run_folder / RECORDS_FILE).write_text("".join(f"{line}\n" for line in lines if '"done"' not in line))
    code, _, err = run(capsys, "--task", f"records:{run_folder}")
    assert code == 2
    assert "none of its 3 trials was trained to its end" in " ".join(err.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--epochs", "9"), "takes its epochs from the record"),
        (("--rows", "9", "--ratio", "0"), "takes its ratio, rows from the record"),
        (("--search", "tpe"), "--search tpe has no place"),
    ],
)
def test_what_a_record_has_decided(
    capsys: pytest.CaptureFixture[str], run_folder: Path, options: tuple[str, ...], said: str
) -> None:
    code, _, err = run(capsys, "--task", f"records:{run_folder}", *options)
    assert code == 2
    assert said in " ".join(err.split())


# ---------------------------------------------------------------------- replay of NAS-Bench-201


@pytest.fixture(scope="module")
def columns() -> dict[str, Any]:
    """All 15,625 cells; accuracy grows with the number of 3x3 convolutions, in percent."""
    cells = [dict(zip(CELL_SPACE, six, strict=True)) for six in itertools.product(OPS, repeat=6)]
    convolutions = np.array([list(cell.values()).count("nor_conv_3x3") for cell in cells])
    return {
        "arch": [str(cell_of(cell)) for cell in cells],
        "cifar10_valid_12ep": 50.0 + 5 * convolutions,
        "cifar10_test": 60.0 + 5 * convolutions,
        "cifar10_test_12ep": np.zeros(len(cells)),
        "cifar100_test": np.full(len(cells), 30.0),
    }


def written(columns: dict[str, Any], path: Path) -> str:
    """Write the table; returns the option that names it."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    else:
        csv.write_csv(pa.table(columns), path)
    return f"--task=nasbench201:{path}"


@pytest.mark.parametrize("suffix", [pytest.param(".csv", marks=pytest.mark.slow), ".parquet"])
def test_the_table_is_searched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, columns: dict[str, Any], suffix: str
) -> None:
    table = written(columns, tmp_path / f"table{suffix}")
    arguments = (table, "--trials", "100", "--ratio", "1", "--rows", "100")
    (one,) = runs_of(capsys, *arguments)
    last = one["incumbents"][-1]
    assert last["loss"] == pytest.approx(0.1 + one["regret"]), "the best cell has 90 % in the test"
    assert one["regret"] in (pytest.approx(0.05), pytest.approx(0.1), pytest.approx(0.15))
    assert "15,625 cells known at epochs 12, 200" in run(capsys, *arguments)[1]


@pytest.mark.slow
def test_validation_after_the_whole_training_is_preferred(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, columns: dict[str, Any]
) -> None:
    known = {**columns, "cifar10_valid_200ep": np.full(15_625, 77.0)}
    table = written(known, tmp_path / "table.parquet")
    (one,) = runs_of(capsys, table, "--trials", "9", "--ratio", "1", "--scheduler", "none")
    assert one["incumbents"][-1]["loss"] == pytest.approx(0.23)


@pytest.mark.slow
def test_another_data_set_of_the_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, columns: dict[str, Any]
) -> None:
    table = written(columns, tmp_path / "table.parquet")
    (one,) = runs_of(capsys, table, "--nas-data", "cifar100", "--trials", "5")
    assert one["regret"] == 0
    code, _, err = run(capsys, table, "--nas-data", "imagenet16_120")
    assert code == 2
    assert "lacks imagenet16_120_test; it has arch, cifar10_valid_12ep" in " ".join(err.split())


def test_curves_join_chance_to_what_is_known(tmp_path: Path) -> None:
    """Epochs 0, 4 and 12 of validation, then the test, the only accuracy there is after 200."""
    known = {
        "cifar100_valid_12ep": [20.0, 21.0],
        "cifar100_valid_4ep": [10.0, 11.0],
        "cifar100_test": [70.0, 71.0],
    }
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({"arch": ["a", "b"], **known}), path)
    table = read_task(f"nasbench201:{path}", None, None, None, "cifar100").make(0)
    assert table.knots == (0, 4, 12, 200)
    assert table.curves == {"a": (0.01, 0.1, 0.2, 0.7), "b": (0.01, 0.11, 0.21, 0.71)}
    assert table.test == {"a": 0.7, "b": 0.71}


@pytest.mark.parametrize(
    ("cells", "accuracies", "said"),
    [
        (["a", "b"], [70.0, np.nan], "row 1, cell b: cifar10_test is nan, need a percentage"),
        (["a", "b"], [70.0, 7000.0], "row 1, cell b: cifar10_test is 7000.0, need a percentage"),
        (["a"], [70.0], "the table of 1 cells has no |"),
        ([], np.empty(0), "got 0 cells"),
    ],
)
def test_tables_that_will_not_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cells: list[str], accuracies: Any, said: str
) -> None:
    table = written({"arch": cells, "cifar10_test": accuracies}, tmp_path / "table.parquet")
    code, _, err = run(capsys, table)
    assert code == 2
    assert said in " ".join(err.split())


def test_a_file_that_is_no_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no PAR1")
    code, _, err = run(capsys, "--task", f"nasbench201:{tmp_path / 'a.parquet'}")
    assert code == 2
    assert "a.parquet" in err
    assert "Traceback" not in err


# ---------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--scheduler asah", "Did you mean 'asha'? Known: asha, asha-promote"),
        ("--search tpi", "Did you mean 'tpe'?"),
        ("--trials 0 --workers 0", "trials=0, need at least 1; workers=0, need at least 1"),
        ("--seeds 0", "seeds=0"),
        ("--eta 1", "eta=1"),
        ("--epochs 0", "epochs=0"),
        ("--rows 0", "rows=0"),
        ("--ratio 0", "need 0 < ratio <= 1"),
        ("--ratio nan", "need 0 < ratio <= 1"),
        ("--budget-epochs 0.001", "one trial needs"),
        ("--budget-epochs nan", "budget_epochs=nan, need a number > 0"),
        ("--startup-s -1", "startup_s=-1.0"),
        ("--seconds-per-sample 0", "seconds_per_sample=0.0"),
        ("--compare --scheduler asha", "--compare runs every scheduler"),
        ("--task powerlaw", "Did you mean 'power-law'?"),
        ("--task power-law:x", "Known: nasbench201:FILE, power-law, records:FOLDER"),
        ("--task records", "Known: nasbench201:FILE, power-law, records:FOLDER"),
        ("--task records:nowhere", "Is nowhere the folder of a run?"),
        ("--task nasbench201:nowhere.csv", "cannot read nowhere.csv"),
        ("--task nasbench201:nowhere.csv --nas-data cifar11", "Did you mean 'cifar10"),
    ],
)
def test_wrong_options(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *options.split())
    assert code == 2
    assert said in " ".join(err.split())
    assert out == ""
    assert "Traceback" not in err
