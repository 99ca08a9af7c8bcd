"""What `run` computes and what it leaves alone; the whole of it is run by the tests of the command line."""

from pathlib import Path

import pytest

from harness import run as running
from harness.cells.plan import plan
from harness.cells.suites import load_suite
from harness.console import Console
from harness.plans import find_cell
from harness.run import RunOptions


@pytest.mark.parametrize(
    ("suites", "only", "is_trained"),
    [((), None, False), (("embedded",), None, False), (("language",), None, True), ((), "e5-small-12l.mrpc.s1", True)],
)
def test_a_suite_of_hours_is_trained_only_where_it_is_named(tmp_path, monkeypatch, suites, only, is_trained):
    monkeypatch.setattr("harness.cells.plan.absent", lambda cell: None)
    trained = []
    monkeypatch.setattr("harness.networks.train_cell", lambda entry, *_, **__: trained.append(entry.cell.id))
    monkeypatch.setattr("harness.networks.collect_cell", lambda *_: None)
    entry = next(e for e in plan([load_suite("language")], results_folder=tmp_path, only="e5-small-12l.mrpc.s1"))
    running._compute(entry, RunOptions(out=tmp_path, suites=suites, only=only), Console(quiet=True))
    assert trained == (["e5-small-12l.mrpc.s1"] if is_trained else [])


def test_a_cached_cell_whose_data_are_not_here_is_not_run_live_and_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "absent", lambda cell: "its weights are not on this machine")
    monkeypatch.setattr("harness.networks.is_trained", lambda cell: True)
    entry = find_cell("cnn6.digits.s0", Path(__file__).parents[2] / "results")
    options = RunOptions(out=tmp_path)
    running._confirm([entry], {entry.cell.id: None}, tmp_path, options, Console())
    assert "cnn6.digits.s0 is left out: its weights are not on this machine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
