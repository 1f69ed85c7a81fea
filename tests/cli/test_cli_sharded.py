"""``--data parquet:URI`` and ``folder:URI``: opened where they are, wrong ones told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_images import encoded, pixels, write_folder, write_parquet

from raysubset.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 30), ("test", 6)):
        images = [encoded(image) for image in pixels(count, 8, 8, 3)]
        write_parquet(tmp_path / "squares" / f"{name}-0.parquet", images, [i % 3 for i in range(count)])
    return tmp_path / "squares"


def test_data_says_what_a_sharded_set_holds(capsys, folder: Path) -> None:
    code, out, _ = run(capsys, "data", f"parquet:{folder}", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["name"], facts["train"], facts["test"], facts["shape"]) == ("squares", 30, 6, [3, 8, 8])
    assert facts["source"] == f"{folder} (sharded)"
    root = write_folder(folder.parent / "images", {"a": pixels(3, 4, 4), "b": pixels(2, 4, 4)})
    code, out, _ = run(capsys, "data", f"folder:{root}", "--json")
    assert (code, json.loads(out)["classes"], json.loads(out)["largest_class"]) == (0, ["a", "b"], 3)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("parquet:none", "No parquet file or folder"),
        ("folder:none", "No folder"),
        ("parquet:ftp://host/x", "scheme 'ftp', known are file, s3, gs, gcs"),
        ("parquet:s3://key:hidden@bucket/x", "credentials do not belong in a URI"),
    ],
)
@pytest.mark.parametrize("command", ["data", "hpo"])
def test_wrong_places(capsys, tmp_path, monkeypatch, command: str, asked: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, command, *(["--data"] if command == "hpo" else []), asked)
    assert code == 2
    assert said in " ".join(err.split())
    assert "hidden" not in out + err
    assert not (tmp_path / "runs").exists()


def test_a_search_begins_on_a_sharded_set(capsys, folder: Path, tmp_path: Path, monkeypatch) -> None:
    from raysubset.cli import hpo

    monkeypatch.setattr("raysubset.tuning.presets.seconds_per_sample", lambda *arguments: 1e-3)
    monkeypatch.setattr(hpo, "_go", lambda *arguments: None)
    monkeypatch.setattr(hpo, "print_summary", lambda *arguments: None)
    options = ["--data", f"parquet:{folder}", "--limit", "24", "--epochs", "27", "--root", str(tmp_path / "runs")]
    run(capsys, "hpo", *options)
    (run_folder,) = (tmp_path / "runs").iterdir()
    assert run_folder.name.startswith("squares-mlp-")
    facts = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    assert (facts["n_train"] + facts["n_validation"], facts["n_test"]) == (24, 6)
    assert facts["dataset_source"] == f"{folder} (sharded)"
