from types import SimpleNamespace

import pytest

from harness.report.write import check_frames, plot_jobs, write_page, write_plots, write_tables


@pytest.fixture
def one_cell(frames, skipped):
    """One cell and a skipped one: enough for every kind of file, and quick."""
    cell = "minilm-l6.bbc-headlines.s0"
    kept = ["final", "max_prob", "pabee", "oracle"]
    picked = SimpleNamespace(**{name: frame[frame["cell"] == cell] for name, frame in vars(frames).items()})
    results = picked.results[picked.results["policy_name"].isin(kept)].to_dict("records")
    curves = picked.curves[picked.curves["policy_name"].isin(kept)]
    return check_frames([*results, skipped], curves, picked.exits, picked.histograms)


def test_tables_plots_and_page_twice_give_the_same_bytes(one_cell, tmp_path):
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        paths = write_tables(one_cell, folder / "tables") + write_plots(one_cell, folder / "plots")
        paths.append(write_page(one_cell, folder / "report.html", {"commit": "abc"}))
        assert sorted(paths) == sorted(path for path in folder.rglob("*") if path.is_file())
        written.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    assert written[0] == written[1]
    group = "minilm-l6.bbc-headlines"
    assert set(written[0]) == {
        *(f"tables/{name}.{end}" for name in ("summary", f"cell_{group}", "exits") for end in ("csv", "md", "tex")),
        *(
            f"plots/{name}.{end}"
            for name in (
                "overview",
                f"trade_off_{group}",
                f"exit_metric_{group}",
                f"exit_histograms_{group}.s0",
                "time_against_layers",
            )
            for end in ("png", "pdf")
        ),
        "report.html",
    }


def test_every_group_gets_its_figures(frames):
    """Seeds share a figure; histograms are those of the first seed, so that the committed plots stay small."""
    jobs = [name for name, _ in plot_jobs(check_frames(**vars(frames)))]
    assert len(jobs) == len(set(jobs)) == 1 + 3 * 3 + 1
    assert {"trade_off_cnn6.digits", "exit_metric_cnn6.mnist5k", "exit_histograms_cnn6.mnist5k.s0"} <= set(jobs)


def test_a_run_where_everything_was_skipped_still_has_tables_and_a_page(skipped, tmp_path):
    frames = check_frames([skipped], [], [], [])
    assert write_plots(frames, tmp_path) == []
    assert len(write_tables(frames, tmp_path)) == 9
    assert "the weights are not installed" in write_page(frames, tmp_path / "r.html", {}).read_text(encoding="utf-8")
