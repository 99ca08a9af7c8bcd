from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UserError
from harness.replay.curve import trade_off
from harness.replay.metrics import find_metric
from harness.replay.operating import MatchFinal, choose_on, parse_operating
from harness.replay.replay import replay
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable

ACCURACY = find_metric("accuracy")


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("spec", ["max_prob", "entropy", "pabee", "beem_c"])
def test_match_final_is_the_fastest_valid_point(
    calibration_table: CalibrationTable, spec: str, tolerance: float
) -> None:
    policy = parse_policy(spec)
    chosen = choose_on(calibration_table, policy, MatchFinal(tolerance), ACCURACY)
    (outcome,) = replay([chosen], calibration_table)
    final = (calibration_table.logits[:, -1].argmax(1) == calibration_table.labels).mean()
    assert (outcome.predictions == calibration_table.labels).mean() >= final - tolerance
    curve = trade_off(policy, calibration_table, ACCURACY)
    faster = curve.mean_exit < outcome.mean_exit - 1e-12
    assert (curve.metric[faster] < final - tolerance).all()


def test_zero_tolerance_accepts_exactly_the_last_exits_score(calibration_table: CalibrationTable) -> None:
    same = CalibrationTable(
        logits=np.repeat(calibration_table.logits[:, -1:], 4, axis=1), labels=calibration_table.labels
    )
    chosen = choose_on(same, parse_policy("max_prob"), MatchFinal(), ACCURACY)
    assert replay([chosen], same)[0].mean_exit == 1.0


def test_no_valid_threshold_is_an_answer() -> None:
    # sdn answers with the most confident exit where nobody is released: always worse than the last exit here.
    logits = np.array([[[5, 0], [0, 1]]] * 3, np.float32)
    table = CalibrationTable(logits=logits, labels=np.array([1, 1, 1]))
    assert choose_on(table, parse_policy("sdn"), MatchFinal(), ACCURACY) is None


def test_never_chosen_on_what_is_reported(test_table: TestTable) -> None:
    with pytest.raises(UserError, match="CalibrationTable"):
        choose_on(test_table, parse_policy("max_prob"), MatchFinal(), ACCURACY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("match_finall", "Did you mean 'match_final'"),
        ("match_final(tol=1)", "Allowed: tolerance"),
        ("match_final(tolerance=-1)", "must be 0 or more"),
        ("match_final(tolerance=much)", "must be a number"),
    ],
)
def test_wrong_specs_are_sentences(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_operating(text)


def test_spec_round_trip() -> None:
    assert str(parse_operating("match_final(tolerance=0.01)")) == "match_final(tolerance=0.01)"
    assert str(parse_operating("match_final")) == "match_final(tolerance=0)"
