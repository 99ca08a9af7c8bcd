from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.special import expit, logit, softmax

from policies.coins import uniform
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.halting import mixture_loss
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace


def halting_table(lambdas, n_outputs=2):
    """A table whose only feature is the log-odds of halting, and weights that read it."""
    features = logit(np.array(lambdas))[:, :, None].astype(np.float16)
    logits = np.zeros((*features.shape[:2], n_outputs), np.float32)
    return EvidenceTable(TestTable(logits, np.zeros(len(features), np.int64), features=features))


def with_identity(spec, n_exits):
    return replace(parse_policy(spec), weights=np.array([[1.0, 0.0]] * n_exits))


def planted(kind, n=1500, n_exits=4, seed=0):
    """Samples that only one exit of their own, and those after it, get right; the features say which."""
    rng = np.random.default_rng(seed)
    needs = rng.integers(0, n_exits, n)
    labels = rng.integers(0, 3, n)
    right = np.arange(n_exits) >= needs[:, None]
    logits = np.eye(3)[(labels[:, None] + ~right) % 3] * 4
    features = np.where(right, 1.0, -1.0)[:, :, None] + rng.normal(size=(n, n_exits, 3)) * 0.1
    return kind(logits.astype(np.float32), labels, features=features.astype(np.float16)), needs


# -- PALBERT -----------------------------------------------------------------------------------------------------


def test_palbert_by_hand():
    # lambda = .5, .2, .2: CDF .5, .6, .68; the last exit is not asked.
    evidence = halting_table([[0.5, 0.2, 0.2, 0.9]])
    traced = trace(with_identity("palbert", 4), evidence)
    assert traced.score[:3, 0] == pytest.approx([0.5, 0.6, 0.68], abs=1e-4)
    assert np.isnan(traced.score[3, 0])
    exits = [decide(with_identity(f"palbert(q={q})", 4), evidence).exit_index[0] for q in (0, 0.5, 0.65, 0.7, 1)]
    assert exits == [0, 1, 2, 3, 3]  # .5 > .5 is false


def test_without_evidence_the_head_is_the_prior():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(800, 5, 3)).astype(np.float32)
    table = CalibrationTable(logits, rng.integers(0, 3, 800), features=rng.normal(size=(800, 5, 2)).astype(np.float16))
    # A divergence that outweighs the losses leaves the constant rate of the prior.
    policy = parse_policy("palbert(beta=500, rate=0.3)").fit(table)
    assert policy.weights[:4, -1] == pytest.approx(np.full(4, logit(0.3)), abs=0.02)
    assert policy.weights[:4, :-1] == pytest.approx(np.zeros((4, 2)), abs=0.02)


@pytest.mark.parametrize("spec", ["palbert(q=0.5, beta=0.01, rate=0.9)", "ponder(beta=0.01, rate=0.9)"])
def test_the_planted_exit_is_found(spec):
    calibration, _ = planted(CalibrationTable)
    test, needs = planted(TestTable, seed=1)
    decisions = decide(parse_policy(spec).fit(calibration), EvidenceTable(test))
    assert (decisions.exit_index >= needs).mean() > 0.97
    assert (decisions.prediction == test.labels).mean() > 0.97
    assert decisions.exit_index.mean() < needs.mean() + 0.2  # the prior is in a hurry


def test_palbert_on_a_regression():
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 900)
    easy = rng.random(900) < 0.5
    error = np.where(easy[:, None], 0.0, [3.0, 0.0])
    values = (labels[:, None] + error)[:, :, None].astype(np.float32)
    features = np.repeat(np.where(easy, 1.0, -1.0)[:, None, None], 2, axis=1).astype(np.float16)
    policy = parse_policy("palbert(q=0.5, beta=0.1)").fit(CalibrationTable(values, labels, features=features))
    traced = trace(policy, EvidenceTable(TestTable(values, labels, features=features)))
    # Where exit 1 is as good as exit 2, only the prior speaks; where it is bad, nobody halts.
    assert traced.score[0, ~easy].max() < 0.01 < 0.05 < traced.score[0, easy].min()
    decisions = decide(policy.at(0.05), EvidenceTable(TestTable(values, labels, features=features)))
    assert np.allclose(decisions.prediction, labels, atol=1e-5)
    assert (decisions.exit_index == ~easy).all()


def test_exits_that_are_all_equally_good_are_a_sentence():
    table = CalibrationTable(np.ones((9, 3, 2), np.float32), np.arange(9) % 2, features=np.ones((9, 3, 1), np.float16))
    with pytest.raises(PolicyError, match="all exits have the same loss on each of the 9"):
        parse_policy("palbert").fit(table)


# -- PonderNet ---------------------------------------------------------------------------------------------------


