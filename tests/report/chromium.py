"""A real Chromium, headless, for pages: what only a browser knows (errors, boxes, colours as computed)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COLOUR = r"""
(() => {
  const read = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(read(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => { const s = c / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || ['STYLE', 'TITLE', 'METADATA'].includes(node.tagName.toUpperCase())) continue;
    const style = getComputedStyle(node), svg = node.closest('svg');
    const colour = read(svg ? style.fill : style.color), below = ground(svg ? svg.parentElement : node);
    const [a, b] = [light(over(colour, below)), light(below)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.slice(0, 60), node.tagName]);
  }
  return found;
})()
"""  # noqa: E501


@dataclass
class Opened:
    """A page as a browser shows it; ``troubles`` are errors and refused requests."""

    page: Any
    troubles: list[str]

    def overflow(self) -> int:
        """Pixels that the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def boxes(self, selector: str) -> list[tuple[float, float]]:
        """Width and height of every element."""
        script = f"[...document.querySelectorAll({selector!r})].map(e => e.getBoundingClientRect())"
        return [(box["width"], box["height"]) for box in self.page.evaluate(script)]

    def contrasts(self) -> list[tuple[float, str, str]]:
        """WCAG contrast of every text with what lies below it, the text, and its element."""
        return [tuple(one) for one in self.page.evaluate(COLOUR)]


class Browser:
    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    def open(self, path: Path, width: int, scheme: str) -> Opened:
        page = self._chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        troubles: list[str] = []
        page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda asked: troubles.append(f"request failed: {asked.url[:80]}"))
        page.on("request", lambda asked: troubles.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(path.resolve().as_uri())
        return Opened(page, troubles)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; skipped, saying what is missing, where it or playwright is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as tools:
        chromium = tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Browser(chromium)
        chromium.close()
