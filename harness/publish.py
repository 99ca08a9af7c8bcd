"""Tables, plots and the page, from the caches and the live results alone; the same inputs give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import PROTOCOL_VERSION, __version__
from harness.cells.plan import CellStatus
from harness.console import Console
from harness.contact_sheets import sheet_rows, thumbnails
from harness.errors import UserError, missing_extra
from harness.evaluate import Evaluation
from harness.frames import Frames, Measured
from harness.live_frames import live_rows
from harness.live_results import LiveFile, read_live
from harness.media import MediaPart, join_media, sheets_of
from harness.papers import PaperPart, join_papers
from harness.parts import CellTask, Part, Worked, work_out
from harness.plans import chosen_cells
from harness.studies import join
from harness.subjects import Row, group_of, open_subject
from harness.transfer import Journey, donors_of, travel
from harness.workers import Failed, Workers, call, finished

if TYPE_CHECKING:
    from harness.report.groups import Frames as ReportFrames


_ROWS_SHOWN = 100  # in the terminal; laying out thousands took longer than drawing the figures


def evaluate_cell(entry: CellStatus) -> Evaluation:
    """Replay and judge one cached cell.

    Raises:
        UserError: the cache is damaged.
    """
    return open_subject(entry).evaluation


def publish(
    out: Path,
    *,
    only: str | None = None,
    console: Console,
    known: Mapping[str, Evaluation] | None = None,
    for_print: bool = False,
) -> dict[str, Any]:
    """Write everything a reader sees.

    Args:
        out: the results folder.
        only: pattern on the cell id; the tables then hold those cells alone.
        console: for progress and the summary.
        known: evaluations that were made already.
        for_print: write every figure as PDF and every table as LaTeX too.

    Returns:
        The files written, and how many cells they show.
    """
    try:
        import matplotlib as _matplotlib  # noqa: F401 - asked for before work is done
        import pandas as _pandas  # noqa: F401
        import tabulate as _tabulate  # noqa: F401
    except ImportError as error:
        raise missing_extra("report", error.name or "pandas") from error
    with Workers(console) as workers:
        return _published(out, only, console, known or {}, workers, for_print=for_print)


def _published(
    out: Path,
    only: str | None,
    console: Console,
    known: Mapping[str, Evaluation],
    workers: Workers,
    *,
    for_print: bool = False,
) -> dict[str, Any]:
    from harness.report.frame_live import check_live
    from harness.report.frame_media import check_media
    from harness.report.frame_papers import check_papers
    from harness.report.frame_statistics import check_studies
    from harness.report.groups import Sketch, rows_of_groups, show_figure, show_group
    from harness.report.tables import console_table
    from harness.report.write import (
        draw_overview,
        draw_time,
        first_cells,
        whole_tables,
        write_page,
        write_plots,
        write_tables,
    )
    from harness.report.write_live import live_figures, live_sections, live_tables
    from harness.report.write_media import draw_sheet, media_figures, media_sections, media_tables
    from harness.report.write_papers import paper_figures, paper_sections, paper_tables, with_paper_figures
    from harness.report.write_statistics import draw_ranks, study_sections, study_tables

    cells = chosen_cells(out, only=only)
    measured = read_live(out)
    worked = _worked_out(cells, measured, known, workers)
    rows = worked.rows
    if not rows.exits:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    # what other processes do goes on while this one joins the cells
    transferred = _transfer(worked.travelling, worked.parts, workers)
    frames = _frames(rows)
    variants = {entry.cell.backbone for entry in cells if entry.cell.variant_of is not None}
    of_groups = [partial(show_group, group, pdf=for_print) for group in rows_of_groups(frames, variants)]
    shown_groups = workers.begin(call, of_groups, name="figures of cells", unit="cell")
    papers, media, sheets = join_papers(worked.papers, cells), join_media(worked.media), sheets_of(worked.media)
    studied = join(worked.parts, [row for some in finished(transferred()) for row in some])
    studies = check_studies({name.name: getattr(studied, name.name) for name in fields(studied)})
    paper = check_papers({name.name: getattr(papers, name.name) for name in fields(papers)})
    seen = check_media({name.name: getattr(media, name.name) for name in fields(media)})
    timings = live_rows(out, {row["cell"] for row in rows.exits})
    timed = check_live({name.name: getattr(timings, name.name) for name in fields(timings)})
    sketches: list[Callable[[], Sketch | None]] = [
        partial(draw_overview, frames.of(first_cells(frames, variants))),
        partial(draw_time, frames.results),
        *(partial(draw_ranks, studies.ranks, by) for by in dict.fromkeys(studies.ranks["by"])),
        *paper_figures(paper),
        *media_figures(seen),
        *(
            partial(draw_sheet, sheet_rows(sheet), pixels, sheet.group)
            for sheet in sheets
            if (pixels := thumbnails(out, sheet, console.say)) is not None
        ),
        *live_figures(timed, frames.results),
    ]
    of_all = [partial(show_figure, draw, pdf=for_print) for draw in sketches]
    shown = workers.begin(call, of_all, name="other figures", unit="figure")
    whole, tables = whole_tables(frames), study_tables(studies)
    like_papers, of_media, measured_tables = paper_tables(paper), media_tables(seen), live_tables(timed)
    every = [*whole, *tables, *measured_tables]
    every += [table for some in (*like_papers.values(), *of_media.values()) for table in some]
    files = write_tables(every, out / "tables", latex=for_print)
    groups = finished(shown_groups())
    drawn = {one.name: one for one in finished(shown()) if one is not None}
    console.say("writing tables, plots and the page")
    files += write_tables([group.table for group in groups], out / "tables", latex=for_print)
    files += write_plots([*drawn.values(), *(one for group in groups for one in group.figures)], out / "plots")
    _remove_others(files)
    facts: dict[str, object] = {"harness": __version__, "protocol version": PROTOCOL_VERSION}
    if measured is not None:
        facts["timing"] = {"environment": measured.environment, **measured.facts}
    headline = console_table(frames.results)
    more = live_sections(measured_tables, drawn) + paper_sections(like_papers, drawn)
    more += media_sections(of_media, drawn)
    more += study_sections(tables, [one for name, one in drawn.items() if name == "ranks_mean_gain"])
    page = write_page(
        whole, with_paper_figures(groups, drawn), out / "report.html", facts, headline, drawn=drawn, more=more
    )
    shown_rows, rest = headline.rows[:_ROWS_SHOWN], len(headline.rows) - _ROWS_SHOWN
    console.table("Policies at their operating points, test split", headline.columns, shown_rows)
    if rest > 0:
        console.say(f"and {rest} more rows: see '{page}', or name cells with --only")
    return {
        "files": [str(path) for path in (*files, page)],
        "cells": len({row["cell"] for row in rows.exits}),
        "rows": len(rows.results),
    }


def _frames(rows: Frames) -> ReportFrames:
    import numpy as np
    import pandas as pd

    from harness.report.frame import CURVES
    from harness.report.groups import check_frames

    lengths = [len(curve["value"]) for curve in rows.curves]
    columns: dict[str, Any] = {}  # joined column by column: a frame of each curve would take seconds
    for column in CURVES.columns if rows.curves else ():
        of_curves = [curve[column.name] for curve in rows.curves]
        numbers = column.kind == "number"
        columns[column.name] = np.concatenate(of_curves) if numbers else np.repeat(np.array(of_curves, object), lengths)
    curves = pd.DataFrame(columns, columns=list(CURVES.names))
    return check_frames(rows.results, curves, rows.exits, rows.histograms)


class _WorkedOut(NamedTuple):
    """All cells, each worked out by itself.

    Attributes:
        rows: of the tables and plots of cells.
        parts: for the studies across cells, one each of ``travelling``.
        travelling: the cells that are studied.
        papers: for the tables like those of papers.
        media: for what is shown of images and sounds.
    """

    rows: Frames
    parts: list[Part]
    travelling: list[CellStatus]
    papers: list[PaperPart]
    media: list[MediaPart]


def _worked_out(
    cells: list[CellStatus], measured: LiveFile | None, known: Mapping[str, Evaluation], workers: Workers
) -> _WorkedOut:
    """Work out every cached cell, each in a process of its own; one that cannot be read becomes a visible row."""
    cached = [entry for entry in cells if entry.status == "cached"]
    deep = {group_of(entry.cell.id): entry.cell.id for entry in reversed(cached)}  # the first seed of each
    tasks = [
        CellTask(entry, _measured(id_, measured), known.get(id_), deep[group_of(id_)] == id_)
        for entry in cached
        for id_ in [entry.cell.id]
    ]
    sizes = [float(entry.cell.paths.test.stat().st_size) for entry in cached]
    results = workers.each(work_out, tasks, name="cells", sizes=sizes)
    worked = dict(zip((entry.cell.id for entry in cached), results, strict=True))
    found = _WorkedOut(Frames(), [], [], [], [])
    for entry in cells:
        result = worked.get(entry.cell.id)
        if isinstance(result, Worked):
            found.rows.extend(result.frames)
            found.papers.append(result.paper)
            found.media.append(result.media)
            if result.part is not None:
                found.parts.append(result.part)
                found.travelling.append(entry)
        elif result is None:
            found.rows.add_without_numbers(entry)
        elif isinstance(result, Failed) and result.foreseen:
            found.rows.add_without_numbers(replace(entry, status="failed", reason=result.reason))
        else:
            raise result.error()
    return found


def _transfer(
    entries: Sequence[CellStatus], parts: Sequence[Part], workers: Workers
) -> Callable[[], list[list[Row] | Failed]]:
    """Begin to carry thresholds between cells; the function returned waits for it."""
    donors = [part.donor for part in parts]
    pairs = zip(entries, parts, strict=True)
    first = {part.group: part.id for part in reversed(parts)}
    tasks = [
        Journey(entry, part.donor, donors_of(part.donor, donors))
        for entry, part in pairs
        if first[part.group] == part.id
    ]
    sizes = [float(entry.cell.paths.test.stat().st_size * len(donors)) for entry, _, donors in tasks]
    return workers.begin(travel, tasks, name="transfer", sizes=sizes)


def _measured(cell: str, file: LiveFile | None) -> Measured:
    if file is None:
        return Measured("", {})
    return Measured(file.environment, {row.policy: row for row in file.rows if row.cell == cell})


def _remove_others(files: Sequence[Path]) -> None:
    """Remove tables and plots of earlier reports that this one does not have, so that none goes stale unnoticed."""
    for folder in {path.parent for path in files}:
        for path in folder.iterdir():
            if path.is_file() and path not in files:
                path.unlink()
