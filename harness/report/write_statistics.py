"""Everything that is shown across policies, seeds and data sets: tables, the ranks plot, sections of the page."""

from __future__ import annotations

from pathlib import Path

from harness.report.frame_statistics import StudyFrames
from harness.report.page import Section, page_figure
from harness.report.plot_ranks import rank_plot
from harness.report.style import save
from harness.report.tables import Table, write_table
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

_DPI = 130
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


def write_study_tables(frames: StudyFrames, folder: Path) -> list[Path]:
    """Write every table as CSV, Markdown and LaTeX and give the paths."""
    return [path for table in study_tables(frames) for path in write_table(table, folder)]


def write_study_plots(frames: StudyFrames, folder: Path) -> list[Path]:
    """Draw the ranks, if there are any, and give the paths."""
    ranked = list(dict.fromkeys(frames.ranks["by"]))
    return [path for by in ranked for path in save(rank_plot(frames.ranks, by)[0], folder / f"ranks_{by}", dpi=_DPI)]


def study_sections(frames: StudyFrames) -> list[Section]:
    """Give the sections of the page."""
    catalogue, claims, by_cell, area, ranks, power, leak, transfer, sizes = study_tables(frames)
    figures = [page_figure(rank_plot(frames.ranks)[0], _RANKS)] if len(frames.ranks) else []
    return [
        Section("The whole catalogue", (), [catalogue]),
        Section("Claims of the papers", (), [claims]),
        Section("Ranks and areas", figures, [ranks, area]),
        Section("Leak meter", (), [leak]),
        Section("Transfer and calibration size", (), [transfer, sizes]),
        Section("Claims cell by cell, and power", (), [by_cell, power], folded=True),
    ]
