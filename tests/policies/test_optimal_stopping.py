"""Against the exact optimum of a Markov chain, by hand, and what it says when it cannot work."""

from dataclasses import replace

import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.optimal_stopping import held_out_ensembles
from policies.spec import parse_policy
from policies.spline_ridge import Basis
from policies.stopping import Advantage
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace

L, RIGHT, STUCK, LEARNS_UNTIL = 6, 0.72, 0.35, 2


class Chain:
    """Every exit adds a vote that is right with probability .72; for a third of samples the votes end after exit 2.

    The posterior of the classes is exact at every exit; a third class of small probability shows who is stuck, so that
    the pair (votes, stuck) is a Markov state that the evidence reveals. A confidence threshold cannot know that going
    on is useless for those who are stuck.
    """

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 2, n)
        self.stuck = rng.random(n) < STUCK
        votes = np.where(rng.random((L, n)) < RIGHT, 1, -1) * np.where(self.labels == 1, 1, -1)
        votes[LEARNS_UNTIL:, self.stuck] = 0
        self.count = votes.cumsum(axis=0)
        first = 1 / (1 + np.exp(self.count * np.log(RIGHT / (1 - RIGHT))))
        mark = np.where(self.stuck, 0.02, 0.0001)
        p = np.stack([first * (1 - mark), (1 - first) * (1 - mark), np.broadcast_to(mark, first.shape)], axis=2)
        self.logits = np.log(p).transpose(1, 0, 2).astype(np.float32)

    def table(self, kind):
        return kind(self.logits, self.labels)


def optimal_stops(price):
    """Backward induction over the states: [stuck, exit, count + L] whether stopping is optimal, and the exact value."""
    count = np.arange(-L, L + 1)
    posterior = 1 / (1 + np.exp(-count * np.log(RIGHT / (1 - RIGHT))))
    error, stops, values = np.minimum(posterior, 1 - posterior), np.ones((2, L, 2 * L + 1), bool), []
    up = posterior * RIGHT + (1 - posterior) * (1 - RIGHT)
    for stuck in (0, 1):
        value = error.copy()
        for i in reversed(range(L - 1)):
            if stuck and i + 1 >= LEARNS_UNTIL:
                onward = value + price / L
            else:
                onward = np.full(len(count), np.inf)
                onward[1:-1] = price / L + up[1:-1] * value[2:] + (1 - up[1:-1]) * value[:-2]
            stops[stuck, i] = error <= onward
            value = np.minimum(error, onward)
        values.append(price / L + (value[L + 1] + value[L - 1]) / 2)
    return stops, (1 - STUCK) * values[0] + STUCK * values[1]


def objective(chain, stops, price):
    """Mean loss + price * cost of leaving at the first exit where stops [L, N] says so, else at the last."""
    exit_index = np.concatenate([stops[:-1], np.ones((1, stops.shape[1]), bool)]).argmax(axis=0)
    rows = np.arange(len(exit_index))
    wrong = chain.logits.argmax(axis=2)[rows, exit_index] != chain.labels
    return (wrong + price * (exit_index + 1) / L).mean()


@pytest.fixture(scope="module")
def fitted():
    return parse_policy("optimal_stopping").fit(Chain(16_000, 0).table(CalibrationTable))


PRICED = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 2.0]


def test_within_one_per_cent_of_the_exact_optimum(fitted):
    chain = Chain(60_000, 1)
    score = trace(fitted, EvidenceTable(chain.table(TestTable))).score
    rows = chain.stuck.astype(int)
    for price in PRICED:
        stops, exact = optimal_stops(price)
        optimum = objective(chain, np.stack([stops[rows, i, chain.count[i] + L] for i in range(L)]), price)
        assert optimum == pytest.approx(exact, rel=0.02)  # the optimal rule on these samples, and its expectation
        assert objective(chain, score <= price, price) < 1.01 * optimum


def test_no_confidence_threshold_comes_near(fitted):
    chain, price = Chain(60_000, 1), 0.1
    evidence = EvidenceTable(chain.table(TestTable))
    confidence = evidence.quantity("confidence")
    best = min(objective(chain, confidence >= t, price) for t in np.linspace(0.5, 1, 50))
    assert best > 1.05 * objective(chain, trace(fitted, evidence).score <= price, price)


def test_a_higher_price_never_leaves_later(fitted):
    evidence = EvidenceTable(Chain(500, 2).table(TestTable))
    exits = np.stack([decide(fitted.at(p), evidence).exit_index for p in (-1.0, -0.7, 0.0, *PRICED, 50.0)])
    assert (np.diff(exits, axis=0) <= 0).all()
    assert (exits[0] == L - 1).all()
    assert (exits[-1] == 0).all()


def test_the_score_by_hand():
    """A = margin - price: the index is the margin."""
    p = np.array([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]])
    basis = Basis(np.full(6, -9.0), np.full(6, 9.0), np.zeros((6, 4)), "plain", np.zeros(6), np.ones(6))
    prices = np.array([0.0, 0.5, 1.0])
    weights = np.zeros((2, 6, 3))
    weights[:, 2] = 1.0
    advantage = Advantage(prices, basis, weights, np.tile(-prices, (2, 1)))
    policy = replace(parse_policy("optimal_stopping"), advantage=advantage)
    evidence = EvidenceTable(TestTable(np.log(p)[None].astype(np.float32), np.array([0])))
    score = trace(policy, evidence).score[:, 0]
    assert score[:2] == pytest.approx([0.2, 0.8], abs=1e-6)
    assert np.isnan(score[2])
    assert [decide(policy.at(c), evidence).exit_index[0] for c in (0.1, 0.3, 0.8001)] == [2, 0, 0]


