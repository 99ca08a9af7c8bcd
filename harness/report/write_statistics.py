"""Everything that is shown across policies, seeds and data sets: tables, the ranks plot, sections of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.frame_statistics import StudyFrames
from harness.report.groups import Drawn, Sketch
from harness.report.page import Section
from harness.report.plot_ranks import rank_plot
from harness.report.tables import Table
from harness.report.tables_catalogue import catalogue_table
from harness.report.tables_claims import claims_by_cell_table, claims_table
from harness.report.tables_statistics import (
    area_table,
    leak_table,
    power_table,
    ranks_table,
    sizes_table,
    transfer_table,
)

_RANKS = (
    "Average rank of each policy by its mean gain over static exits; policies joined by a bar cannot be told apart "
    "with so many data sets."
)


def study_tables(frames: StudyFrames) -> list[Table]:
    """Give every table of the studies."""
    return [
        catalogue_table(frames.catalogue),
        claims_table(frames.claims),
        claims_by_cell_table(frames.claims),
        area_table(frames.area),
        ranks_table(frames.ranks),
        power_table(frames.power),
        leak_table(frames.leak),
        transfer_table(frames.transfer),
        sizes_table(frames.sizes),
    ]


def draw_ranks(ranks: pd.DataFrame, by: str) -> Sketch:
    """Draw the ranks by one quantity."""
    return Sketch(f"ranks_{by}", rank_plot(ranks, by)[0], _RANKS)


def study_sections(tables: Sequence[Table], ranks: Sequence[Drawn] = ()) -> list[Section]:
    """Give the sections of the page from what ``study_tables`` gave and the drawn ranks."""
    catalogue, claims, by_cell, area, ranked, power, leak, transfer, sizes = tables
    figures = [figure.shown for figure in ranks]
    return [
        Section("The whole catalogue", (), [catalogue]),
        Section("Claims of the papers", (), [claims]),
        Section("Ranks and areas", figures, [ranked, area]),
        Section("Leak meter", (), [leak]),
        Section("Transfer and calibration size", (), [transfer, sizes]),
        Section("Claims cell by cell, and power", (), [by_cell, power], folded=True),
    ]
