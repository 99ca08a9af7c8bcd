import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from harness.report.page import PageFigure, Section, flatten, page_figure, render_page
from harness.report.style import png_bytes
from harness.report.tables import console_table, group_table, summary_table


class Outline(HTMLParser):
    """Collect what a browser would fetch, and whether every element is closed."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self):
        super().__init__()
        self.fetched, self.open, self.ids, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.fetched += [attributes[name] for name in ("src", "srcset", "data") if name in attributes]
        self.fetched += [attributes["href"]] if tag == "link" else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page(frames, skipped):
    rows = [*frames.results.to_dict("records"), {**skipped, "reason": "<b>no</b> & 'weights'"}]
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    sections = [
        Section(
            "cnn6.digits",
            [page_figure(figure, 'a "quoted" <caption>', png_bytes(figure))],
            [group_table(rows, "cnn6.digits")],
        ),
        Section("All rows", (), [summary_table(rows)], folded=True),
    ]
    return render_page(sections, console_table(rows), {"commit": "<script>", "packages": {"torch": "2"}}, title="A & B")


def test_the_page_fetches_nothing_and_is_well_formed(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.fetched
    assert all(address.startswith("data:image/png;base64,") for address in outline.fetched)
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page
    assert not re.search(r"@import|url\(", page)
    assert {link.removeprefix("#") for link in outline.links} == set(outline.ids)


def test_what_comes_from_outside_is_escaped(page):
    assert "<b>no</b>" not in page
    assert "&lt;b&gt;no&lt;/b&gt; &amp; &#39;weights&#39;" in page
    assert "<td>&lt;script&gt;</td>" in page
    assert 'alt="a &#34;quoted&#34; &lt;caption&gt;"' in page
    assert "<title>A &amp; B</title>" in page


def test_the_page_says_what_the_tables_say(page):
    assert page.count("skipped: ") == 2
    assert "<b>" in page
    assert "93." in page
    assert "width=device-width" in page
    assert "packages.torch" in page


def test_anchor_and_figure_size():
    assert Section("cnn6.digits").anchor == "cnn6-digits"
    assert PageFigure("c", "data:", 1, 2).caption == "c"

    def empty():
        figure = Figure(figsize=(2, 1))
        return figure, "empty", png_bytes(figure)

    made = page_figure(*empty())
    assert (made.width, made.height) == (192, 96)
    assert made == page_figure(*empty())


def test_manifest_is_flattened_in_order_and_undefined_is_a_dash():
    manifest = {"b": {"y": None, "x": 1}, "a": [1, 2], "c": (), "d": False}
    assert list(flatten(manifest)) == [("a", "1, 2"), ("b.x", "1"), ("b.y", "–"), ("c", "–"), ("d", "False")]
