from __future__ import annotations

import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from synthetic import record, run_info, search_records, stage_info, whole_run, write_run

from raysubset.errors import RecordError, StorageError
from raysubset.report.headline import headline
from raysubset.report.html import write_report
from raysubset.report.intervals import Estimate
from raysubset.report.records import Records
from raysubset.report.run_info import Result, StageInfo
from raysubset.report.summary import summarise
from raysubset.report.tables import summary_rows
from raysubset.report.wording import factor, interval, percent, points, seconds, times

pytestmark = pytest.mark.slow  # the page is drawn once, in two seconds

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects what the tests ask about and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "text", "tspan"):
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(text for text in self.texts if text)


def page_of(folder: Path) -> tuple[str, Page]:
    text = write_report(folder).read_text(encoding="utf-8")
    return text, Page(text)


def figure_ids(page: Page) -> list[str | None]:
    return [attrs["id"] for attrs in page.all("figure")]


def unfinished(folder: Path, rows: list[Any], **changes: Any) -> Path:
    return write_run(folder, run_info(**changes), rows)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """The page of a finished run that was compared with the search on all data."""
    return page_of(whole_run(tmp_path_factory.mktemp("whole")))


SEARCHED = ["best-samples", "best-seconds", "curves", "rungs", "subsets", "costs"]


@pytest.mark.slow
def test_a_whole_run_shows_every_figure_and_the_headline_first(whole: tuple[str, Page]) -> None:
    _, page = whole
    assert figure_ids(page) == [*SEARCHED, "parallel", "importance", *(f"space-{i}" for i in range(4))]
    words = page.words
    assert "demo: lenet on MNIST sample" in page.texts
    assert words.index("Best configuration: lr=0.01585, width=64.") < words.index("At a glance")
    assert "Test accuracy 93.0 % (95 % interval 90.4 to 94.9 %), on 500 test rows." in words
    assert "raysubset hpo --data mnist --seed 0" in words
    assert '"lr": 0.0158489' in words
    assert "unfinished" not in words


@pytest.mark.slow
def test_the_page_asks_nobody_for_anything(whole: tuple[str, Page]) -> None:
    text, page = whole
    for tag, attrs in page.elements:
        assert tag not in ("script", "iframe", "object", "base")
        for name, value in attrs.items():
            if name.startswith("xmlns"):
                continue
            assert not re.search(r"https?:|//", value or "") or name == "content", (tag, name, value)
            if name in ("src", "href", "xlink:href"):
                assert (value or "").startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "<!DOCTYPE svg" not in text


def test_the_page_is_accessible_and_fits_a_phone(whole: tuple[str, Page]) -> None:
    text, page = whole
    images = [attrs for _, attrs in page.elements if attrs.get("role") == "img"]
    assert len(images) == len(page.all("figure")) == len(page.all("svg"))
    assert all(len(attrs.get("aria-label") or "") > 40 for attrs in images)
    assert all("width" not in attrs and attrs["viewbox"] for attrs in page.all("svg"))
    assert page.all("html")[0]["lang"] == "en"
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))
    assert "prefers-color-scheme: dark" in text


def test_identifiers_are_unique_and_every_reference_resolves(whole: tuple[str, Page]) -> None:
    text, page = whole
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(ids)


def test_figures_use_only_the_colours_of_the_page(whole: tuple[str, Page]) -> None:
    text, _ = whole
    body = text[text.index("<body>") :]
    assert set(re.findall(r"#[0-9a-f]{6}\b", body)) <= {"#ffffff"}
    style = text[: text.index("<body>")]
    assert all(f"--{name}:" in style for name in re.findall(r"var\(--(\w+)\)", body))


@pytest.mark.slow
def test_equal_runs_give_equal_pages_and_leave_matplotlib_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    first, _ = page_of(whole_run(tmp_path / "a"))
    second, _ = page_of(whole_run(tmp_path / "b"))
    assert first == second
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_two_hundred_trials_stay_small(tmp_path: Path) -> None:
    path = write_report(whole_run(tmp_path, trials=200, epochs=30))
    assert path.stat().st_size < 2_000_000


