"""raysubset hpo-dss and hpo-table: wrong input is one line and leaves nothing, a dry run says what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raysubset.cli import main
from raysubset.report.study_lines import CellResult

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("hpo-dss --preset large", "small"),
        ("hpo-dss --preset paper --data fashion-mnist", "Known: cifar10, cifar100, mnist"),
        ("hpo-dss --data cifar11", "Did you mean 'cifar10'"),
        ("hpo-dss --selector crag", "Did you mean 'craig'? Known: adaptive-random, asp, aum"),
        ("hpo-dss --scheduler ash", "Did you mean 'asha'"),
        ("hpo-dss --ratio 0", "need 0 < ratio <= 1"),
        ("hpo-dss --seeds 0", "seeds=0, need at least 1"),
        ("hpo-dss --seeds 0 --watts -3", "seeds=0, need at least 1; watts=-3.0, need a number > 0"),
        ("hpo-dss --only x*", "fits no cell of study 'dss-small-embedded'"),
        ("hpo-dss --name ../up", "plain folder name"),
        ("hpo-dss --limit 0", "need at least 1 row"),
        ("hpo-dss --warm-start 1", "warm_start=1.0"),
        ("hpo-table", "--id"),
        ("hpo-table --id T5", "T3"),
        ("hpo-table --id T3 --epochs 0", "epochs=0"),
        ("hpo-table --id T3 --budget-epochs -1", "budget_epochs=-1.0"),
        ("hpo-table --id T4 --only 'a'", "embedded-ht-mixture-r0.1-s0"),
        ("hpo-table --id T3 --data-dir .", "goes with cifar10"),
    ],
)
def test_wrong_input(capsys, tmp_path: Path, monkeypatch, command: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *command.replace("'", "").split())
    assert code == 2
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_data_that_are_missing_are_not_replaced(capsys, tmp_path: Path, monkeypatch) -> None:
    """A table of CIFAR-10 that was made on digits would be worse than none."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "hpo-table", "--id", "T3", "--preset", "paper", "--data-dir", str(tmp_path))
    assert code == 2
    assert "'cifar10' was not found" in err


def test_dry_runs(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "hpo-table", "--id", "T3", "--dry-run", "--json", "--seeds", "2", "--seed", "7")
    cells = {row["cell"]: row for row in json.loads(out)["cells"]}
    assert code == 0
    assert len(cells) == 24
    assert cells["embedded-bohb-r0.05-s8"]["search_samples_at_most"] == round(0.05 * 144 * 3600)
    assert cells["embedded-bohb-r0.05-s8"]["retrain_samples"] == 9 * 3600
    code, out, _ = run(capsys, "hpo-dss", "--dry-run", "--only", "*-craig-*", "--only", "*-full-*", "--seeds", "1")
    assert code == 0
    assert "720,000" in out  # 10 trials, 20 epochs, 3,600 rows
    assert "2 cells" in out
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def conducted(monkeypatch) -> list[dict]:
    """What would have been run, in place of running it: a first cell that failed, and one that did not."""
    asked: list[dict] = []

    def run_study(study, data, root, listener, **options) -> tuple[CellResult, ...]:
        asked.append({"study": study, "data": data, "root": root, **options})
        (root / study.name).mkdir(parents=True)
        (root / study.name / study.file("study", ".json")).write_text('{"study": "s"}\n')
        fields = {
            "method": "m",
            "dataset": "d",
            "model": "lenet",
            "searched_by": "tpe",
            "rows_by": "full",
            "seed": 0,
        }
        state = "failed" if options["watts"] == 1 else "finished"
        return (CellResult(cell="a", ratio=1.0, state=state, **fields),)

    monkeypatch.setattr("raysubset.tuning.study.run_study", run_study)
    return asked


def test_options_reach_the_study(capsys, tmp_path: Path, conducted: list[dict]) -> None:
    options = (
        "--limit 300 --selector asp --ratio 0.2 --model mlp --trials 4 --epochs 6 --select-every 2 "
        "--warm-start 0.25 --scheduler asha --concurrency 1 --seeds 1 --seed 5 --only *asp* --watts 50 "
        "--name n --json"
    )
    code, out, _ = run(capsys, "hpo-dss", *options.split(), "--root", str(tmp_path))
    assert (code, json.loads(out)) == (0, {"study": "s"})
    asked = conducted[0]
    cells = asked["study"].cells
    assert [cell.name for cell in cells] == ["embedded-300-full-r1-s5", "embedded-300-asp-r0.2-s5"]
    assert (asked["only"], asked["watts"], asked["study"].name) == (["*asp*"], 50.0, "n")
    assert len(asked["data"]["embedded-300"].train) == 300
    experiment = cells[1].experiment
    plan, search = experiment.plan, experiment.search
    assert (plan.ratio, plan.select_every, plan.warm_start) == (0.2, 2, 0.25)
    assert (search.trials, search.scheduler, search.concurrency) == (4, "asha", 1)
    assert (experiment.model, experiment.recipe.epochs, experiment.seed) == ("mlp", 6, 5)
    assert (experiment.recipe.flip, experiment.recipe.crop_padding) == (0.0, 0)  # digits


def test_options_reach_the_table(capsys, tmp_path: Path, conducted: list[dict]) -> None:
    options = "--id T4 --limit 300 --model mlp --epochs 4 --budget-epochs 12 --concurrency 1 --seeds 1"
    code, out, _ = run(capsys, "hpo-table", *options.split(), "--root", str(tmp_path))
    assert code == 0
    assert "results-T4.md" in " ".join(out.split())
    study = conducted[0]["study"]
    assert (study.name, study.table, len(study.cells)) == ("asp-small", "T4", 10)
    experiment = study.cells[-1].experiment
    assert (experiment.search.budget_epochs, experiment.recipe.epochs, experiment.model) == (12, 4, "mlp")


def test_a_failed_cell_shows_in_the_exit_code(capsys, tmp_path: Path, conducted: list[dict]) -> None:
    code, _, _ = run(capsys, "hpo-dss", "--limit", "300", "--watts", "1", "--root", str(tmp_path))
    assert code == 1
