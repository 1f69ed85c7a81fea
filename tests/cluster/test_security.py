"""What strangers hand in runs no code and leads nowhere; secrets of the environment stay there."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raysubset.cli import main
from raysubset.errors import OptionsError, RaysubsetError, RecordError, StorageError
from raysubset.experiment import Experiment
from raysubset.report.html import write_report
from raysubset.report.records import RECORDS_FILE, RecordWriter, read_records
from raysubset.report.run_info import Result, RunInfo, StageInfo
from raysubset.report.secrets import HIDDEN, redacted
from raysubset.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from raysubset.types import TrialRecord

SECRET = 'w4ndb"key\\0123456789abcdef'  # with what JSON writes otherwise


# ---------------------------------------------------------------------- checkpoints


class Harmful:
    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.place,)


def rewritten(path: Path, member: str, content: bytes) -> None:
    """Replace one file within an archive, so that all else is as torch.save wrote it."""
    before = path.with_suffix(".before")
    path.rename(before)
    with zipfile.ZipFile(before) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        assert any(info.filename.endswith(member) for info in old.infolist())
        for info in old.infolist():
            new.writestr(info, content if info.filename.endswith(member) else old.read(info))
    before.unlink()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_in_the_place_of_a_checkpoints_own_does_not_run(tmp_path: Path, protocol: int) -> None:
    harm = tmp_path / "harm"
    save_checkpoint(tmp_path, {"model": torch.zeros(3), "epoch": 2})
    state = {"format": "raysubset checkpoint", "schema": 1, "state": {"epoch": Harmful(harm)}}
    rewritten(tmp_path / FILE_NAME, "data.pkl", pickle.dumps(state, protocol))
    with pytest.raises(StorageError, match="not a raysubset checkpoint"):
        load_checkpoint(tmp_path)
    assert not harm.exists()
    pickle.loads(pickle.dumps(state, protocol))  # the trap is a real one
    assert harm.exists()


@pytest.mark.slow
def test_a_tensor_subclass_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    """torch rebuilds tensor subclasses by calling what the file names."""
    code = (
        f"import torch; from raysubset.training.checkpoint import FILE_NAME\n"
        f"class Sub(torch.Tensor):\n"
        f"    def __setstate__(self, state): open({str(tmp_path / 'harm')!r}, 'w').close()\n"
        f"t = torch.zeros(2).as_subclass(Sub); t.extra = 1\n"
        f"torch.save({{'format': 'raysubset checkpoint', 'schema': 1, 'state': {{'t': t}}}}, "
        f"{str(tmp_path)!r} + '/' + FILE_NAME)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(StorageError, match="not a raysubset checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "harm").exists()


# ---------------------------------------------------------------------- records


def record(trial: str = "0000", epoch: int = 1, **changes: Any) -> TrialRecord:
    plain = TrialRecord(
        stage="search", trial=trial, epoch=epoch, epochs=2, config={"lr": 0.1}, status="done", reason="",
        samples_consumed=100 * epoch, equiv_epochs=0.1 * epoch, ratio=0.1, metric_used="loss", train_loss=1.0,
        train_s=1.0, select_s=0.1, eval_s=0.1, finished_s=float(epoch), seed=0, rung=0, val_loss=0.5,
        val_accuracy=0.8,
    )  # fmt: skip
    return replace(plain, **changes)


def make_run(folder: Path, rows: list[TrialRecord], **changes: Any) -> Path:
    facts: dict[str, Any] = {
        "name": "demo", "dataset": "digits", "dataset_source": "embedded", "n_train": 1000, "n_validation": 100,
        "n_test": 100, "model": "mlp", "selector": "asp", "metric": "mixture", "ratio": 0.1, "schedule": "dynamic",
        "budget": "exact", "first_epoch": "scheduled", "search": "tpe", "scheduler": "asha", "score": "loss",
        "trials": 2, "epochs": 2, "seed": 0, "device": "cpu", "command": "raysubset hpo", "started": "2024-05-01",
    }  # fmt: skip
    RunInfo(**(facts | changes)).write(folder)
    with RecordWriter(folder / RECORDS_FILE) as writer:
        for row in rows:
            writer.append(row)
    return folder


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


UP = "../../../escaped"
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.mark.slow
def test_names_in_records_lead_nowhere_and_are_no_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nasty = [
        record(UP, reason=MARKUP, status="failed"),
        record("/etc/escaped", config={MARKUP: UP, "lr": 0.1}),
        record("..", metric_used=MARKUP, config={"lr": 0.2}),
        record("a\tb", config={"lr": 0.3}),
        record(UP, stage=UP),
    ]
    run = make_run(
        tmp_path / "root" / "a" / "b" / "demo",
        nasty,
        name=UP,
        dataset=MARKUP,
        dataset_source=UP,
        command=MARKUP,
        settings={MARKUP: UP, "experiment": MARKUP},
        stages={"search": StageInfo(1.0, 500, 5, True)},
        result=Result({MARKUP: UP, "lr": 0.1}, val_accuracy=0.8),
    )
    before = files_below(tmp_path)
    page = write_report(run)
    assert page == run / "report.html"
    assert files_below(tmp_path) - before == {"root/a/b/demo/report.html"}
    html = page.read_text(encoding="utf-8")
    assert "<img" not in html
    assert "&lt;img" in html
    for command in (["report", str(run)], ["report", str(run), "--json"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert not stop.value.code
    assert files_below(tmp_path) - before == {"root/a/b/demo/report.html"}


@pytest.mark.parametrize("name", ["../up", "a/b", "/abs", "..", ".", ".hidden", ""])
def test_an_experiment_file_cannot_name_a_folder_elsewhere(name: str) -> None:
    text = f'name = {json.dumps(name)}\nmodel = "mlp"\n[space.lr]\nuniform = [0.1, 0.2]\n'
    with pytest.raises(OptionsError, match="plain folder name"):
        Experiment.from_toml(text)


@given(keep=st.floats(0, 1), junk=st.binary(max_size=6))
def test_a_records_file_cut_or_damaged_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, keep: float, junk: bytes
) -> None:
    folder = make_run(tmp_path_factory.mktemp("cut") / "demo", [record(epoch=epoch) for epoch in (1, 2, 3)])
    path = folder / RECORDS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))] + junk)
    rows: tuple[TrialRecord, ...] = ()
    with suppress(RecordError):
        rows = read_records(path).rows
    assert [row.epoch for row in rows] == list(range(1, len(rows) + 1))


def test_a_cut_records_file_still_makes_a_report_that_says_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "demo", [record(epoch=1, status="running"), record(epoch=2)])
    path = folder / RECORDS_FILE
    path.write_bytes(path.read_bytes()[:-30])
    assert "cut short" in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"schema": 1}', '{"schema": 1, "stages": {"a": {"wall_s": 1}}}', "\x00"]
)
def test_damaged_run_facts_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RaysubsetError, match=r"run\.json"):
        RunInfo.read(tmp_path)


# ---------------------------------------------------------------------- secrets


def test_a_secret_of_the_environment_is_in_no_file_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    rows = [
        record("0000", status="failed", reason=f"login with {SECRET} failed"),
        record("0001", config={"lr": 0.1, SECRET: SECRET}),
    ]
    run = make_run(
        tmp_path / "demo",
        rows,
        command=f"raysubset hpo --key {SECRET}",
        dataset_source=f"https://user:{SECRET}@example.com/",
        settings={"tracking": {"key": SECRET}, "list": [SECRET]},
    )
    write_report(run)
    forms = {SECRET, json.dumps(SECRET)[1:-1], SECRET.replace('"', "&#34;"), SECRET.replace('"', "&quot;")}
    for path in run.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not [form for form in forms if form in text], path.name
    assert RunInfo.read(run).command == f"raysubset hpo --key {HIDDEN}"
    assert read_records(run / RECORDS_FILE).rows[0].reason == f"login with {HIDDEN} failed"


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "HF_TOKEN", "DB_PASSWORD", "MY_SECRET"]
)
def test_a_variable_is_secret_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)
    assert json.loads(redacted(json.dumps({"a": [SECRET], SECRET: 1}))) == {"a": [HIDDEN], HIDDEN: 1}


def test_numbers_and_other_variables_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "12345678")
    monkeypatch.setenv("SHORT_TOKEN", "lr")
    monkeypatch.setenv("KEYBOARD_LAYOUT", "dvorak-programmer")
    text = json.dumps({"samples": 12345678, "lr": 0.1, "note": "dvorak-programmer", "said": "12345678!"})
    assert json.loads(redacted(text)) == {
        "samples": 12345678, "lr": 0.1, "note": "dvorak-programmer", "said": f"{HIDDEN}!",
    }  # fmt: skip


def test_what_holds_no_secret_is_returned_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    text = '{"a":   1.0e3}\n'
    assert redacted(text) is text


def test_the_cluster_files_hold_no_secret_and_no_address_of_anybody() -> None:
    import ipaddress
    import re

    documentation = [ipaddress.ip_network(one) for one in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    for path in sorted((Path(__file__).parents[2] / "clusters").iterdir()):
        if path.is_dir():
            continue
        text = path.read_text(encoding="utf-8")
        for found in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text):
            address = ipaddress.ip_address(found)
            assert address.is_loopback or int(address) == 0 or any(address in one for one in documentation), found
        assert not re.search(r"AKIA[A-Z0-9]{16}|PRIVATE KEY-----|\bsg-[0-9a-f]{8,}|\bami-[0-9a-f]{8,}", text)
        assert set(re.findall(r"\bfs-[0-9a-f]{8,}", text)) <= {"fs-00000000000000000"}
