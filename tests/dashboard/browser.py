"""A headless Chromium of this machine; nothing is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, without its sandbox (which root cannot have): it opens our own pages only."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def wait_until(page: Page, expression: str, *arguments: Any, patience_s: float = 120.0) -> None:
    """Ask the page until it says yes; `wait_for_function` evaluates text, which the page's policy forbids."""
    end = time.monotonic() + patience_s
    while not page.evaluate(expression, list(arguments)):
        if time.monotonic() > end:
            raise AssertionError(f"never came true: {expression} {arguments}")
        time.sleep(0.05)


@contextmanager
def served(*runs: Path, root: Path = Path("runs")) -> Iterator[str]:
    """The address of `raysubset dashboard`, run as a user runs it."""
    command = [sys.executable, "-u", "-m", "raysubset", "dashboard", *map(str, runs), "--root", str(root)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*command, "--port", "0"], **piped)
    with process:
        try:
            said = process.stdout.readline()
            if not said.startswith("dashboard: http://"):
                process.kill()
                raise RuntimeError(f"The dashboard did not start: {said}{process.stderr.read()}")
            yield said.split()[1]
        finally:
            process.terminate()
