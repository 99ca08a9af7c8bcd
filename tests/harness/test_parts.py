"""What one cell gives to the studies across cells."""

from dataclasses import replace
from pathlib import Path

from harness.frames import Measured
from harness.parts import CellTask, work_out
from harness.plans import find_cell

RESULTS = Path(__file__).parents[2] / "results"


def test_a_variant_has_tables_of_its_own_but_no_part_in_the_studies_across_cells():
    """Else a data set would count once for every recipe that was tried on it."""
    entry = find_cell("minilm-l6.bbc-headlines.s0", RESULTS)
    entry = replace(entry, cell=replace(entry.cell, variant_of="another"))
    worked = work_out(CellTask(entry, Measured("", {})))
    assert worked.part is None
    assert worked.frames.results
    assert worked.paper.points