def test_ponder_halts_as_often_as_the_head_says():
    n = 40_000
    decisions = decide(with_identity("ponder", 3), halting_table(np.tile([0.2, 0.5, 0.5], (n, 1))))
    shares = np.bincount(decisions.exit_index, minlength=3) / n
    assert shares == pytest.approx([0.2, 0.4, 0.4], abs=0.01)


def test_ponder_by_hand():
    evidence = halting_table([[0.3, 0.3, 0.3]] * 50)
    coins = [uniform(np.arange(50), 7, i) for i in (1, 2)]
    expected = np.where(coins[0] <= 0.3, 0, np.where(coins[1] <= 0.3, 1, 2))
    assert decide(with_identity("ponder(seed=7)", 3), evidence).exit_index.tolist() == expected.tolist()


def test_the_threshold_of_ponder_shifts_the_odds():
    n = 40_000
    evidence = halting_table(np.tile([0.5, 0.5], (n, 1)))
    left = [(decide(with_identity(f"ponder(threshold={t})", 2), evidence).exit_index == 0).mean() for t in (-2, 0, 2)]
    assert left == pytest.approx(expit([2, 0, -2]), abs=0.01)


# -- DACT --------------------------------------------------------------------------------------------------------


def test_dact_by_hand():
    probs = np.array([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]])
    features = logit(np.array([[0.25, 0.4, 0.5]]))[:, :, None]
    table = TestTable(np.log(probs).astype(np.float32), np.array([0]), features=features.astype(np.float16))
    policy = with_identity("dact", 3)
    traced = trace(policy, EvidenceTable(table))
    # a_1 = y_1, p_1 = .25, two left: .9 * .75^2 - .1 - 2 * .25.
    # a_2 = .25 (.8, .2) + .75 (.9, .1) = (.875, .125), p_2 = .1, one left: .875 * .9 - .125 - .1.
    # a_3 = .1 (.3, .7) + .9 (.875, .125) = (.8175, .1825).
    expected = [0.9 * 0.5625 - 0.1 - 0.5, 0.875 * 0.9 - 0.125 - 0.1, 0.8175 - 0.1825]
    assert traced.score[:, 0] == pytest.approx(expected, abs=1e-3)
    decisions = decide(policy, EvidenceTable(table))
    assert (decisions.exit_index[0], decisions.prediction[0]) == (1, 0)
    assert decide(policy.at(-0.2), EvidenceTable(table)).exit_index[0] == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 5))
def test_the_bound_of_dact_never_changes_the_answer(seed, n_exits, n_outputs):
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(200, n_exits, n_outputs)) * 3).astype(np.float32)
    features = (rng.normal(size=(200, n_exits, 1)) * 3 - 2).astype(np.float16)
    evidence = EvidenceTable(TestTable(logits, np.zeros(200, np.int64), features=features))
    policy = with_identity("dact(threshold=1e-9)", n_exits)
    decisions, traced = decide(policy, evidence), trace(policy, evidence)
    assert decisions.prediction.tolist() == traced.answer[-1].tolist()


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_the_mixture_loss_by_sample_and_its_gradient(tau):
    rng = np.random.default_rng(0)
    gates, truth = rng.normal(size=(4, 6)), softmax(rng.normal(size=(5, 6, 3)), axis=2)[:, :, 0]
    total = 0.0
    for n in range(6):
        p, a = 1.0, 0.0
        for i in range(5):
            a = p * truth[i, n] + (1 - p) * a
            if i < 4:
                p *= expit(gates[i, n])
                total += tau * p
        total -= np.log(a)
    assert mixture_loss(gates, truth, tau)[0] == pytest.approx(total / 6, abs=1e-12)

    def value(flat):
        return mixture_loss(flat.reshape(4, 6), truth, tau)[0]

    def gradient(flat):
        return mixture_loss(flat.reshape(4, 6), truth, tau)[1].ravel()

    assert check_grad(value, gradient, gates.ravel()) < 1e-6


def test_a_price_makes_dact_stop_where_it_may():
    calibration, _ = planted(CalibrationTable)
    test, _ = planted(TestTable, seed=1)
    decisions = decide(parse_policy("dact(tau=0.05)").fit(calibration), EvidenceTable(test))
    assert (decisions.prediction == test.labels).mean() > 0.95
    assert decisions.exit_index.mean() < 2.2
    slower = decide(parse_policy("dact(tau=0.0001)").fit(calibration), EvidenceTable(test))
    assert slower.exit_index.mean() > decisions.exit_index.mean()


def test_two_rules_of_one_head_fit_it_once():
    table, _ = planted(CalibrationTable, n=200)
    one, other = (parse_policy(spec).fit(table) for spec in ("palbert(beta=0.2)", "ponder(beta=0.2)"))
    assert one.weights is other.weights
    assert not np.array_equal(one.weights, parse_policy("palbert(beta=0.3)").fit(table).weights)
    assert np.array_equal(one.weights, parse_policy("palbert(beta=0.2)").fit(table.rows(slice(None))).weights)
