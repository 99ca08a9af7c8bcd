"""Tables and figures of images and sounds, and of LEENet's sweep, with the sections of the page that show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from harness.report.frame import Rows
from harness.report.frame_media import MediaFrames
from harness.report.groups import Drawn, Sketch
from harness.report.page import Section
from harness.report.plot_alpha import alpha_sweep
from harness.report.plot_contact_sheet import contact_sheet
from harness.report.plot_depth import exit_depth
from harness.report.tables import Table
from harness.report.tables_media import alpha_table, depth_table, kind_tables

KINDS, DEPTH, ALPHA = "Vision and audio", "Exit depth by class", "LEENet: what alpha does"
_DEPTH = (
    "Where samples leave under normalized_entropy, whose threshold is the fastest that loses nothing on calibration. "
    "Left: each class, easiest on top, the samples in brackets; right of its bar the mean exit and the accuracy. "
    "Right: how often those that leave at an exit are right there, and how often the final exit is on the same ones."
)
_ALPHA = (
    "Gates trained at each alpha on cached features, judged on test. Left: accuracy, mean exit and speed-up (band: "
    "95 %); dotted: what the gates expect under soft exits. Right: each dot is one alpha, lines are the exact curves "
    "of other policies on the same samples; a dot below a line is worse at equal depth."
)

_SHEET = (
    "Test images by the exit they left at. Blue: right; orange: wrong, with the answer, below it the true class and "
    "what the last exit says. The policy stands above: LEENet's gates at the alpha at which calibration samples spread "
    "widest over the exits, else (without features, or where all leave at one exit) normalized_entropy without a loss "
    "on calibration."
)


def media_tables(frames: MediaFrames) -> dict[str, list[Table]]:
    """Give the tables by the section of the page that shows them; a section with nothing is left out."""
    found: dict[str, list[Table]] = {KINDS: kind_tables(frames.images, frames.sounds)}
    if len(frames.depths):
        found[DEPTH] = [depth_table(frames.depths)]
    if len(frames.alpha):
        found[ALPHA] = [alpha_table(frames.alpha, frames.alpha_verdicts)]
    return {title: tables for title, tables in found.items() if tables}


def media_figures(frames: MediaFrames) -> list[Callable[[], Sketch]]:
    """Give what draws each figure; the work is done where it is called."""
    tasks: list[Callable[[], Sketch]] = []
    for backbone, dataset in _places(frames.depths):
        mine = [_of(rows, backbone, dataset) for rows in (frames.depths, frames.depth_exits)]
        tasks.append(partial(draw_depth, mine[0], mine[1], f"{backbone}.{dataset}"))
    for backbone, dataset in _places(frames.alpha):
        mine = [_of(rows, backbone, dataset) for rows in (frames.alpha, frames.alpha_curves)]
        tasks.append(partial(draw_alpha, mine[0], mine[1], f"{backbone}.{dataset}"))
    return tasks


def draw_depth(depths: pd.DataFrame, exits: pd.DataFrame, name: str) -> Sketch:
    """Draw the depth of exits of one network and data set."""
    return Sketch(f"exit_depth_{name}", exit_depth(depths, exits, name)[0], f"{name}. {_DEPTH}")


def draw_alpha(rows: pd.DataFrame, curves: pd.DataFrame, name: str) -> Sketch:
    """Draw the sweep of one network and data set."""
    return Sketch(f"leenet_alpha_{name}", alpha_sweep(rows, curves, name)[0], f"{name}. {_ALPHA}")


def draw_sheet(rows: Rows, pixels: Mapping[int, np.ndarray], name: str) -> Sketch:
    """Draw the contact sheet of one network and data set."""
    return Sketch(f"contact_sheet_{name}", contact_sheet(rows, pixels, name)[0], f"{name}. {_SHEET}")


def media_sections(tables: Mapping[str, list[Table]], figures: Mapping[str, Drawn]) -> list[Section]:
    """Give the sections of the page: figures open, long tables folded."""
    begins = {DEPTH: ("exit_depth_", "contact_sheet_"), ALPHA: ("leenet_alpha_",)}
    sections = []
    for title, mine in tables.items():
        shown = [figure.shown for name, figure in figures.items() if name.startswith(begins.get(title, ("-",)))]
        sections.append(Section(title, shown, mine, folded=True))
    return sections


def _places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(frame["backbone"], frame["dataset"], strict=True)))


def _of(rows: pd.DataFrame, backbone: str, dataset: str) -> pd.DataFrame:
    return rows[(rows["backbone"] == backbone) & (rows["dataset"] == dataset)].reset_index(drop=True)
