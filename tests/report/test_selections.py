"""What was chosen: the file there and back, sums, and the pictures of it."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from made_selections import EVIL, selections
from synthetic import whole_run
from test_report_page import Page, figure_ids, page_of

from raysubset.errors import RecordError
from raysubset.report.data_figures import data_part
from raysubset.report.selections import SELECTIONS_FILE, Selections, read_selections

DATA = ["balance", "classes", "times", "watched", "hardest", "easiest", "most-chosen", "least-chosen"]


def same(first: Selections, second: Selections) -> bool:
    return all(np.array_equal(getattr(first, one.name), getattr(second, one.name)) for one in fields(first))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = selections()
    made.write(tmp_path)
    read = read_selections(tmp_path)
    assert read is not None
    assert same(read, made)
    assert read.classes == made.classes
    assert read_selections(tmp_path / "elsewhere") is None


def test_equal_counts_give_equal_files(tmp_path: Path) -> None:
    assert selections().write(tmp_path / "a").read_bytes() == selections().write(tmp_path / "b").read_bytes()


def test_a_file_of_another_schema_or_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    path = selections().write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=SELECTIONS_FILE):
        read_selections(tmp_path)
    with np.load(selections().write(tmp_path)) as kept:
        arrays = dict(kept)
    np.savez(path, **{**arrays, "schema": np.int64(99)})
    with pytest.raises(RecordError, match="schema 99, this version reads 1"):
        read_selections(tmp_path)


def test_counts_of_two_selectors_add_up_epoch_by_epoch() -> None:
    first, second = selections(epochs=3, seed=1), selections(epochs=5, seed=2)
    second = replace(second, watched_rows=first.watched_rows, epochs=second.epochs + 1, in_batch=4)
    both = first.merged(second)
    assert both.epochs.tolist() == [0, 1, 2, 3, 4, 5]
    assert both.subsets.tolist() == [5, 10, 10, 5, 5, 5]
    assert both.counted == first.counted + second.counted
    assert both.in_batch == 4
    assert np.array_equal(both.times, first.times + second.times)
    assert np.array_equal(both.by_class[1], first.by_class[1] + second.by_class[0])
    assert np.array_equal(both.watched[5], second.watched[4])
    with pytest.raises(RecordError, match="300 rows"):
        first.merged(selections(n=200))


def test_difficulty_is_a_weighed_mean_and_unknown_without_weight() -> None:
    made = selections(n=3, images=0, rank_sum=np.array([1, 3, 0], np.float32),
                      rank_weight=np.array([2, 4, 0], np.float32))  # fmt: skip
    assert made.difficulty[:2].tolist() == [0.5, 0.75]
    assert math.isnan(made.difficulty[2])


def test_classes_without_a_row_keep_their_place() -> None:
    made = selections()
    tally = {one.name: getattr(made, one.name) for one in fields(made)
             if one.name not in ("labels", "classes", "example_rows", "examples")}  # fmt: skip
    assert Selections.of(tally, made.labels, (*made.classes, "rare")).by_class.shape == (6, 4)
    assert Selections.of(tally, made.labels, ("only",)).classes == ("only", "1", "2")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    folder = whole_run(tmp_path_factory.mktemp("chosen"), n_test=0, result=None, full=False)
    selections().write(folder)
    return page_of(folder)


def test_the_page_shows_what_was_chosen(shown: tuple[str, Page]) -> None:
    text, page = shown
    ids = figure_ids(page)
    assert [slug for slug in ids if slug in DATA] == DATA
    images = page.all("img")
    assert len(images) == 12 * 4
    assert all((attrs["src"] or "").startswith("data:image/png;base64,") for attrs in images)
    assert all(len(attrs["alt"] or "") > 20 for attrs in images)
    assert "peak memory, a selector's process" in page.words
    assert "0.15 GB" in page.words
    assert len(text) < 2_000_000


def test_class_names_are_text_never_markup(shown: tuple[str, Page]) -> None:
    text, page = shown
    assert "<img src=x" not in text
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert any(EVIL in (attrs.get("aria-label") or "") for _, attrs in page.elements)


def test_a_data_set_without_test_rows_has_a_page_that_says_so(shown: tuple[str, Page]) -> None:
    _, page = shown
    assert "its test accuracy is not measured" in page.words


def test_counts_that_are_missing_are_said_to_be() -> None:
    made = selections()
    assert not any("Counted are" in text for text in data_part(made, made.counted).paragraphs)
    assert any("Counted are 30 subsets of 45 epochs" in text for text in data_part(made, 45).paragraphs)
    part = data_part(replace(made, in_batch=15), 45)
    assert any("In 15 more epochs" in text for text in part.paragraphs)
    assert not any("Counted are" in text for text in part.paragraphs)


def test_rows_that_are_no_images_have_figures_and_no_gallery() -> None:
    part = data_part(selections(images=0), 30)
    assert part.galleries == ()
    assert len(part.pictures) == 4


def test_nothing_is_drawn_where_every_row_was_always_chosen_or_none_was_counted() -> None:
    made = selections()
    even = replace(made, times=np.full(300, 7, dtype=np.uint32))
    assert data_part(even, 30).pictures == ()
    assert any("same number of subsets" in text for text in data_part(even, 30).paragraphs)
    none = replace(made, epochs=made.epochs[:0], subsets=made.subsets[:0], by_class=made.by_class[:0],
                   watched=made.watched[:0], in_batch=5)  # fmt: skip
    assert data_part(none, 5).pictures == ()
    assert "inside each batch" in data_part(none, 5).paragraphs[0]


def test_the_balance_of_classes_by_hand() -> None:
    made = selections(n=4, epochs=1, images=0, classes=("a", "b"), by_class=np.array([[3, 1]]),
                      subsets=np.array([4]), times=np.array([2, 0, 1, 1], np.uint32))  # fmt: skip
    balance = data_part(made, 4).pictures[0]
    assert "a 75.0 % (data 50.0 %); b 25.0 % (data 50.0 %)" in balance.alt


def test_hardest_rows_come_first_and_rows_nobody_saw_are_in_neither_gallery() -> None:
    made = selections()
    made = replace(made, rank_weight=np.where(np.arange(300) == made.example_rows[-1], 0, made.rank_weight))
    hardest, easiest = data_part(made, 30).galleries[:2]
    assert f"row {made.example_rows[-2]}," in hardest.thumbs[0].alt
    assert f"row {made.example_rows[0]}," in easiest.thumbs[0].alt
    unseen = f"row {made.example_rows[-1]},"
    assert not any(unseen in thumb.alt for thumb in (*hardest.thumbs, *easiest.thumbs))
