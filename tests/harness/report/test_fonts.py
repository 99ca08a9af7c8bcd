import io
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from harness.report.fonts import CHARACTERS, CUT, FAMILY, STYLES, cut, families
from harness.report.style import new_axes, pdf_bytes, styled

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def plain():
    return (FONTS / f"{STYLES[0]}.ttf").read_bytes()


def titled(text):
    with styled():
        figure, ax = new_axes(None, (3, 2))
        ax.set_title(text, loc="left")
    return figure


def test_cut_font_keeps_the_shapes_and_widths_of_its_characters(plain):
    before, after = TTFont(io.BytesIO(plain)), TTFont(io.BytesIO(cut(plain)))
    kept, known = after.getBestCmap(), before.getBestCmap()
    assert set(kept) == set(CHARACTERS) & set(known)
    for character in map(ord, "Aé→−×≥αΔ★–"):
        assert after["hmtx"][kept[character]] == before["hmtx"][known[character]]
        first, second = (font["glyf"][names[character]] for font, names in ((before, known), (after, kept)))
        assert (first.xMin, first.yMin, first.xMax, first.yMax) == (second.xMin, second.yMin, second.xMax, second.yMax)


def test_the_same_font_is_cut_to_the_same_bytes(plain):
    assert cut(plain) == cut(plain)


def test_every_weight_and_slant_is_found_under_the_name():
    assert families() == (CUT, FAMILY)
    asked = [
        font_manager.FontProperties(CUT, weight=w, style=s) for w in ("normal", "bold") for s in ("normal", "oblique")
    ]
    found = [Path(font_manager.findfont(one)).name.rpartition("-")[0] for one in asked]
    assert sorted(found) == sorted(STYLES)


def test_pictures_are_those_of_the_whole_font():
    pictures = []
    for names in ([CUT], [FAMILY]):
        with styled(), mpl.rc_context({"font.family": names}):
            figure, ax = new_axes(None, (3, 2))
            ax.set_title("Accuracy × speed-up ≥ 1.5 → Δ 0.3 AVATAR", loc="left")
            buffer = io.BytesIO()
            figure.savefig(buffer, format="rgba")
        pictures.append(buffer.getvalue())
    assert pictures[0] == pictures[1]


def test_a_character_outside_comes_from_the_whole_font():
    assert ord("Ж") not in CHARACTERS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inside = pdf_bytes(titled("Ж"))
    assert b"DejaVuSans" in inside
