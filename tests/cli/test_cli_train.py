"""raysubset train, ablate and table: wrong input is one line and leaves nothing behind; what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raysubset.cli import main
from tests.report.synthetic import run_info
from tests.report.test_comparison import comparison, write_records

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests

DATA = ("--data", "embedded", "--limit", "300", "--model", "mlp")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), " ".join(out.split()), " ".join(err.split())


def test_all_may_stand_beside_other_ways(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "train", *DATA, "--compare", "all,asp-adaptive", "--recipe", "channels_last=true", "--dry-run"
    )
    assert code == 0, err
    assert {"full", "infobatch", "asp-mixture-dynamic-r0.1", "asp-adaptive-dynamic-r0.1"} <= set(out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["train", "--ratio", "0.1,0.3"], "several are for --compare"),
        (["train", "--schedule", "fast"], "--schedule 'fast', need static, dynamic, adaptive or both"),
        (["train", "--ratio", "a"], "--ratio 'a', need numbers and commas"),
        (["train", "--ratio", "0"], "need 0 < ratio <= 1"),
        (["train", "--selector", "aps"], "Did you mean 'asp'?"),
        (["train", "--compare", "asp-los"], "asp-los"),
        (["train", "--compare", "asp-loss,asp-loss"], "each once"),
        (["train", "--compare", "all,asp-loss"], "each once"),
        (["train", "--compare", "asp-loss", "--option", "a=1"], "ways that are compared have none"),
        (["train", "--recipe", "lr=-1"], "lr=-1"),
        (["train", "--recipe", "speed=1"], "speed"),
        (["train", "--resume"], "--name"),
        (["train", "--resume", "--name", "x"], "run"),
        (["train", "--name", "../up"], "plain folder name"),
        (["ablate", "--orders", "013"], "013"),
        (["ablate", "--sigmas", "1/0"], "--sigmas '1/0', need numbers"),
        (["table", "--paper", "asp", "--id", "T9"], "T1, T2, T3"),
        (["table", "--paper", "asp", "--id", "T3"], "no such folder"),
    ],
)
def test_wrong_options(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *options, *(() if options[0] == "table" else DATA))
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_lists_ways_and_cost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", *DATA, "--preset", "small", "--epochs", "4", "--dry-run", "--json")
    assert code == 0, err
    plain = json.loads(out)
    samples = {way["way"]: way["samples"] for way in plain["ways"]}
    assert (plain["seeds"], plain["epochs"], len(samples)) == ([0, 1, 2], 4, 2 + 4 * 13)
    assert samples["full"] == 4 * 270
    assert samples["asp-mixture-dynamic-r0.3"] == samples["adaptive-random-static-r0.3"] == round(0.3 * 4 * 270)
    code, out, err = run(capsys, "ablate", *DATA, "--epochs", "4", "--dry-run", "--seeds", "2")
    assert code == 0, err
    assert "g210-dynamic-r0.3" in out
    assert "sigma0.0625-dynamic-r0.3" in out
    assert not (tmp_path / "runs").exists()


def test_a_table_shows_our_runs_beside_the_paper(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    comparison().write(folder, {})
    run_info(dataset="cifar10", model="resnet8").write(folder)
    write_records(folder)
    code, out, err = run(capsys, "table", "--paper", "asp", "--id", "F2", "--root", str(tmp_path), "--json")
    assert code == 0, err
    rows = {(row["row"], row["at"]): row for row in json.loads(out)["rows"]}
    assert rows["asp-mixture", "10 %, static"]["ours"].startswith("74 ±")
    assert rows["asp-mixture", "10 %, static"]["ours on"] == "cifar10, resnet8"
    assert rows["asp-mixture", "70 %, static"]["ours"] == "not run"
    code, out, _ = run(capsys, "table", "--paper", "subselnet")
    assert code == 0
    assert "TE.3: Cost of reaching a relative accuracy reduction, five data sets" in out
    code, out, _ = run(capsys, "table", "--paper", "asp", "--id", "T7", "--root", str(tmp_path), "--json")
    counted = {row["row"]: row["difference"] for row in json.loads(out)["rows"]}
    assert counted["resnet18"] == "+0"
