"""All rows together: they fit the frames of the report, whatever is missing."""

from __future__ import annotations

from dataclasses import fields

from harness.cells.plan import CellStatus
from harness.papers import join_papers, paper_part
from harness.report.frame_papers import check_papers
from harness.subjects import Subject


def test_rows_fit_their_frames(subjects: list[Subject]) -> None:
    parts = [paper_part(one) for one in subjects]
    papers = join_papers(parts, [CellStatus(one.cell, "cached", "") for one in subjects])
    frames = check_papers({field.name: getattr(papers, field.name) for field in fields(papers)})
    assert set(frames.points["backbone"]) == {"a", "b"}
    assert set(frames.overthinking["cell"]) == {one.id for one in subjects}
    assert len(frames.recipes) == 0  # nobody knows how they were trained


def test_no_cells_have_no_rows() -> None:
    papers = join_papers([], [])
    assert all(getattr(papers, field.name) == [] for field in fields(papers))
