"""Specs of operating points, and which split they may look at."""

from __future__ import annotations

import pytest

from harness.cells.suites import load_suite, suite_names
from harness.errors import UserError
from harness.replay import operating
from harness.replay.curve import TradeOff
from harness.replay.metrics import find_metric
from harness.replay.operating import OPERATING, MatchFinal, choose_on, parse_operating
from harness.replay.replay import replay
from policies.errors import PolicyError
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable

ACCURACY = find_metric("accuracy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("match_finall", "Did you mean 'match_final'"),
        ("match_final(tol=1)", "Allowed: tolerance"),
        ("match_final(tolerance=-1)", "tolerance is -1, but must be 0 or more"),
        ("match_final(tolerance=much)", "must be a number"),
        ("match_final(tolerance=nan)", "must be a number"),
        ("match_final(tolerance=true)", "must be a number"),
        ("match_final((", "operating point 'match_final"),
        ("budget", "give either value"),
        ("budget(value=2, share=0.5)", "give either value"),
        ("budget(value=-1)", "value is -1, but must be 0 or more"),
        ("budget(share=1.5)", "share is 1.5, but must be 0 to 1"),
        ("budget(value=2, unit=3)", "unit is 3, but must be the name of a cost"),
        ("exit_quantiles", r"needs a value for q: exit_quantiles\(q=…\)"),
        ("exit_quantiles(q=0)", "q is 0, but must be above 0"),
        ("exit_quantiles(q=-2)", "q is -2, but must be above 0"),
        ("beem_error_rate(mode=both)", "mode is 'both', but must be one of paper, paired"),
        ("beem_error_rate(search=all)", "search is 'all', but must be one of greedy, joint"),
        ("risk_control", "needs a value for epsilon"),
        ("risk_control(epsilon=0)", "epsilon is 0, but must be between 0 and 1"),
        ("risk_control(epsilon=1.2)", "epsilon is 1.2, but must be between 0 and 1"),
        ("risk_control(epsilon=0.1, delta=1)", "delta is 1, but must be between 0 and 1"),
        ("risk_control(epsilon=0.1, delta=-0.1)", "delta is -0.1, but must be between 0 and 1"),
        ("risk_control(epsilon=0.1, method=cp)", "method is 'cp', but must be one of crc, ucb, ltt"),
        ("risk_control(epsilon=0.1, clip=0)", "clip is 0, but must be above 0"),
        ("published(tolerance=-1)", "published: tolerance is -1"),
    ],
)
def test_wrong_specs_are_sentences(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_operating(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("match_final", "match_final(tolerance=0)"),
        ("match_final(tolerance=0.01)", "match_final(tolerance=0.01)"),
        ("budget(value=2)", "budget(unit=layers, value=2)"),
        ("budget(share=0.5, unit=macs)", "budget(share=0.5, unit=macs)"),
        ("exit_quantiles(q=1)", "exit_quantiles(q=1)"),
        ("beem_error_rate", "beem_error_rate(mode=paper, search=greedy)"),
        ("risk_control(epsilon=0.05)", "risk_control(delta=0.1, epsilon=0.05, loss=gap, method=crc)"),
        ("published", "published(tolerance=0)"),
    ],
)
def test_spec_round_trip(text: str, canonical: str) -> None:
    rule = parse_operating(text)
    assert str(rule) == canonical
    assert parse_operating(canonical) == rule


def test_every_rule_of_every_suite_is_understood() -> None:
    for name in suite_names():
        for group in load_suite(name).policies.operating:
            if group.rule is not None:
                parse_operating(group.rule)


def test_never_chosen_on_what_is_reported(test_table: TestTable) -> None:
    with pytest.raises(UserError, match="CalibrationTable"):
        choose_on(test_table, parse_policy("max_prob"), MatchFinal(), ACCURACY)


def test_unless_it_is_said_aloud(test_table: TestTable, calibration_table: CalibrationTable) -> None:
    policy, rule = parse_policy("max_prob"), parse_operating("published")
    for table in (test_table, calibration_table):
        with pytest.raises(UserError, match="very split it reports: ask for protocol=published"):
            choose_on(table, policy, rule, ACCURACY)
    chosen = choose_on(test_table, policy, rule, ACCURACY, protocol="published")
    assert chosen == choose_on(test_table, policy, MatchFinal(), ACCURACY, protocol="published")
    final = (test_table.logits[:, -1].argmax(1) == test_table.labels).mean()
    assert (replay([chosen], test_table)[0].predictions == test_table.labels).mean() >= final


@pytest.mark.parametrize("name", sorted(OPERATING))
def test_a_policy_without_threshold_has_nothing_to_choose(calibration_table: CalibrationTable, name: str) -> None:
    needed = {"budget": "(value=2)", "exit_quantiles": "(q=1)", "risk_control": "(epsilon=0.1)"}
    rule = parse_operating(name + needed.get(name, ""))
    with pytest.raises((UserError, PolicyError), match="no threshold"):
        choose_on(calibration_table, parse_policy("final"), rule, ACCURACY, protocol="published")


def test_rules_share_the_curve_of_a_policy(
    calibration_table: CalibrationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves: dict[str, TradeOff] = {}
    for text in ("match_final", "budget(share=0.5)", "exit_quantiles(q=1)"):
        for spec in ("max_prob(threshold=0.3)", "entropy"):
            policy, rule = parse_policy(spec), parse_operating(text)
            chosen = choose_on(calibration_table, policy, rule, ACCURACY, curves=curves)
            assert chosen == choose_on(calibration_table, policy, rule, ACCURACY)
    assert sorted(curves) == ["entropy", "max_prob"]
    monkeypatch.setattr(operating, "trade_off", None)  # is not asked again
    assert choose_on(calibration_table, parse_policy("max_prob"), MatchFinal(), ACCURACY, curves=curves) is not None
