"""How figures look and how they are saved: one style file, one key of colours, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from harness.report.files import write_bytes
from harness.report.fonts import families

STYLE_FILE = Path(__file__).with_name("report.mplstyle")
INK = "#222222"
MUTED = "#666666"
QUIET = "#bdbdbd"
BAND = "#ececec"
HIGHLIGHT = ("max_prob", "entropy", "pabee", "pcee", "beem_c", "beem_a")


@dataclass(frozen=True, slots=True)
class Mark:
    """What one policy looks like in every figure; line and marker alone tell it apart without colour."""

    colour: str
    line: Any
    marker: str


# Okabe and Ito's colours, which stay apart for colour-blind readers; yellow is left out (too pale for lines).
_MARKS = (
    Mark("#0072B2", "-", "o"),
    Mark("#D55E00", (0, (5, 1.6)), "s"),
    Mark("#009E73", (0, (1.2, 1.2)), "^"),
    Mark("#CC79A7", (0, (6, 1.5, 1.2, 1.5)), "D"),
    Mark("#000000", (0, (3, 1, 1, 1, 1, 1)), "v"),
    Mark("#E69F00", (0, (9, 2)), "P"),
    Mark("#56B4E9", (0, (2.5, 2.5)), "X"),
)


def policy_marks(highlight: tuple[str, ...] = HIGHLIGHT) -> dict[str, Mark]:
    """Give each highlighted policy its mark, in order; more policies than marks start over."""
    return {name: _MARKS[position % len(_MARKS)] for position, name in enumerate(highlight)}


@contextmanager
def styled() -> Iterator[None]:
    """Draw under the style of the report, whatever the user's own settings are, and leave those as they were."""
    with mpl.rc_context():
        mpl.rcdefaults()
        matplotlib.style.use(STYLE_FILE)
        mpl.rcParams["font.family"] = list(families())
        yield


def new_axes(ax: Axes | None, size_inches: tuple[float, float]) -> tuple[Figure, Axes]:
    """Give the axes asked for and their figure, or new ones; no figure is registered with pyplot."""
    if ax is not None:
        figure = ax.get_figure(root=True)
        if figure is None:
            raise ValueError("these axes belong to no figure")
        return figure, ax
    figure = Figure(figsize=size_inches)
    return figure, figure.subplots()


def png_bytes(figure: Figure, dpi: int = 130) -> bytes:
    """Render a figure as PNG with a palette: no date and no program name inside, a third of the size of full colour."""
    return png_of(pixels(figure, dpi))


def png_of(image: Image.Image) -> bytes:
    """Encode a rendered figure as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def webp_of(image: Image.Image) -> bytes:
    """Encode a rendered figure as lossless WebP for the page."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="webp", lossless=True, method=4)
    return buffer.getvalue()


def pixels(figure: Figure, dpi: int) -> Image.Image:
    """Render a figure in 128 colours without dithering: few flat colours and their edges need no more."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=dpi)
    return Image.open(buffer).convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)


def pdf_bytes(figure: Figure) -> bytes:
    """Render a figure as PDF with its text as text; no date and no program name inside."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return buffer.getvalue()


def save(figure: Figure, path: Path, *, dpi: int = 130) -> list[Path]:
    """Write ``<path>.png`` and ``<path>.pdf`` and give both paths; the same figure gives the same bytes."""
    # with_suffix would take the seed of a cell id for a suffix
    png = write_bytes(path.parent / f"{path.name}.png", png_bytes(figure, dpi))
    with without_layout(figure):
        pdf = write_bytes(path.parent / f"{path.name}.pdf", pdf_bytes(figure))
    return [png, pdf]


@contextmanager
def without_layout(figure: Figure) -> Iterator[None]:
    """Leave everything in the place where it was drawn last; placing it again would cost a second."""
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    yield
    figure.set_layout_engine(layout)
