"""A study of trainings from made-up records: arithmetic against scipy, what is missing, the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from raysubset.errors import RecordError, StorageError
from raysubset.report.comparison import COMPARISON_FILE, Comparison, Way, read_comparison, read_trainings
from raysubset.report.comparison_lines import claims, derived, way_lines
from raysubset.report.comparison_tables import (
    comparison_against,
    comparison_facts,
    comparison_found,
    comparison_tables,
    comparison_unmeasured,
)
from raysubset.report.html import write_report
from raysubset.report.records import RECORDS_FILE, RecordWriter
from raysubset.report.tables import summary_rows
from tests.report.synthetic import record, run_info

SEEDS = (3, 4, 5)
BASE = "adaptive-random-static-r0.1"
ACCURACIES = {  # by way: one a seed; the mixture is above its baseline by 1, 2 and 3 points
    "full": (0.90, 0.92, 0.91),
    BASE: (0.70, 0.74, 0.72),
    "random-static-r0.1": (0.60, 0.65, 0.61),
    "asp-loss-static-r0.1": (0.66, 0.69, 0.68),
    "asp-mixture-static-r0.1": (0.71, 0.76, 0.75),
    "adaptive-random-dynamic-r0.1": (0.71, 0.72, 0.73),
    "asp-loss-dynamic-r0.1": (0.70, 0.72, 0.71),
}


def way(name: str) -> Way:
    if name == "full":
        return Way(name="full", method="full", schedule="static", ratio=1.0)
    method, _, rest = name.rpartition("-r0.1")[0].rpartition("-")
    against = "" if method == "adaptive-random" else f"adaptive-random-{rest}-r0.1"
    return Way(name=name, method=method, schedule=rest, ratio=0.1, against=against)


def comparison(**changes: Any) -> Comparison:
    fields: dict[str, Any] = {
        "ways": tuple(map(way, ACCURACIES)), "seeds": SEEDS, "full_samples": 8000, "judged_on": "test",
        "plans": {name: {} for name in ACCURACIES}, "notes": ("a note",),
    }  # fmt: skip
    return Comparison(**(fields | changes))


def write_records(
    folder: Path, skip: tuple[tuple[str, int], ...] = (), fails: tuple[tuple[str, int], ...] = ()
) -> None:
    trial = 0
    with RecordWriter(folder / RECORDS_FILE) as writer:
        writer.append(record("other", stage="search", config={"lr": 1.0}, status="done"))
        for place, seed in enumerate(SEEDS):
            for name, values in ACCURACIES.items():
                trial += 1
                config = {"plan": name, "seed": seed}
                common = {"stage": "train", "config": config, "epochs": 2}
                if (name, seed) in skip:
                    writer.append(record(f"{trial:04d}", 1, **common))  # begun, not ended
                    continue
                writer.append(record(f"{trial:04d}", 1, **common))
                failed, samples = (name, seed) in fails, 8000 if name == "full" else 800
                writer.append(
                    record(
                        f"{trial:04d}", 2, **common, status="failed" if failed else "done",
                        reason="the loss is nan" if failed else "", samples_consumed=samples,
                        val_accuracy=None if failed else 0.01, test_accuracy=None if failed else values[place],
                        test_loss=None if failed else 1.0,
                    )
                )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    comparison().write(tmp_path, {})
    run_info(n_test=500).write(tmp_path)
    return tmp_path


def half(values: Any) -> float:
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def test_lines_are_means_and_paired_differences_with_student_intervals(folder: Path) -> None:
    write_records(folder)
    lines = {line.way.name: line for line in way_lines(comparison(), read_trainings(folder, comparison()))}
    assert list(lines) == list(ACCURACIES)
    for name, values in ACCURACIES.items():
        line = lines[name]
        assert line.accuracy.value == pytest.approx(np.mean(values))
        assert line.accuracy.high - line.accuracy.value == pytest.approx(half(values))
        if line.way.against:
            gaps = np.subtract(values, ACCURACIES[line.way.against])
            assert line.gain.value == pytest.approx(gaps.mean())
            assert line.gain.high - line.gain.value == pytest.approx(half(gaps))
        else:
            assert line.gain is None
    assert lines["full"].to_full is None
    assert lines[BASE].to_full.value == pytest.approx(-0.19)
    mixture = lines["asp-mixture-static-r0.1"]
    assert mixture.mean(lambda t: t.samples) == 800
    assert mixture.mean(lambda t: t.seconds) == pytest.approx(2 * 1.75)
    assert mixture.selection_share == pytest.approx(0.5 / 1.75)


def test_claims_average_over_metrics_before_seeds(folder: Path) -> None:
    write_records(folder)
    found = {claim.words: claim for claim in claims(comparison(), read_trainings(folder, comparison()))}
    value = {name: np.array(values) for name, values in ACCURACIES.items()}
    expected = {
        "dynamic above static": value["asp-loss-dynamic-r0.1"] - value["asp-loss-static-r0.1"],
        "the mixture above single metrics": value["asp-mixture-static-r0.1"] - value["asp-loss-static-r0.1"],
        "chosen anew above a fixed subset": value[BASE] - value["random-static-r0.1"],
    }
    assert set(found) == set(expected)
    for words, gaps in expected.items():
        assert found[words].difference.value == pytest.approx(gaps.mean())
        assert found[words].difference.low == pytest.approx(gaps.mean() - half(gaps))


def test_what_was_not_run_and_what_failed_is_named_everywhere(folder: Path) -> None:
    lost = (("asp-loss-static-r0.1", 4), (BASE, 5))
    write_records(folder, skip=lost, fails=(("asp-mixture-static-r0.1", 3),))
    study = comparison()
    trainings = read_trainings(folder, study)
    lines = {line.way.name: line for line in way_lines(study, trainings)}
    assert lines["asp-loss-static-r0.1"].missing == (4,)
    assert [t.seed for t in lines["asp-mixture-static-r0.1"].failed] == [3]
    gaps = [0.76 - 0.74]  # seed 3 failed, seed 5 has no baseline
    assert lines["asp-mixture-static-r0.1"].gain.value == pytest.approx(gaps[0])
    assert math.isinf(lines["asp-mixture-static-r0.1"].gain.low)
    (_, _, missing) = comparison_tables(study, trainings)
    assert ("asp-loss-static-r0.1", "seed 4", "not run") in missing.rows
    assert ("asp-mixture-static-r0.1", "seed 3", "failed: the loss is nan") in missing.rows
    said = " ".join(comparison_unmeasured(study, trainings))
    assert "2 of 21 trainings were not run" in said
    assert "asp-mixture-static-r0.1, seed 3 failed: the loss is nan" in said
    assert dict(comparison_facts(study, trainings))["state"].startswith("UNFINISHED")
    plain = derived(study, trainings)
    assert json.loads(json.dumps(plain, allow_nan=False))["lines"][3]["missing"] == [4]


def test_sentences_say_what_cannot_be_told_apart(folder: Path) -> None:
    write_records(folder)
    trainings = read_trainings(folder, comparison())
    found, against = (
        " ".join(comparison_found(comparison(), trainings)),
        list(comparison_against(comparison(), trainings)),
    )
    assert "Ratio 0.1: asp-mixture, static comes out highest, 74.00" in found
    assert "2.00 points above (95 % interval -0.48 to +4.48, which includes 0) adaptive-random" in found
    assert against[0].startswith("Of 3 informed ways at a ratio and schedule, 0 are above and 1 below")
    assert against[1].startswith(
        "asp-loss, static at ratio 0.1 is 4.33 points below (95 % interval -5.77 to -2.90)"
    )


def test_the_page_and_the_summary_are_those_of_the_study(folder: Path) -> None:
    write_records(folder)
    page = write_report(folder).read_text(encoding="utf-8")
    for said in ("Ways of choosing rows", "Claims of the ASP paper", "asp-mixture", "a note", "74.00"):
        assert said in page
    assert dict(summary_rows(folder))["trainings"] == "21 of 21, 0 failed"
    (folder / RECORDS_FILE).unlink()
    assert "Nothing has been measured yet" in write_report(folder).read_text(encoding="utf-8")


def test_a_study_is_read_back_and_damage_is_named(folder: Path) -> None:
    assert read_comparison(folder) == comparison()
    with RecordWriter(folder / RECORDS_FILE) as writer:
        writer.append(record("0000", stage="train", config={"plan": "else", "seed": 3}, status="done"))
    with pytest.raises(RecordError, match=r"'plan': 'else'.*none of this study's"):
        read_trainings(folder, comparison())
    (folder / COMPARISON_FILE).write_text('{"schema": 2}')
    with pytest.raises(RecordError, match="schema 2"):
        read_comparison(folder)
    for damaged, said in (
        ("{", "a study of trainings are not JSON"),
        ('{"schema": 1}', "is not a study of trainings"),
    ):
        (folder / COMPARISON_FILE).write_text(damaged)
        with pytest.raises(RecordError, match=said):
            read_comparison(folder)
    (folder / COMPARISON_FILE).unlink()
    with pytest.raises(StorageError):
        read_comparison(folder)
