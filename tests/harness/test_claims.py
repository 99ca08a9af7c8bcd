"""The ledger: claims on tables whose answer is known by hand, and verdicts that do not promise too much."""

from __future__ import annotations

import numpy as np
import pytest

from harness import claims
from harness.cells.specs import parse_spec
from harness.claim_tests import NOTHING, Found
from harness.claims import FAILS, HOLDS, OPEN, Claim, ClaimTest, Ledger, claim_rows, decide, examine, load_claims
from harness.errors import UserError
from harness.replay.metrics import find_metric
from harness.replay.operating import parse_operating
from harness.statistics.bootstrap import Resamples
from harness.statistics.effects import Effect, differences
from harness.subjects import ALL, Subject
from policies.spec import parse_policy
from policies.table import CalibrationTable, ExitTable, TestTable
from tests.harness.conftest import subject


def crafted(kind: type[ExitTable], *, gains: int, losses: int, same: int) -> ExitTable:
    """Four exits, two classes. PABEE with patience 1 always leaves at exit 2, where it gains and loses so many samples
    against the final exit."""
    right = np.concatenate(
        [np.tile([1, 1, 1, 0], (gains, 1)), np.tile([0, 0, 0, 1], (losses, 1)), np.tile([1, 1, 1, 1], (same, 1))]
    )
    labels = np.arange(len(right)) % 2
    answer = np.where(right == 1, labels[:, None], 1 - labels[:, None])
    logits = 2.0 * np.eye(2)[answer]
    first = 0 if kind is TestTable else 10_000
    return kind(logits.astype(np.float32), labels, first + np.arange(len(labels)))


def crafted_subject(cell: str, **counts: int) -> Subject:
    return subject(cell, crafted(TestTable, **counts), crafted(CalibrationTable, **counts))


def claim(**test: object) -> Claim:
    return Claim(id="it", paper="p", statement="s", source="x", test=ClaimTest(**test))


AT_SPEED = {"kind": "at_speed", "policy": "pabee", "speedup": (1.9, 2.1)}


def verdicts(one: Claim, *subjects: Subject) -> dict[str, dict[str, object]]:
    rows = claim_rows([one], {s.id: examine([one], s) for s in subjects})
    return {row["cell"]: row for row in rows}


@pytest.mark.parametrize(
    ("counts", "relation", "margin", "verdict"),
    [
        ({"gains": 30, "losses": 0, "same": 70}, "better", 0.0, HOLDS),
        ({"gains": 0, "losses": 30, "same": 70}, "better", 0.0, FAILS),
        ({"gains": 0, "losses": 30, "same": 70}, "at_least", 0.1, FAILS),
        ({"gains": 0, "losses": 0, "same": 100}, "better", 0.0, OPEN),  # a tie
        ({"gains": 20, "losses": 20, "same": 60}, "better", 0.0, OPEN),
        ({"gains": 0, "losses": 0, "same": 100}, "at_least", 0.05, HOLDS),
        ({"gains": 0, "losses": 0, "same": 100}, "at_least", 0.01, OPEN),  # too few samples for one point
        ({"gains": 20, "losses": 0, "same": 5}, "better", 0.0, OPEN),  # however clear: a tiny cell
    ],
)
def test_against_the_final_exit_by_hand(counts: dict[str, int], relation: str, margin: float, verdict: str) -> None:
    cell = crafted_subject("a.x.s0", **counts)
    row = verdicts(claim(**AT_SPEED, relation=relation, margin=margin), cell)["a.x.s0"]
    n = sum(counts.values())
    assert row["difference"] == pytest.approx((counts["gains"] - counts["losses"]) / n)
    assert row["value_b"] == pytest.approx((counts["losses"] + counts["same"]) / n)
    assert (row["speedup_a"], row["n"]) == (2.0, n)
    assert row["low"] < row["difference"] < row["high"] or n < 30
    assert row["verdict"] == verdict
    assert (row["reason"] == "") == (verdict != OPEN)
    assert row["detectable"] > 0


def test_no_point_at_that_speed_is_a_reason() -> None:
    cell = crafted_subject("a.x.s0", gains=5, losses=5, same=90)
    found = verdicts(claim(kind="at_speed", policy="pabee", speedup=(3, 4)), cell)
    assert "no threshold has a speed-up of 3 to 4" in found["a.x.s0"]["reason"]
    assert found[ALL]["verdict"] == OPEN
    assert "no threshold has" in found[ALL]["reason"]
    test = crafted(TestTable, gains=5, losses=5, same=90)
    runs: list = []
    alone = subject("a.x.s0", test, None, runs=runs)
    assert "no calibration split" in verdicts(claim(**AT_SPEED), alone)["a.x.s0"]["reason"]


