from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.replay.metrics import find_metric
from harness.replay.operating import choose_on, parse_operating
from harness.replay.operating_quantiles import shares
from harness.replay.replay import replay
from policies.errors import PolicyError
from policies.spec import canonical, parse_policy
from policies.table import CalibrationTable

ACCURACY = find_metric("accuracy")


def continuous_table(n: int, n_exits: int, n_classes: int = 3, seed: int = 0) -> CalibrationTable:
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, n_exits, n_classes))
    return CalibrationTable(logits.astype(np.float32), rng.integers(0, n_classes, n))


def test_shares_by_hand() -> None:
    np.testing.assert_allclose(shares(0.5, 3), [4 / 7, 2 / 7, 1 / 7])
    np.testing.assert_allclose(shares(2, 3), [1 / 7, 2 / 7, 4 / 7])
    np.testing.assert_allclose(shares(1, 4), 0.25)
    for extreme in (1e-300, 1e300):
        assert shares(extreme, 24).sum() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 300), n_exits=st.integers(1, 7), q=st.floats(0.05, 3), seed=st.integers(0, 99),
    spec=st.sampled_from(["max_prob", "entropy", "energy", "margin", "beem_c", "sdn", "normalized_entropy"]),
)  # fmt: skip
def test_the_share_of_every_exit_is_exact_to_one_sample(n, n_exits, q, seed, spec) -> None:
    table = continuous_table(n, n_exits, seed=seed)
    chosen = choose_on(table, parse_policy(spec), parse_operating(f"exit_quantiles(q={q})"), ACCURACY)
    (outcome,) = replay([chosen], table)
    assert np.abs(np.array(outcome.histogram) - n * shares(q, n_exits)).max() <= 1 + 1e-9
    # The chosen thresholds are a spec like any other, so that a live run can use them.
    again = parse_policy(canonical(chosen))
    np.testing.assert_array_equal(replay([again], table)[0].exits, outcome.exits)


def test_equally_ready_samples_leave_together() -> None:
    logits = np.zeros((10, 2, 2), np.float32)
    logits[:8, :, 0] = 100  # saturated: the confidence of eight samples is exactly 1
    table = CalibrationTable(logits, np.zeros(10, int))
    outcomes = {}
    for q in ("0.25", "1", "4"):  # 8, 5 and 2 of ten are asked to leave
        chosen = choose_on(table, parse_policy("max_prob"), parse_operating(f"exit_quantiles(q={q})"), ACCURACY)
        outcomes[q] = replay([chosen], table)[0].histogram
    assert outcomes == {"0.25": [8, 2], "1": [8, 2], "4": [0, 10]}


def test_an_exit_that_can_release_nobody_keeps_everybody() -> None:
    table = continuous_table(50, 4)
    policy = parse_policy("f_pabee(patience=2)")  # has nothing to compare at exits 1 and 2
    chosen = choose_on(table, policy, parse_operating("exit_quantiles(q=1)"), ACCURACY)
    assert replay([chosen], table)[0].histogram[:2] == [0, 0]
    assert replay([chosen], table)[0].histogram[2] == 37 or replay([chosen], table)[0].histogram[2] == 38


def test_a_knob_that_is_one_number_for_all() -> None:
    with pytest.raises(PolicyError, match="patience is one number for all: use match_final"):
        choose_on(continuous_table(9, 3), parse_policy("pabee"), parse_operating("exit_quantiles(q=1)"), ACCURACY)
