"""The fonts of the figures, cut down to the characters that a report can need.

A PDF carries the glyphs it shows. Picking them out of matplotlib's own fonts of some 6,000 glyphs each takes as long as
drawing the figure, out of these a tenth: they are cut once and kept in matplotlib's own cache folder.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import matplotlib as mpl
from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from harness.report.files import write_bytes

FAMILY = "DejaVu Sans"
CUT = f"{FAMILY} Cut"
STYLES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
# Latin, Greek and what stands in formulas and legends; for any other character the whole font is asked.
CHARACTERS = (
    *range(0x20, 0x180), *range(0x370, 0x400), *range(0x2000, 0x2070), *range(0x2070, 0x20A0), *range(0x2190, 0x2200),
    *range(0x2200, 0x2300), *range(0x25A0, 0x2780),
)  # fmt: skip
_FAMILY_NAMES = (1, 16)
_WINDOWS = (3, 1, 0x409)


@cache
def families() -> tuple[str, ...]:
    """Give the families to ask in order, with the cut fonts made known to matplotlib."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for style in STYLES:
        whole = (folder / f"{style}.ttf").read_bytes()
        key = hashlib.sha256(whole + repr((CUT, CHARACTERS)).encode()).hexdigest()[:16]
        path = Path(mpl.get_cachedir()) / "early-exit-harness" / f"{style}-{key}.ttf"
        if not path.is_file():
            write_bytes(path, cut(whole))
        font_manager.fontManager.addfont(path)
    return (CUT, FAMILY)


def cut(font: bytes) -> bytes:
    """Give the font with the characters above alone and under the name of the cut family; no date inside.

    Args:
        font: A whole TrueType file.
    """
    options = subset.Options(layout_features=[], legacy_kern=True, notdef_outline=True, glyph_names=True)
    options.drop_tables += ["FFTM"]  # dates of the font's own editor
    with TTFont(io.BytesIO(font), recalcTimestamp=False) as opened:
        picked = subset.Subsetter(options)
        picked.populate(unicodes=CHARACTERS)
        picked.subset(opened)
        for name_id in _FAMILY_NAMES:
            opened["name"].setName(CUT, name_id, *_WINDOWS)
        opened["name"].names = [one for one in opened["name"].names if one.platformID == _WINDOWS[0]]
        buffer = io.BytesIO()
        opened.save(buffer, reorderTables=False)
    return buffer.getvalue()