def test_pooled_counts_data_sets_alike() -> None:
    """Two seeds that gain 0.3 and 0.1, and another data set that loses 0.1: (0.2 - 0.1) / 2."""
    cells = [
        crafted_subject("a.x.s0", gains=30, losses=0, same=70),
        crafted_subject("a.x.s1", gains=10, losses=0, same=90),
        crafted_subject("a.y.s0", gains=0, losses=20, same=180),
    ]
    row = verdicts(claim(**AT_SPEED), *cells)[ALL]
    assert row["difference"] == pytest.approx(0.05)
    assert (row["n"], row["n_cells"]) == (400, 3)


def test_cells_of_a_claim_are_corrected_together() -> None:
    """p of about 0.01 in one of ten cells is no longer a verdict."""
    clear = crafted_subject("a.x.s0", gains=8, losses=0, same=92)
    alone = verdicts(claim(**AT_SPEED), clear)["a.x.s0"]
    assert (alone["verdict"], alone["p_holm"]) == (HOLDS, alone["p_value"])
    others = [crafted_subject(f"a.d{i}.s0", gains=5, losses=5, same=90) for i in range(9)]
    row = verdicts(claim(**AT_SPEED), clear, *others)["a.x.s0"]
    assert row["p_holm"] == pytest.approx(10 * row["p_value"])
    if row["p_holm"] >= 0.05:
        assert (row["verdict"], row["reason"]) == (OPEN, "not after correction for several tests")