@pytest.mark.slow
def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    rows = search_records()[:20]
    folder = unfinished(tmp_path, rows)
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"stage": "sea')
    _, page = page_of(folder)
    assert "This run is unfinished" in page.words
    assert "cut short" in page.words
    assert "test accuracy is not measured" in page.words
    labels = dict(summary_rows(folder))
    assert labels["state"].startswith("UNFINISHED")
    assert labels["test accuracy"] == labels["wall time, search"] == "not measured"
    assert labels["best configuration"].startswith("so far lr=")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "figures"),
    [
        ([], []),
        ([record(val_loss=None, val_accuracy=None)], ["subsets", "costs"]),
        (
            [record(status="failed", train_loss=math.nan, val_loss=math.nan, val_accuracy=None)],
            ["subsets", "costs"],
        ),
        ([record(train_s=0.0, select_s=0.0, eval_s=0.0)], ["best-samples", "best-seconds", "curves", "subsets"]),
        ([record(rung=0), record(epoch=2, rung=1, status="done")], SEARCHED),
        ([record(samples_consumed=0, finished_s=0.0, val_loss=0.0)], [*SEARCHED[:3], "subsets", "costs"]),
    ],
)
@pytest.mark.parametrize("score", ["loss", "accuracy"])
def test_poor_runs_still_render(tmp_path: Path, rows: list[Any], figures: list[str], score: str) -> None:
    _, page = page_of(unfinished(tmp_path, rows, score=score))
    assert figure_ids(page) == figures


def test_a_run_without_records_file_renders(tmp_path: Path) -> None:
    run_info().write(tmp_path)
    _, page = page_of(tmp_path)
    assert "No trial has reported." in page.words


@pytest.mark.slow
def test_what_users_named_is_text_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script> $x_1$ & "q"'
    rows = [record(t, 1, config={evil: v, "_k": v}, val_loss=v, status="failed" if v == 3 else "done", reason=evil)
            for t, v in (("a", 1), ("b", 2), ("c", 3))]  # fmt: skip
    folder = unfinished(tmp_path, rows, name=evil, dataset=evil, command=evil, dataset_note=evil)
    text, page = page_of(folder)
    assert "<script" not in text
    assert evil in page.texts
    assert re.search(r"<text[^>]*>[^<]* \$x_1\$ ", text), "an axis label was read as mathematics"


@pytest.mark.slow
def test_mixed_and_many_valued_hyper_parameters(tmp_path: Path) -> None:
    rows = [
        record(f"t{i:02d}", 1, val_loss=1.0 + i,
               config={"layers": [i, i], "mixed": i % 4 if i % 2 else "auto", "same": 1, "lr": 10.0 ** -(i % 5)}
               | ({"sometimes": i} if i > 15 else {}))
        for i in range(20)
    ]  # fmt: skip
    _, page = page_of(unfinished(tmp_path, rows))
    titles = [text for text in page.texts if text in ("layers", "mixed", "same", "lr", "sometimes")]
    assert titles[:3] == ["mixed", "lr", "sometimes"]


def against(subset: StageInfo, full: StageInfo, accuracies: tuple[float, float]) -> str:
    run = run_info(
        n_test=1000,
        stages={"search": subset, "search-full": full},
        result=Result({"lr": 0.1}, test_accuracy=accuracies[0]),
        result_full=Result({"lr": 0.2}, test_accuracy=accuracies[1]),
    )
    return " ".join(headline(summarise(run, Records(()))).against)


def test_bad_news_is_in_the_headline() -> None:
    words = against(StageInfo(20.0, 3000, 5, True), StageInfo(10.0, 2000, 5, True), (0.80, 0.90))
    assert "consumed 1.50 times the samples" in words
    assert "slower: it took 2.00 times as long" in words
    assert "less accurate configuration: -10.0 points" in words
    assert "more than the noise" in words


def test_a_small_loss_of_accuracy_is_called_noise_and_a_win_is_not_bad_news() -> None:
    stages = StageInfo(5.0, 1000, 5, True), StageInfo(10.0, 2000, 5, True)
    assert "within the noise" in against(*stages, (0.899, 0.90))
    assert against(*stages, (0.91, 0.90)) == ""


def test_dear_selection_is_bad_news() -> None:
    rows = (record(train_s=1.0, select_s=2.0, eval_s=1.0, status="failed"),)
    said = " ".join(headline(summarise(run_info(), Records(rows))).against)
    assert "Choosing rows took 50.0 % of the trials' seconds" in said
    assert "Evaluation took 25.0 %" in said
    assert "1 of 1 trials failed." in said


