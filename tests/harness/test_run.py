"""What `run` computes and what it leaves alone; the whole of it is run by the tests of the command line."""

import pytest

from harness import run as running
from harness.cells.plan import plan
from harness.cells.suites import load_suite
from harness.console import Console
from harness.run import RunOptions


@pytest.mark.parametrize(
    ("suites", "only", "is_trained"),
    [((), None, False), (("embedded",), None, False), (("language",), None, True), ((), "e5-small-12l.mrpc.s1", True)],
)
def test_a_suite_of_hours_is_trained_only_where_it_is_named(tmp_path, monkeypatch, suites, only, is_trained):
    monkeypatch.setattr("harness.cells.plan._absent", lambda cell: None)
    trained = []
    monkeypatch.setattr("harness.networks.train_cell", lambda entry, *_, **__: trained.append(entry.cell.id))
    monkeypatch.setattr("harness.networks.collect_cell", lambda *_: None)
    entry = next(e for e in plan([load_suite("language")], results_folder=tmp_path, only="e5-small-12l.mrpc.s1"))
    running._compute(entry, RunOptions(out=tmp_path, suites=suites, only=only), Console(quiet=True))
    assert trained == (["e5-small-12l.mrpc.s1"] if is_trained else [])
