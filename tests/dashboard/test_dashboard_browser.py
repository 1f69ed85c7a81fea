"""The page in headless Chromium: it updates by itself, fits phone and desktop, light and dark, and can stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import chromium, chromium_path, served, wait_until
from report.synthetic import record, search_records
from watched import add, begun, begun_fit, journal, silence

from raysubset.report.driver import DRIVER_FILE, Driver, touch
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.requests import STOP_RUN, STOPPED_BY_REQUEST, StopRequest, asked, done

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium is installed (apt-get install chromium)"),
]
PATIENCE_MS = 120_000  # machines that train beside it answer late
NASTY = "<img src=x onerror=\"document.title='hit'\"><b>bold</b>"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser) -> Iterator:
    """Open an address; whatever the page complains of fails the test."""
    faults: list[str] = []
    contexts = []

    def opened(address: str, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(
            (address.split("?")[0], "data:")) else None)  # fmt: skip
        page.goto(address, wait_until="commit")
        wait_until(page, "() => performance.getEntriesByName('charts').length")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if "ERR_CONNECTION_REFUSED" not in fault] == []  # the server ends first


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = begun(tmp_path / "r", name="first")
    add(folder, search_records(trials=16))
    add(folder, [record("broken", 1, status="failed", reason="loss is not finite", val_loss=None)])
    add(folder, [record("fresh", 1)])
    return folder


def text(page, selector: str) -> str:
    return page.inner_text(selector)


def until_text(page, selector: str, pattern: str) -> None:
    said = "([where, what]) => new RegExp(what).test(document.querySelector(where)?.innerText)"
    wait_until(page, said, selector, pattern)


def test_the_page_follows_the_records_without_being_loaded_again(folder, visit) -> None:
    with served(folder) as address:
        page = visit(address)
        page.evaluate("window.mine = true")
        until_text(page, "#t-trials", r"17 of 24")
        assert re.match(r"running, last report \d+ s ago", text(page, "#live"))
        assert "fresh" in text(page, "#trials")
        assert "loss is not finite" in text(page, "#failures")
        assert page.locator("#best .scatterlayer .trace").count() == 1
        assert page.locator("#choices .barlayer .trace").count() >= 2
        add(folder, [record("best", 9, epochs=9, val_loss=0.0001, status="done", samples_consumed=4321)])
        until_text(page, "#t-best", r"0\.0001000\s+validation loss, trial best at epoch 9")
        until_text(page, "#trials tbody tr:first-child", r"^best\s")
        assert page.evaluate("window.mine")
        with (folder / RECORDS_FILE).open("a") as file:
            file.write(record("later", 1).to_json()[:50])
        journal(folder, [{"event": "start", "trial": "begun", "bracket": 0, "point": {"lr": 0.5}}])
        until_text(page, "#trials", r"begun")
        assert "later" not in text(page, "#trials")
        Driver.read(folder).over().write(folder)
        until_text(page, "#live", r"^ended before its end, can be resumed$")
        assert page.locator("#stop-run").is_hidden()
        assert page.locator("button.small").count() == 0


def test_a_trial_and_the_search_are_stopped_after_a_question(folder, visit) -> None:
    with served(folder) as address:
        page = visit(address)
        page.click("[aria-label='Stop trial fresh']")
        assert "Stop trial fresh of search?" in text(page, "dialog")
        page.keyboard.press("Escape")
        page.click("[aria-label='Stop trial fresh']")
        page.click("#confirm-no")
        assert asked(folder) == frozenset(), "who says no has asked for nothing"
        page.click("[aria-label='Stop trial fresh']")
        page.click("#confirm-yes")
        until_text(page, "#trials", "stopping")
        assert asked(folder) == {StopRequest("search", "fresh")}
        add(folder, [record("fresh", 2, status="stopped", reason=STOPPED_BY_REQUEST)])
        done(folder, StopRequest("search", "fresh"))
        until_text(page, "#trials", STOPPED_BY_REQUEST)
        page.focus("#stop-run")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        until_text(page, "#stop-run", "Stopping")
        assert asked(folder) == {STOP_RUN}
        assert page.locator("#stop-run").is_disabled()


def test_what_is_stopped_is_what_was_asked_for_though_the_next_stage_has_begun(folder, visit) -> None:
    with served(folder) as address:
        page = visit(address)
        page.click("[aria-label='Stop trial fresh']")
        add(folder, [record("fresh", 1, stage="search-full"), record("shown", 1, stage="search-full")])
        until_text(page, "#trials", "shown")
        with page.expect_response("**/api/stop") as answer:
            page.click("#confirm-yes")
        assert answer.value.ok
        assert asked(folder) == {StopRequest("search", "fresh")}


def test_names_with_markup_are_shown_as_they_are(tmp_path, visit) -> None:
    folder = begun(tmp_path / "r", name=NASTY, dataset_note=NASTY)
    add(folder, [record(NASTY, epoch, config={NASTY: NASTY}, metric_used=NASTY) for epoch in (1, 2)])
    add(folder, [record("x", 1, stage=NASTY, status="failed", reason=NASTY, config={})])
    with served(folder) as address:
        page = visit(address)
        until_text(page, "#failures", "<b>bold</b>")
        page.select_option("#stage", index=1)
        until_text(page, "#trials", "<b>bold</b>")
        assert text(page, "#name") == NASTY
        assert page.locator("main img, main b").count() == 0
        page.hover("#curves .nsewdrag")
        assert page.evaluate("document.title") != "hit"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_and_all_text_can_be_read(folder, visit, width, scheme) -> None:
    with served(folder, begun(folder.parent / "second", name="second")) as address:
        page = visit(address, width, scheme)
        until_text(page, "#trials", "fresh")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRASTS) == []
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, select, input, [role=progressbar], .chart[role=img]')]"
            ".filter((one) => one.checkVisibility() && !one.ariaLabel && !one.innerText && !one.labels?.length)"
            ".map((one) => one.outerHTML)"
        )
        assert unnamed == []


# Text whose colour stands out from what is behind it by less than WCAG's 4.5 to 1.
CONTRASTS = """() => {
  const light = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (one) => { for (let at = one; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor; if (!/, 0\\)$/.test(colour)) return colour; }
    return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("main *")].filter((one) => one.checkVisibility() && !one.disabled &&
      !one.closest("svg") && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((one) => { const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort().reverse();
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 80)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_fit_is_followed_stage_by_stage(tmp_path, visit, width) -> None:
    progress = begun_fit(tmp_path / "fit")
    progress.stage("features", 1, done=1, seconds=3.0)
    progress.stage("encoder", 1, done=1, seconds=20.0)
    progress.stage("supervisors", 40, done=37, seconds=370.0)
    with served(progress.folder) as address:
        page = visit(address, width)
        page.evaluate("window.mine = true")
        until_text(page, "#t-cells", r"37 of 40")
        progress.piece("supervisors", NASTY, 12.0, 0.61)
        until_text(page, "#fit", r"38 of 40[\s\S]*<b>bold</b>: 61\.0 %")
        assert text(page, "#t-stages").split()[1:4] == ["2", "of", "5"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRASTS) == []
        for empty in ("#trials-section", "#failures-section", "#curves-figure", "#choices-figure", "#rungs-card"):
            assert page.locator(empty).is_hidden()
        progress.failed("NonFiniteLossError: The network of supervisor c diverged.")
        Driver.read(progress.folder).over().write(progress.folder)
        until_text(page, "#fit", r"failed[\s\S]*supervisor c diverged")
        until_text(page, "#live", r"^ended before its end, can be resumed$")
        assert text(page, "#t-failed").split()[1] == "1"
        assert page.locator("#stop-run").is_hidden()
        assert page.evaluate("window.mine")


def test_runs_stand_side_by_side(folder, visit) -> None:
    second = begun(folder.parent / "second", name="second")
    add(second, [replace(row, val_loss=None if row.val_loss is None else row.val_loss / 2)
                 for row in search_records(trials=5, seed=1)])  # fmt: skip
    with served(folder, second) as address:
        page = visit(address)
        until_text(page, "#runs", r"first\s[\s\S]*second\s")
        assert page.locator("#overlay .scatterlayer .trace").count() == 2
        page.click("#runs a >> text=second")
        page.wait_for_url("**/?run=1")
        until_text(page, "#t-trials", "5 of 24")
        assert page.locator("#runs tr.here").inner_text().startswith("second")


def test_trials_are_found_among_many(folder, visit) -> None:
    add(folder, [record(f"t{number:05d}", 1, status="done", val_loss=2.0 + number) for number in range(3000)])
    with served(folder) as address:
        page = visit(address)
        until_text(page, "#page-of", r"1 to 50 of 3,018 trials")
        page.click("#after")
        until_text(page, "#page-of", r"51 to 100")
        page.fill("#text", "t02999")
        until_text(page, "#page-of", r"1 to 1 of 1 trial$")
        page.fill("#text", "")
        page.select_option("#status", "failed")
        until_text(page, "#page-of", r"of 1 trial$")
        page.select_option("#status", "")
        page.select_option("#order", "new")
        until_text(page, "#trials tbody tr:first-child", r"^t02999")


def test_a_server_that_is_gone_is_said(folder, visit, browser) -> None:
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    with served(folder) as address:
        page.goto(address, wait_until="commit")
        until_text(page, "#trials", "fresh")
    until_text(page, "#offline", "does not answer")
    assert "fresh" in text(page, "#trials")


def test_a_driver_that_was_killed_is_said(folder, visit) -> None:
    with served(folder) as address:
        page = visit(address)
        silence(folder, 100)
        until_text(page, "#live", r"its driver is gone without a word")
        touch(folder)
        assert (folder / DRIVER_FILE).exists()
        until_text(page, "#live", "^running")


@pytest.mark.ray
def test_a_real_search_is_followed_and_stopped(tmp_path, visit) -> None:
    command = [sys.executable, "-m", "raysubset", "hpo", "--data", "embedded", "--limit", "600", "--model", "mlp"]
    options = [
        "--trials",
        "100",
        "--epochs",
        "300",
        "--scheduler",
        "none",
        "--search",
        "random",
        "--concurrency",
        "2",
    ]
    where = ["--name", "real", "--root", str(tmp_path)]
    log = tmp_path / "log"
    with log.open("w") as output:
        search = subprocess.Popen([*command, *options, *where], stdout=output, stderr=output)
    run = tmp_path / "real"
    try:
        end = time.monotonic() + PATIENCE_MS / 1e3 * 5
        while not (run / RECORDS_FILE).exists():
            assert search.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        with served(run) as address:
            page = visit(address)
            until_text(page, "#live", "^running")
            until_text(page, "#trials", r"0001\s")
            before = text(page, "#t-samples")
            button = page.locator("[aria-label^='Stop trial']").first  # of one that runs now, whichever it is
            trial = button.get_attribute("aria-label").split()[-1]
            page.click(f"[aria-label='Stop trial {trial}']")
            page.click("#confirm-yes")
            until_text(page, "#trials", STOPPED_BY_REQUEST)
            assert text(page, "#t-samples") != before, "the page went on without being loaded again"
            page.click("#stop-run")
            page.click("#confirm-yes")
            until_text(page, "#live", "ended before its end, can be resumed")
        assert search.wait(600) == 130
    finally:
        search.send_signal(signal.SIGKILL)
        search.wait()
    assert "stopped by request" in log.read_text()
    last = {row.trial: row for row in read_records(run / RECORDS_FILE).stage("search")}
    assert (last[trial].status, last[trial].reason) == ("stopped", STOPPED_BY_REQUEST)
