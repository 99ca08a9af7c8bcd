"""How figures look and how they are saved: one style file, one key of colours, the same bytes every time."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from numpy.typing import NDArray
from PIL import Image

from harness.report.files import write_bytes

STYLE_FILE = Path(__file__).with_name("report.mplstyle")
INK = "#222222"
MUTED = "#666666"
QUIET = "#bdbdbd"
BAND = "#ececec"
_COLOURS = 128
_WHITE = np.uint32(0xFFFFFFFF)
_SHIFTS = (0, 8, 16) if sys.byteorder == "little" else (24, 16, 8)
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
    with mpl.rc_context(_settings()):
        yield


@cache
def _settings() -> mpl.RcParams:
    """Give every setting of the style; the file is read once, since figures ask many times."""
    with mpl.rc_context():
        mpl.rcdefaults()
        matplotlib.style.use(STYLE_FILE)
        return mpl.rcParams.copy()


class Edges(NamedTuple):
    """Room around the axes of a figure, inches."""

    left: float
    right: float
    bottom: float
    top: float


def still_figure(size_inches: tuple[float, float], edges: Edges, *, wspace: float = 0.2, hspace: float = 0.2) -> Figure:
    """Give a figure whose axes have their places beforehand; searching for them is a third of the time of drawing."""
    width, height = size_inches
    # without any engine, saving would bring the style's own in
    still = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=False)
    figure = Figure(figsize=size_inches, layout=still)
    figure.subplots_adjust(
        left=edges.left / width,
        right=1 - edges.right / width,
        bottom=edges.bottom / height,
        top=1 - edges.top / height,
        wspace=wspace,
        hspace=hspace,
    )
    return figure


def outer_scales(panels: Sequence[Axes], n_columns: int, lines_at: Sequence[float]) -> None:
    """Leave the scales of small panels that share them to the first column and to the lowest panel of each column.

    Ticks are what takes longest to draw of a small panel; those without a scale get plain lines at some heights.
    """
    colour, width = mpl.rcParams["grid.color"], mpl.rcParams["grid.linewidth"]
    for place, axes in enumerate(panels):
        if place + n_columns < len(panels):
            axes.xaxis.set_visible(False)
        if place % n_columns:
            axes.yaxis.set_visible(False)
            for height in lines_at:
                axes.axhline(height, color=colour, linewidth=width, zorder=0.5)


def new_axes(ax: Axes | None, size_inches: tuple[float, float], edges: Edges | None = None) -> tuple[Figure, Axes]:
    """Give the axes asked for and their figure, or new ones; no figure is registered with pyplot.

    Args:
        ax: what was asked for.
        size_inches: of a new figure.
        edges: room around new axes; None: it is searched for.
    """
    if ax is not None:
        figure = ax.get_figure(root=True)
        if figure is None:
            raise ValueError("these axes belong to no figure")
        return figure, ax
    figure = Figure(figsize=size_inches) if edges is None else still_figure(size_inches, edges)
    return figure, figure.subplots()


def pixels(figure: Figure, dpi: int) -> Image.Image:
    """Render a figure in 128 colours without dithering: few flat colours and their edges need no more.

    The layout is solved and drawn in one go, where ``savefig`` would draw twice and pack full colours in between.
    """
    before = figure.dpi
    figure.set_dpi(dpi)
    with styled():
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
    figure.set_dpi(before)
    return _few_colours(np.asarray(canvas.buffer_rgba()))


def _few_colours(rgba: NDArray[np.uint8]) -> Image.Image:
    """Reduce opaque pixels [h, w, 4] to a palette; white, which is most of a figure, is kept and not searched.

    The palette covers all colours there are, so that the only square of a colour, in a legend, keeps it; it is then
    moved to where the pixels are, of which a colour counts with the root of its number. Colours of equal upper six
    bits go together, the one that came last for all.
    """
    packed = rgba.view(np.uint32)[..., 0]
    inked = packed != _WHITE
    inked[0, 0] |= not inked.any()  # so that an empty figure has a colour too
    drawn = packed[inked]
    red, green, blue = ((drawn >> np.uint32(shift)) & np.uint32(0xFC) for shift in _SHIFTS)
    bins = ((red << np.uint32(10)) | (green << np.uint32(4)) | (blue >> np.uint32(2))).astype(np.int64)
    counts = np.bincount(bins, minlength=1 << 18)
    colour_of = np.zeros(1 << 18, np.uint32)
    colour_of[bins] = drawn
    used = np.flatnonzero(counts)
    weights = np.ceil(np.sqrt(counts[used])).astype(np.int64)
    weighed = np.repeat(colour_of[used], weights).view(np.uint8).reshape(1, -1, 4)
    few = Image.fromarray(weighed[..., :3].copy()).quantize(
        _COLOURS - 1, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
    )
    palette = few.getpalette() or []
    index_of = np.zeros(1 << 18, np.uint8)
    index_of[used] = np.asarray(few)[0][np.cumsum(weights) - 1]
    indices = np.full(inked.shape, len(palette) // 3, dtype=np.uint8)
    indices[inked] = index_of[bins]
    image = Image.fromarray(indices)
    image.putpalette([*palette, 255, 255, 255])
    return image


def png_of(image: Image.Image) -> bytes:
    """Encode a rendered figure as PNG: no date and no program name inside, a third of the size of full colour."""
    buffer = io.BytesIO()
    image.save(buffer, format="png", compress_level=8)  # 9 takes twice as long for 2 % less
    return buffer.getvalue()


def pdf_bytes(figure: Figure) -> bytes:
    """Render a figure as PDF with its text as text, everything in the place where it was drawn last; no date inside."""
    buffer = io.BytesIO()
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")  # solving it again would cost as much as the drawing
    with styled():
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    figure.set_layout_engine(layout)
    return buffer.getvalue()


def png_bytes(figure: Figure, dpi: int = 130) -> bytes:
    """Render a figure as PNG."""
    return png_of(pixels(figure, dpi))


def save(figure: Figure, path: Path, *, dpi: int = 130, pdf: bool = False) -> list[Path]:
    """Write ``<path>.png``, and ``<path>.pdf`` if asked, and give the paths; the same figure gives the same bytes."""
    # with_suffix would take the seed of a cell id for a suffix
    paths = [write_bytes(path.parent / f"{path.name}.png", png_bytes(figure, dpi))]
    if pdf:
        paths.append(write_bytes(path.parent / f"{path.name}.pdf", pdf_bytes(figure)))
    return paths
