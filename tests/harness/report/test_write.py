from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest

from harness.report.groups import check_frames, figure_jobs, rows_of_groups, show_figure, show_group
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


def write_all(frames, folder, *, for_print=False):
    shown = [show_group(rows, pdf=for_print) for rows in rows_of_groups(frames)]
    tasks = partial(draw_overview, frames.of(first_cells(frames))), partial(draw_time, frames.results)
    drawn = {figure.name: figure for task in tasks if (figure := show_figure(task, pdf=for_print)) is not None}
    whole = whole_tables(frames)
    paths = write_tables([*whole, *(group.table for group in shown)], folder / "tables", latex=for_print)
    paths += write_plots([*drawn.values(), *(one for group in shown for one in group.figures)], folder / "plots")
    headline = console_table(frames.results)
    return [*paths, write_page(whole, shown, folder / "report.html", {"commit": "abc"}, headline, drawn=drawn)]


@pytest.fixture
def one_cell(frames, skipped):
    """One cell and a skipped one: enough for every kind of file, and quick."""
    cell = "minilm-l6.bbc-headlines.s0"
    kept = ["final", "max_prob", "pabee", "oracle"]
    picked = SimpleNamespace(**{name: frame[frame["cell"] == cell] for name, frame in vars(frames).items()})
    results = picked.results[picked.results["policy_name"].isin(kept)].to_dict("records")
    curves = picked.curves[picked.curves["policy_name"].isin(kept)]
    return check_frames([*results, skipped], curves, picked.exits, picked.histograms)


@pytest.mark.parametrize("for_print", [False, True])
def test_tables_plots_and_page_twice_give_the_same_bytes(one_cell, tmp_path, for_print):
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        paths = write_all(one_cell, folder, for_print=for_print)
        assert sorted(paths) == sorted(path for path in folder.rglob("*") if path.is_file())
        written.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    assert written[0] == written[1]
    group = "minilm-l6.bbc-headlines"
    assert set(written[0]) == {
        *(
            f"tables/{name}.{end}"
            for name in ("summary", f"cell_{group}", "exits")
            for end in ("csv", "md", *["tex"] * for_print)
        ),
        *(
            f"plots/{name}.{end}"
            for name in (
                "overview",
                f"trade_off_{group}",
                f"exit_metric_{group}",
                f"exit_histograms_{group}.s0",
                "time_against_layers",
            )
            for end in ("png", *["pdf"] * for_print)
        ),
        "report.html",
    }


def test_every_group_gets_its_figures(frames):
    """Seeds share a figure; histograms are those of the first seed, so that the committed plots stay small."""
    jobs = [name for rows in rows_of_groups(check_frames(**vars(frames))) for name, _, _ in figure_jobs(rows)]
    assert len(jobs) == len(set(jobs)) == 3 * 3
    assert {"trade_off_cnn6.digits", "exit_metric_cnn6.mnist5k", "exit_histograms_cnn6.mnist5k.s0"} <= set(jobs)


def test_of_many_data_sets_of_a_network_only_the_first_are_drawn_in_full(frames, monkeypatch):
    monkeypatch.setattr("harness.report.groups.DRAWN_IN_FULL", 1)
    rows = rows_of_groups(check_frames(**vars(frames)))
    assert [(one.name, one.drawn) for one in rows] == [
        ("cnn6.digits", 2), ("cnn6.mnist5k", 1), ("minilm-l6.bbc-headlines", 2),
    ]  # fmt: skip
    assert [name for name, _, _ in figure_jobs(rows[1])] == ["trade_off_cnn6.mnist5k"]


def test_a_network_trained_in_another_way_is_drawn_by_the_study_of_recipes_alone(frames):
    rows = rows_of_groups(check_frames(**vars(frames)), {"minilm-l6"})
    assert [one.drawn for one in rows] == [2, 2, 0]
    assert list(figure_jobs(rows[2])) == []


def test_parts_are_the_rows_of_their_cells_in_order(frames):
    checked = check_frames(**vars(frames))
    sets = [["cnn6.digits.s2", "cnn6.digits.s0"], ["nowhere"], ["minilm-l6.bbc-headlines.s0"]]
    for cells, part in zip(sets, checked.parts(sets), strict=True):
        for name, frame in vars(frames).items():
            whole = getattr(checked, name)
            wanted = whole[whole["cell"].isin(cells)].reset_index(drop=True)
            pd.testing.assert_frame_equal(getattr(part, name), wanted)
            assert len(frame) == len(whole)


def test_the_overview_leaves_variants_out(frames):
    checked = check_frames(**vars(frames))
    assert {cell.rpartition(".")[0] for cell in first_cells(checked, {"cnn6"})} == {"minilm-l6.bbc-headlines"}
    assert len({cell.rpartition(".")[0] for cell in first_cells(checked)}) == 3


def test_a_network_of_one_exit_has_nothing_to_draw(frames):
    only = frames.exits[frames.exits["exit"] == 1]
    rows = rows_of_groups(check_frames(**{**vars(frames), "exits": only}))
    assert [name for each in rows for name, _, _ in figure_jobs(each)] == []


def test_a_run_where_everything_was_skipped_still_has_tables_and_a_page(skipped, tmp_path):
    paths = write_all(check_frames([skipped], [], [], []), tmp_path)
    assert len(paths) == 5  # its line is in the summary and on the page; a table of nothing else is not written
    assert "the weights are not installed" in (tmp_path / "tables" / "summary.md").read_text()
    assert "the weights are not installed" in paths[-1].read_text(encoding="utf-8")
