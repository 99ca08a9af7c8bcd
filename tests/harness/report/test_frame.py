import numpy as np
import pandas as pd
import pytest

from harness.report.frame import (
    CURVES,
    EXITS,
    HISTOGRAMS,
    RESULTS,
    ReportError,
    check_cells,
    check_rows,
    groups,
    headline_rows,
    natural_key,
    places,
    records,
    repeat_name,
    repeats_text,
    split_cell,
)

ROW = {"cell": "a.b.s0", "policy": "p", "policy_name": "p", "exit": 1, "share": 0.5}


def test_every_spec_names_a_column_once_and_keys_are_columns():
    for spec in (RESULTS, CURVES, EXITS, HISTOGRAMS):
        assert len(set(spec.names)) == len(spec.names)
        assert set(spec.key) <= set(spec.names)


def test_a_real_frame_passes_with_typed_columns_in_order(frames):
    checked = check_rows(frames.results, RESULTS)
    assert tuple(checked.columns) == RESULTS.names
    assert len(checked) == len(frames.results)
    assert checked["n"].dtype == "Int64"
    assert checked["value"].dtype == "float64"
    assert checked["causal"].dtype == "boolean"
    assert check_rows(checked, RESULTS).equals(checked)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sharr": 1.0}, "unknown column sharr"),
        ({"share": ...}, "missing column share"),
    ],
)
def test_unknown_and_missing_columns_are_named(change, words):
    row = {name: value for name, value in {**ROW, **change}.items() if value is not ...}
    for rows in ([row], pd.DataFrame([row])):
        with pytest.raises(ReportError, match=words):
            check_rows(rows, HISTOGRAMS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"share": "half"}, "Column 'share'.*'half' in row 1.*give a number"),
        ({"share": float("inf")}, "'share'.*finite"),
        ({"exit": 1.5}, "'exit'.*whole number"),
    ],
)
def test_a_value_of_another_kind_is_an_error_that_says_where(change, words):
    with pytest.raises(ReportError, match=words):
        check_rows([ROW, {**ROW, "exit": 2, **change}], HISTOGRAMS)


def test_closed_lists_and_flags(frames):
    row = frames.results.iloc[0].to_dict()
    with pytest.raises(ReportError, match=r"'status'.*'done'.*allowed: ok, failed, skipped"):
        check_rows([{**row, "status": "done"}], RESULTS)
    with pytest.raises(ReportError, match=r"'causal'.*allowed: true, false"):
        check_rows([{**row, "causal": "maybe"}], RESULTS)


def test_two_rows_with_one_key_are_an_error():
    with pytest.raises(ReportError, match=r"two rows with cell=a\.b\.s0, policy=p, exit=1"):
        check_rows([ROW, ROW], HISTOGRAMS)


def test_undefined_stays_undefined():
    checked = check_rows([{**ROW, "exit": None, "share": None, "policy": None}], HISTOGRAMS)
    assert checked["exit"].isna().all()
    assert np.isnan(checked["share"][0])
    assert checked["policy"][0] == ""


def test_no_rows_give_an_empty_frame_with_all_columns():
    assert tuple(check_rows([], RESULTS).columns) == RESULTS.names


def test_the_order_of_the_rows_given_does_not_matter(frames):
    shuffled = frames.results.sample(frac=1, random_state=3)
    assert check_rows(shuffled, RESULTS).equals(check_rows(frames.results, RESULTS))


def test_final_comes_first_then_static_then_policies_then_what_peeks(frames):
    first = check_rows(frames.results, RESULTS)
    names = list(dict.fromkeys(first[first["cell"] == "cnn6.digits.s0"]["policy_name"]))
    assert names[:2] == ["final", "fixed"]
    assert names[-1] == "oracle"


def test_check_cells_keeps_only_the_cells_asked_for(frames):
    few = check_cells(frames.exits, EXITS, ["cnn6.digits.s1"])
    assert set(few["cell"]) == {"cnn6.digits.s1"}
    assert few.equals(check_cells(frames.exits.to_dict("records"), EXITS, ["cnn6.digits.s1"]))


def test_numbers_inside_texts_count_as_numbers():
    assert sorted(["s10", "s2", "t0.9", "t0.85"], key=natural_key) == ["s2", "s10", "t0.85", "t0.9"]


def test_split_cell_and_groups(frames):
    assert split_cell("minilm-l6.bbc-headlines.s0") == ("minilm-l6.bbc-headlines", 0)
    assert split_cell("mine") == ("mine", None)
    assert split_cell("quicknet.esc10-fold3.s0") == ("quicknet.esc10", 3)
    assert groups(frames.exits)["cnn6.digits"] == ["cnn6.digits.s0", "cnn6.digits.s1", "cnn6.digits.s2"]


def test_folds_are_not_called_seeds():
    folds = [f"quicknet.esc10-fold{fold}.s0" for fold in (1, 2)]
    assert [repeat_name(cell) for cell in folds] == ["fold1", "fold2"]
    assert repeats_text(folds) == ", 2 folds"
    seeds = ["cnn6.digits.s0", "cnn6.digits.s1"]
    assert [repeat_name(cell) for cell in seeds] == ["s0", "s1"]
    assert repeats_text(seeds, ", mean of ") == ", mean of 2 seeds"
    assert repeats_text(seeds[:1]) == ""


def test_headline_prefers_calibrated_thresholds_and_falls_back_to_fixed(frames):
    checked = check_rows(frames.results, RESULTS)
    rows = headline_rows(checked)
    assert "fixed" not in set(rows["policy_name"])
    assert set(rows.loc[rows["policy_name"] == "max_prob", "protocol"]) == {"calibration"}
    without = checked[~((checked["policy_name"] == "max_prob") & (checked["protocol"] == "calibration"))]
    assert set(headline_rows(without).query("policy_name == 'max_prob'")["protocol"]) == {"fixed"}


def test_places_are_those_of_the_rows_that_share_values_in_order():
    frame = pd.DataFrame({"a": ["x", "y", "x", "x"], "b": [1, 1, 2, 1]}, index=[9, 8, 7, 6])
    assert list(places(frame, ("a", "b")).items()) == [(("x", 1), [0, 3]), (("y", 1), [1]), (("x", 2), [2])]
    assert places(frame.iloc[:0], ("a",)) == {}


def test_checking_twice_changes_nothing(frames):
    once = check_rows(frames.results, RESULTS)
    pd.testing.assert_frame_equal(check_rows(once, RESULTS), once)
    wrong = once.assign(value=np.inf)
    with pytest.raises(ReportError, match="finite"):
        check_rows(wrong, RESULTS)


def test_records_are_plain_values_by_name():
    (row,) = records(pd.DataFrame({"name": ["a"], "count": pd.array([None], dtype="Int64")}))
    assert row.name == "a"
    assert row[1] is pd.NA
    assert records(pd.DataFrame({"name": []})) == []
