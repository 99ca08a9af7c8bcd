import numpy as np
import pandas as pd
import pytest

from harness.report.aggregate import mean_defined, over_seeds
from harness.report.frame import RESULTS, check_rows


@pytest.fixture
def digits(frames):
    results = check_rows(frames.results, RESULTS)
    return results[results["cell"].str.startswith("cnn6.digits.")]


def test_seeds_with_other_thresholds_become_one_row(digits):
    joined = over_seeds(digits)
    row = joined[(joined["policy_name"] == "max_prob") & (joined["protocol"] == "calibration")]
    seeds = digits[(digits["policy_name"] == "max_prob") & (digits["protocol"] == "calibration")]
    assert len(row) == 1
    row = row.iloc[0]
    assert row["policy"] == "max_prob"
    assert row["n_seeds"] == 3
    assert row["value"] == pytest.approx(seeds["value"].mean())
    assert row["value_sd"] == pytest.approx(seeds["value"].std(ddof=1))
    assert (row["low"], row["high"]) == (seeds["low"].min(), seeds["high"].max())
    assert row["live_n"] == 1350
    assert len(row["marks"].split()) == 3


def test_one_spec_in_all_seeds_keeps_its_spec(digits):
    joined = over_seeds(digits)
    assert set(joined.query("policy_name == 'pabee'")["policy"]) == {"pabee(patience=2,tolerance=0)"}
    assert set(joined.query("policy_name == 'fixed'")["policy"]) == {f"fixed(exit={k})" for k in range(1, 6)}


def test_several_instances_of_one_rule_stay_apart(digits):
    twin = digits[(digits["policy_name"] == "pcee") & (digits["protocol"] == "calibration")].copy()
    twin["policy"] = twin["policy"].str.replace("(", "(patience=2,", regex=False)
    digits = check_rows(pd.concat([digits, twin]), RESULTS)
    joined = over_seeds(digits)
    names = joined[(joined["policy_name"] == "pcee") & (joined["protocol"] == "calibration")]["policy"]
    assert sorted(names) == ["pcee", "pcee(patience=2)"]


def test_a_single_seed_has_no_spread(digits):
    joined = over_seeds(digits[digits["cell"] == "cnn6.digits.s0"])
    assert np.isnan(joined["value_sd"].to_numpy(dtype=float)).all()


def test_undefined_is_not_summed_to_zero_and_one_invalid_timing_shows(digits):
    digits = digits.copy()
    oracle = digits["policy_name"] == "oracle"
    assert over_seeds(digits[oracle])["disagreements"].isna().all()
    one = (digits["policy_name"] == "final") & (digits["cell"] == "cnn6.digits.s1")
    digits.loc[one, "live_verdict"], digits.loc[one, "live_reason"] = "INVALID", "load 9"
    row = over_seeds(digits).iloc[0]
    assert (row["policy_name"], row["live_verdict"], row["live_reason"]) == ("final", "INVALID", "load 9")


def test_nothing_ok_gives_no_rows(skipped):
    assert len(over_seeds(check_rows([skipped], RESULTS))) == 0


def test_the_mean_leaves_out_what_is_undefined():
    assert mean_defined(np.array([1.0, np.nan, 3.0])) == 2.0
    assert np.isnan(mean_defined(np.array([np.nan]))) and np.isnan(mean_defined(np.empty(0)))
