"""What a page is put together from, whatever it is about, and how it becomes HTML.

All pages share one template (``report.html.j2``), one style sheet and one set of macros. What is shown is text:
names that users gave are escaped by the template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from raysubset.report.gallery import Gallery
from raysubset.report.headline import Headline
from raysubset.report.svg import Picture
from raysubset.report.tables import Table

TEMPLATE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class Part:
    """A chapter of a page: sentences, then figures, galleries, tables.

    Attributes:
        title: Its heading.
        paragraphs: How to read it.
        pictures, galleries, tables: What it shows.
        small: Whether several pictures fit side by side.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    tables: tuple[Table, ...] = ()
    small: bool = False

    @property
    def shows(self) -> bool:
        """True if there is more than its heading and how to read it."""
        return bool(self.pictures or self.galleries or self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole page.

    Attributes:
        title, subtitle: What it is about.
        notices: (heading, text) of what a reader must know before the result, e.g. that the run is unfinished.
        headline: The result, what speaks against it, what was not measured.
        facts: (label, value), at a glance.
        parts: The chapters, in reading order.
        command: That repeats it.
        exact: (heading, text) of what must be shown to the last letter.
        settings: The exact configuration.
    """

    title: str
    subtitle: str
    notices: tuple[tuple[str, str], ...]
    headline: Headline
    facts: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    command: str
    exact: tuple[tuple[str, str], ...] = ()
    settings: tuple[Table, ...] = ()


def render_page(page: Page) -> str:
    """Return the page as one HTML document; equal pages give equal bytes."""
    return render_template(TEMPLATE, page=page)


def render_template(name: str, **context: Any) -> str:
    """Fill a template of this package; every value is escaped, and a name that is not given is an error."""
    environment = Environment(
        loader=PackageLoader("raysubset.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**context)