def test_arithmetic_is_never_passed_off_as_measurement() -> None:
    rows = search_records(trials=2)
    run = run_info(trials=2, stages={"search": stage_info(rows)}, result=Result({"lr": 0.1}))
    made = headline(summarise(run, Records(tuple(rows))))
    assert any("72,000 (arithmetic, no early stopping)" in sentence for sentence in made.found)
    assert any("not run: time saved and accuracy lost are not measured" in text for text in made.unmeasured)


def test_summary_rows_by_hand(tmp_path: Path) -> None:
    run = run_info(
        n_train=1000, trials=5, epochs=4, dataset_note="cifar10 was not found",
        stages={"search": StageInfo(10.0, 2000, 5, True),
                "search-full": StageInfo(25.0, 9000, 5, True, energy_j=180_000)},
        result=Result({"lr": 0.1, "width": 8}, 0.95, 0.93), result_full=Result({"lr": 0.2}, 0.96, 0.936),
    )  # fmt: skip
    rows = [record("a", 4, train_s=6.0, select_s=3.0, eval_s=1.0, status="done", peak_bytes=1_500_000_000)]
    assert dict(summary_rows(write_run(tmp_path, run, rows))) == {
        "state": "finished",
        "data set": "MNIST sample (embedded)",
        "best configuration": "lr=0.1, width=8",
        "validation accuracy": "95.0 %",
        "test accuracy": "93.0 % (95 % interval 90.4 to 94.9 %)",
        "against the search on all data": "-0.6 points (95 % interval -3.8 to +2.6)",
        "trials": "5 of 5 planned, 0 failed",
        "samples, search": "2,000",
        "samples, planned full cost": "20,000 (arithmetic: no early stopping)",
        "planned full cost / search": "10.0 times",
        "samples, search on all data": "9,000",
        "samples saved, measured": "4.50 times less",
        "time saved, measured": "2.50 times less",
        "samples saved with final training": "not measured",
        "time saved with final training": "not measured",
        "wall time, search": "10.0 s",
        "wall time, final training": "not measured",
        "selection share of trial time": "30.0 %",
        "evaluation share of trial time": "10.0 %",
        "energy, search": "not measured (no energy counter can be read here; --watts gives an estimate)",
        "energy, search on all data": "50 Wh measured: the CPU packages of the machine it was started on, with "
        "all else that ran there; no GPU, no other node",
        "peak memory, a trial's process": "1.50 GB",
        "peak memory, a selector's process": "not measured",
    }


def test_energy_without_a_counter_is_an_estimate_that_says_so(tmp_path: Path) -> None:
    run = run_info(watts=72.0, stages={"search": StageInfo(100.0, 2000, 5, True)})
    said = dict(summary_rows(write_run(tmp_path, run, [record()])))
    assert said["energy, search"] == "2 Wh estimated: 72 W, as was said by --watts, for 100.0 s"
    found = headline(summarise(run, Records(()))).found
    assert "Energy, search: 2 Wh estimated: 72 W, as was said by --watts, for 100.0 s." in found
    with pytest.raises(RecordError, match="watts must be > 0, got -1"):
        run_info(watts=-1.0)


def test_numbers_as_words() -> None:
    assert [seconds(s) for s in (None, 0.004, 9.99, 73.25, 119.96, 3725.4, 7500.0)] == [
        "not measured", "0.00 s", "9.99 s", "73.2 s", "2 min 00 s", "62 min 05 s", "2 h 05 min",
    ]  # fmt: skip
    assert [times(f, "fewer", "more") for f in (4.0, 0.25, 1.004)] == [
        "4.00 times fewer",
        "4.00 times more",
        "as many",
    ]
    assert [factor(None), factor(12.34), percent(None)] == ["not measured", "12.3 times", "not measured"]
    assert interval(Estimate(0.5, 0.4, 0.6)) == "50.0 % (95 % interval 40.0 to 60.0 %)"
    assert points(Estimate(0.01, -0.005, 0.02)) == "+1.0 points (95 % interval -0.5 to +2.0)"


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    run_info().write(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"Cannot write .*report\.html"):
        write_report(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run.json"]


@pytest.mark.slow
def test_records_load_no_heavy_library_and_the_page_neither_torch_nor_ray() -> None:
    code = (
        "import sys, raysubset.report.records, raysubset.report.tables\n"
        "assert not {'matplotlib', 'jinja2', 'torch', 'ray'} & set(sys.modules)\n"
        "import raysubset.report.html\n"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
