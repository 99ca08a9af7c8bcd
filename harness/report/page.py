"""One self-contained page: figures inside, tables inside, nothing fetched, readable without a script."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from harness.report.display import DASH
from harness.report.tables import CODE_COLUMNS, ConsoleTable, Table

TEMPLATE_FILE = Path(__file__).with_name("page.html.jinja")
_CSS_PIXELS_PER_INCH = 96


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure ready for the page: what it shows in words, its bytes as a data address, its size in CSS pixels."""

    caption: str
    address: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a heading, what it shows, and the tables below; folded tables open at a click."""

    title: str
    figures: Sequence[PageFigure] = ()
    tables: Sequence[Table] = ()
    folded: bool = False

    @property
    def anchor(self) -> str:
        """The name of the section inside the page."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title)


def page_figure(figure: Figure, caption: str, png: bytes) -> PageFigure:
    """Make a figure, rendered as PNG, ready for the page."""
    width, height = figure.get_size_inches() * _CSS_PIXELS_PER_INCH
    address = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return PageFigure(caption, address, round(float(width)), round(float(height)))


def render_page(
    sections: Sequence[Section],
    headline: ConsoleTable,
    manifest: Mapping[str, object],
    *,
    title: str,
    headline_figures: Sequence[PageFigure] = (),
) -> str:
    """Give the page as HTML text; everything that comes from outside is escaped.

    Args:
        sections: The parts, in order.
        headline: The short summary, shown first.
        manifest: What the run was made with; nested mappings are flattened to dotted names.
        title: Heading of the page.
        headline_figures: What is shown above the summary.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE_FILE.read_text(encoding="utf-8"))
    return template.render(
        title=title,
        sections=sections,
        headline=headline,
        headline_figures=headline_figures,
        starts=frozenset(headline.section_starts),
        manifest=list(flatten(manifest)),
        code_columns=CODE_COLUMNS,
        dash=DASH,
    )


def flatten(manifest: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give the entries of nested mappings as (dotted name, text), sorted by name; undefined is a dash."""
    for name in sorted(manifest):
        value = manifest[name]
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or DASH
        else:
            yield f"{prefix}{name}", DASH if value is None or value == "" else str(value)