def test_equal_speed_is_the_area_between_curves() -> None:
    """For two classes margin and max_prob order alike, so they are equal at every speed."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    logits = (np.linspace(0.3, 2, 4)[None, :, None] * np.eye(2)[labels][:, None] + rng.normal(size=(300, 4, 2))) * 2
    test = TestTable(logits.astype(np.float32), labels)
    cell = subject("a.x.s0", test, CalibrationTable(test.logits, labels, 1000 + np.arange(300)))
    same = {"kind": "equal_speed", "policy": "margin", "baseline": "max_prob", "speedup": (1.2, 2)}
    row = verdicts(claim(**same, relation="at_least", margin=0.005), cell)["a.x.s0"]
    assert row["difference"] == pytest.approx(0, abs=1e-12)
    assert row["verdict"] == HOLDS
    assert verdicts(claim(**same), cell)["a.x.s0"]["verdict"] == OPEN
    worse = {**same, "policy": "pabee"}
    row = verdicts(claim(**worse), cell)["a.x.s0"]
    assert row["difference"] == pytest.approx(row["value_a"] - row["value_b"])
    assert row["speedup_a"] == row["speedup_b"]
    unreachable = {**same, "policy": "f_pabee(patience=3)", "speedup": (1.2, 1.9), "baseline": "pabee"}
    assert verdicts(claim(**unreachable), cell)["a.x.s0"]["reason"] == "no common speed-up of 1.2 to 1.9"


@pytest.mark.parametrize("n_classes", [2, 3])
def test_margin_is_max_prob_and_is_noticed_when_it_is_not(n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import claim_tests

    rng = np.random.default_rng(1)
    labels = rng.integers(0, n_classes, 120)
    # saturated, tied and ordinary logits
    logits = rng.normal(size=(120, 3, n_classes)) * rng.choice([0.0, 1.0, 60.0], size=(120, 1, 1))
    cell = subject("a.x.s0", TestTable(logits.astype(np.float32), labels), None, runs=[])
    one = claim(kind="margin_is_max_prob", policy="margin", baseline="max_prob")
    row = verdicts(one, cell)["a.x.s0"]
    assert (row["verdict"], row["difference"]) == (HOLDS, 0.0)
    assert row["high"] > 0
    monkeypatch.setattr(
        claim_tests, "parse_policy", lambda spec: parse_policy("normalized_entropy" if spec == "margin" else spec)
    )
    assert verdicts(one, cell)["a.x.s0"]["verdict"] == FAILS


def test_decide_by_hand() -> None:
    test = ClaimTest(kind="at_speed", policy="pabee", speedup=(1, 2), relation="at_least", margin=0.1)
    up, down = Effect(0.2, np.full(999, 0.2)), Effect(-0.2, np.full(999, -0.2))
    slightly = Effect(-0.05, np.full(999, -0.05))
    assert decide(up, test, 100) == (2 / 1000, HOLDS)
    assert decide(down, test, 100) == (2 / 1000, FAILS)
    assert decide(slightly, test, 100) == (2 / 1000, FAILS)  # worse for certain, though by less than the margin
    assert np.isnan(decide(None, test, 100).p_value)
    assert np.isnan(decide(up, test, 29).p_value)
    assert np.isnan(decide(Effect(np.nan, np.full(9, np.nan)), test, 100).p_value)


def test_false_verdicts_are_rare() -> None:
    """A policy that gains as often as it loses is called better or worse in about 5 % of 2,000 draws."""
    rng = np.random.default_rng(3)
    test, labels = ClaimTest(**AT_SPEED), np.zeros(200, int)
    wrong = 0
    for trial in range(2000):
        gains, losses, _ = rng.multinomial(200, [0.1, 0.1, 0.8])
        a, b = np.zeros((2, 1, 200), int)
        b[0, :gains] = a[0, gains : gains + losses] = 1
        (effect,) = differences(find_metric("accuracy"), a, b, labels, 2, Resamples(200, trial, count=400))
        wrong += decide(effect, test, 200).p_value < 0.05
    print(f"wrong verdicts: {wrong / 20:.1f} %")
    assert 0.03 <= wrong / 2000 <= 0.07


def test_ledger_is_complete_and_runs(subjects: list[Subject]) -> None:
    ledger = load_claims()
    assert len({one.id for one in ledger}) == len(ledger) >= 15
    assert {"BEEM", "PABEE", "DeeBERT", "F-PABEE", "PCEE-BERT"} <= {one.paper for one in ledger}
    for one in ledger:
        parse_policy(one.test.policy)
        parse_policy(one.test.baseline)
        if one.test.operating:
            parse_operating(one.test.operating)
    found = {s.id: examine(ledger, s) for s in subjects}
    rows = claim_rows(ledger, found)
    assert len(rows) == len(ledger) * (len(subjects) + 1)
    assert {row["verdict"] for row in rows} <= {HOLDS, FAILS, OPEN}
    for row in rows:
        assert row["verdict"] != OPEN or row["reason"]
    again = claim_rows(ledger, {s.id: examine(ledger, s) for s in subjects})
    assert list(map(str, again)) == list(map(str, rows))


def test_claims_about_other_cells_are_left_out(subjects: list[Subject]) -> None:
    one = claim(**AT_SPEED).model_copy(update={"cells": "b.*"})
    assert [s.id for s in subjects if examine([one], s)] == ["b.x.s0"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "at_speed", "policy": "pabee"}, "range of speed-ups"),
        ({"kind": "at_speed", "policy": "pabee", "speedup": [2, 1]}, r"1 <= low < high"),
        ({"kind": "operating", "policy": "pabee"}, "operating is the rule"),
        ({**AT_SPEED, "speedup": [1, 2], "relation": "at_least"}, "margin belongs"),
        ({**AT_SPEED, "speedup": [1, 2], "kindness": 1}, "unknown key"),
    ],
)
def test_a_wrong_ledger_is_a_sentence(change: dict[str, object], sentence: str) -> None:
    import json

    pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in change.items())
    text = f'[[claims]]\nid = "x"\npaper = "p"\nstatement = "s"\nsource = "z"\ntest = {{ {pairs} }}\n'
    with pytest.raises(UserError, match=sentence):
        parse_spec(Ledger, text, where="claims.toml")


def test_cells_of_another_metric_stay_out_of_the_pool() -> None:
    draws = np.zeros(9)
    found = {
        "a.x.s0": Found(Effect(0.1, draws + 0.1), 1, 0, 1, 1, 50, "accuracy", "", None),
        "a.y.s0": Found(Effect(0.3, draws + 0.3), 1, 0, 1, 1, 50, "accuracy", "", None),
        "a.z.s0": Found(Effect(9.0, draws + 9), 1, 0, 1, 1, 50, "pearson", "", None),
        "a.w.s0": NOTHING,
    }
    assert claims._pool(found).effect.value == pytest.approx(0.2)