def test_where_going_on_is_never_worth_it_the_confidence_decides():
    basis = Basis(np.full(6, -9.0), np.full(6, 9.0), np.zeros((6, 4)), "plain", np.zeros(6), np.ones(6))
    prices = np.array([0.0, 1.0])
    advantage = Advantage(prices, basis, np.zeros((2, 6, 2)), np.array([[-0.1, -1.0], [0.5, -0.5]]))
    policy = replace(parse_policy("optimal_stopping"), advantage=advantage)
    p = np.array([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]])
    evidence = EvidenceTable(TestTable(np.log(p)[None].astype(np.float32), np.array([0])))
    assert trace(policy, evidence).score[:2, 0] == pytest.approx([-0.6, 0.5], abs=1e-6)
    assert [decide(policy.at(c), evidence).exit_index[0] for c in (-0.7, -0.5, 0.0)] == [2, 0, 0]


def test_costs_decide_what_going_on_is_worth():
    chain = Chain(2000, 0)
    cheap_end = CalibrationTable(
        chain.logits, chain.labels, costs={"macs": np.array([90.0, 92.0, 94.0, 96.0, 98.0, 100.0])}
    )
    evidence = EvidenceTable(Chain(1000, 1).table(TestTable))
    by_layers = decide(parse_policy("optimal_stopping(price=0.3)").fit(cheap_end), evidence)
    by_macs = decide(parse_policy("optimal_stopping(price=0.3, unit=macs)").fit(cheap_end), evidence)
    assert by_macs.exit_index[~chain.stuck[:1000]].mean() > by_layers.exit_index[~chain.stuck[:1000]].mean() + 1


def test_fitting_the_same_twice_gives_the_same():
    table = Chain(300, 0).table(CalibrationTable)
    one, two = (parse_policy("optimal_stopping").fit(table).advantage for _ in range(2))
    assert (one.weights == two.weights).all()


@pytest.mark.parametrize("n_classes", [2, 12])
def test_any_number_of_classes(n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 200)
    logits = (rng.normal(size=(200, 5, n_classes)) + np.eye(n_classes)[labels][:, None]).astype(np.float32)
    policy = parse_policy("optimal_stopping(price=0.1)").fit(CalibrationTable(logits, labels))
    assert np.isfinite(trace(policy, EvidenceTable(TestTable(logits, labels))).score[:-1]).all()


def test_the_ensemble_answers_as_ztw_does_and_is_judged_by_its_own_answers():
    """Exits that err independently: together they are right, and a stopping rule that knows it leaves earlier."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3000)
    logits = (np.eye(3)[labels][:, None] * 1.5 + rng.normal(size=(3000, 6, 3))).astype(np.float32)
    calibration = CalibrationTable(logits[:1000], labels[:1000])
    evidence = EvidenceTable(TestTable(logits[1000:], labels[1000:]))
    joint = parse_policy("optimal_stopping_ensemble").fit(calibration)
    assert (trace(joint, evidence).answer == trace(parse_policy("ztw").fit(calibration), evidence).answer).all()
    price, alone = 0.3, parse_policy("optimal_stopping").fit(calibration)
    spent = {}
    for policy in (joint, alone):
        decisions = decide(policy.at(price), evidence)
        wrong = decisions.prediction != labels[1000:]
        spent[policy.name] = (wrong + price * (decisions.exit_index + 1) / 6).mean()
    assert spent["optimal_stopping_ensemble"] < spent["optimal_stopping"] - 0.02


def test_the_ensembles_that_stopping_is_learned_from_have_not_seen_the_sample():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 3, 100), rng.normal(size=(100, 4, 3)).astype(np.float32)
    before = held_out_ensembles(CalibrationTable(logits, labels))[2]
    for sample in (3, 50, 99):
        others = labels.copy()
        others[sample] = (labels[sample] + 1) % 3
        after = held_out_ensembles(CalibrationTable(logits, others))[2]
        changed = np.flatnonzero((after.probs != before.probs).any(axis=1))
        assert sample not in changed
        assert len(changed) == 80  # all other folds have


@pytest.mark.parametrize("n_classes", [2, 12])
def test_the_ensemble_with_any_number_of_classes(n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 200)
    logits = (rng.normal(size=(200, 5, n_classes)) + np.eye(n_classes)[labels][:, None]).astype(np.float32)
    policy = parse_policy("optimal_stopping_ensemble(price=0.1)").fit(CalibrationTable(logits, labels))
    for size in (1, 1000):
        scaled = EvidenceTable(TestTable(size * logits, labels))
        assert np.isfinite(trace(policy, scaled).score[:-1]).all()


def failure(logits, labels, spec="optimal_stopping", **more):
    with pytest.raises(PolicyError) as raised:
        parse_policy(spec).fit(CalibrationTable(np.asarray(logits, np.float32), labels, **more))
    return str(raised.value)


@pytest.mark.parametrize("name", ["optimal_stopping", "optimal_stopping_ensemble"])
def test_what_cannot_work_is_a_sentence_of_either(name):
    chain = Chain(100, 0)
    assert f"{name}: 40 calibration samples are too few" in failure(chain.logits[:40], chain.labels[:40], name)
    assert f"{name}: the rule needs at least 2 exits, and this network has 1" in failure(
        chain.logits[:, :1], chain.labels, name
    )


def test_what_cannot_work_is_a_sentence():
    chain = Chain(100, 0)
    same = np.repeat(chain.logits[:, :1], L, axis=1)
    assert "all exits are right or all are wrong" in failure(same, chain.labels)
    assert "no cost in 'macs'" in failure(chain.logits, chain.labels, "optimal_stopping(unit=macs)")
    flat = {"macs": np.full(L, 5.0)}
    assert "does not rise from exit to exit" in failure(
        chain.logits, chain.labels, "optimal_stopping(unit=macs)", costs=flat
    )
