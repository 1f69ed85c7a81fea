"""Every kind of page in a real Chromium: no error, nothing too wide, all visible, legible in light and dark."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from chromium import browser  # noqa: F401  (a fixture)
from made_selections import EVIL, selections
from synthetic import whole_run
from test_grid_page import write as write_grid
from test_nas_page import search as write_nas
from test_subselnet_page import FACTS, ROWS

from raysubset.report.html import write_report
from raysubset.report.subselnet_page import report_html

pytestmark = pytest.mark.slow  # a browser starts, and pages are drawn

LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3 level AA
WIDTHS = (390, 1280)  # a phone, a desk


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    run = whole_run(root / "run", trials=30, name=f"run {EVIL}")
    selections().write(run)
    for kind in ("nas", "grid"):
        (root / kind).mkdir()
    write_nas(root / "nas")
    write_grid(root / "grid", missing=True)
    page = root / "subselnet.html"
    page.write_text(report_html(FACTS, ROWS), encoding="utf-8")
    made = {name: write_report(root / name) for name in ("run", "nas", "grid")}
    return {**made, "subselnet": page}


KINDS = ("run", "nas", "grid", "subselnet")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_and_nothing_is_hidden_or_too_wide(browser, pages, kind: str, width: int) -> None:  # noqa: F811
    opened = browser.open(pages[kind], width, "light")
    assert opened.troubles == []
    assert opened.overflow() <= 0
    boxes = opened.boxes("figure, figure svg, figure img")
    assert boxes
    assert all(w > 20 and h > 20 for w, h in boxes)
    assert all(w <= width for w, _ in boxes)
    broken = opened.page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
    assert broken == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_text_can_be_read_in_light_and_dark(browser, pages, kind: str, scheme: str) -> None:  # noqa: F811
    opened = browser.open(pages[kind], 1280, scheme)
    found = opened.contrasts()
    assert len(found) > 50
    assert [one for one in found if one[0] < LEAST_CONTRAST] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_has_words_and_every_table_can_be_reached(browser, pages, kind: str) -> None:  # noqa: F811
    page = browser.open(pages[kind], 1280, "light").page
    nameless = """[...document.querySelectorAll('[role=img], .gallery img')]
        .filter(e => (e.getAttribute('aria-label') || e.getAttribute('alt') || '').length < 20).length"""
    assert page.evaluate(nameless) == 0
    assert page.evaluate("[...document.images].every(i => i.hasAttribute('alt'))")
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0)")


def test_names_that_users_gave_run_nothing(browser, pages) -> None:  # noqa: F811
    opened = browser.open(pages["run"], 1280, "light")
    assert opened.page.evaluate("document.querySelectorAll('[onerror], script').length") == 0
    assert EVIL in opened.page.inner_text("h1")
