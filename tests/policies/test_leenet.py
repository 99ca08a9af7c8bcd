import time
from dataclasses import replace

import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.leenet import PARAMS, gate_logits, scaled_cost, sweep
from policies.soft_exits import exit_losses, expected, expected_loss
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace


def planted(kind, n=1200, n_exits=4, seed=0, **extra):
    """Samples that only one exit of their own, and those after it, get right; the features say which."""
    rng = np.random.default_rng(seed)
    needs = rng.integers(0, n_exits, n)
    labels = rng.integers(0, 3, n)
    right = np.arange(n_exits) >= needs[:, None]
    logits = np.eye(3)[(labels[:, None] + ~right) % 3] * 4
    features = np.where(right, 1.0, -1.0)[:, :, None] + rng.normal(size=(n, n_exits, 3)) * 0.1
    return kind(logits.astype(np.float32), labels, features=features.astype(np.float16), **extra), needs


def test_leenet_by_hand():
    # sigmoid(0) = .5 is not above .5; sigmoid(1) is. The last exit has no gate.
    features = np.array([[[0.0], [1.0], [9.0]], [[0.0], [0.0], [9.0]], [[2.0], [1.0], [9.0]]], np.float16)
    policy = replace(parse_policy("leenet"), weights=np.array([[1.0, 0.0]] * 3))
    table = TestTable(np.eye(3, dtype=np.float32)[None].repeat(3, axis=0), np.zeros(3, np.int64), features=features)
    decisions = decide(policy, EvidenceTable(table))
    assert decisions.exit_index.tolist() == [1, 2, 0]
    assert decisions.prediction.tolist() == [1, 2, 0]
    assert decisions.fell_through.tolist() == [False, True, False]


def test_the_planted_exit_is_found():
    calibration, _ = planted(CalibrationTable)
    test, needs = planted(TestTable, seed=1)
    decisions = decide(parse_policy("leenet(alpha=0.2)").fit(calibration), EvidenceTable(test))
    assert (decisions.exit_index == needs).mean() > 0.99


def test_the_loss_of_the_fit_is_near_that_of_the_best_exit_of_every_sample():
    calibration, _ = planted(CalibrationTable)
    policy = parse_policy("leenet(alpha=0.2)").fit(calibration)
    losses = 0.8 * exit_losses(calibration) + 0.2 * scaled_cost("leenet", calibration, "layers")
    score = trace(
        policy, EvidenceTable(TestTable(calibration.logits, calibration.labels, features=calibration.features))
    ).score[:-1]
    with np.errstate(divide="ignore"):
        gates = np.clip(np.log(score) - np.log1p(-score), -700, 700)
    best, fixed = losses.min(axis=0).mean(), losses.mean(axis=1).min()
    assert expected_loss(gates, losses)[0] < best + 0.1 * (fixed - best)


@pytest.mark.parametrize(("alpha", "mean_exit"), [(0.0, 2.5), (1.0, 1.0)])
def test_without_a_price_it_stays_and_without_a_loss_it_leaves(alpha, mean_exit):
    calibration, _ = planted(CalibrationTable)
    test, _ = planted(TestTable, seed=1)
    decisions = decide(parse_policy(f"leenet(alpha={alpha})").fit(calibration), EvidenceTable(test))
    # At alpha = 0 all right exits are equally good, so anything from the first right one on will do.
    assert decisions.exit_index.mean() + 1 >= mean_exit - 0.05
    if alpha == 1:
        assert not decisions.exit_index.any()
    else:
        assert (decisions.prediction == test.labels).mean() > 0.99


def test_cost_is_scaled_from_the_first_exit_to_the_last():
    calibration, _ = planted(CalibrationTable, costs={"macs": np.array([10.0, 20, 70, 110])})
    assert scaled_cost("leenet", calibration, "macs")[:, 0] == pytest.approx([0, 0.1, 0.6, 1])
    assert scaled_cost("leenet", calibration, "layers")[:, 5] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_the_unit_decides_what_is_cheap():
    # Exits 2 to 4 cost the same, so only leaving at exit 1 saves anything.
    calibration, needs = planted(CalibrationTable, costs={"macs": np.array([1.0, 2, 2, 2])})
    policy = parse_policy("leenet(alpha=0.2, unit=macs)").fit(calibration)
    table = TestTable(calibration.logits, calibration.labels, features=calibration.features)
    decisions = decide(policy, EvidenceTable(table))
    assert (decisions.prediction == calibration.labels).mean() > 0.99
    assert (decisions.exit_index[needs == 0] == 0).mean() > 0.99


def test_a_unit_without_a_price_is_a_sentence():
    calibration, _ = planted(CalibrationTable, costs={"macs": np.ones(4)})
    with pytest.raises(PolicyError, match="the last exit costs 1 and the first 1"):
        parse_policy("leenet(unit=macs)").fit(calibration)
    with pytest.raises(PolicyError, match="no cost in 'joules'; it has layers, macs"):
        parse_policy("leenet(unit=joules)").fit(calibration)
    with pytest.raises(PolicyError, match="unit is 3, but must be a word"):
        parse_policy("leenet(unit=3)")


def test_the_fit_is_fast_and_repeats_itself():
    rng = np.random.default_rng(0)
    table = CalibrationTable(
        rng.normal(size=(1000, 12, 3)).astype(np.float32), rng.integers(0, 3, 1000),
        features=rng.normal(size=(1000, 12, 64)).astype(np.float16),
    )  # fmt: skip
    start = time.process_time()
    first = parse_policy("leenet").fit(table)
    assert time.process_time() - start < 20  # a fraction of a second on an idle machine
    assert np.array_equal(first.weights, parse_policy("leenet").fit(table).weights)


def priced(kind, **extra):
    return planted(kind, costs={PARAMS: np.array([0, 0.2, 0.5, 1])}, **extra)


def test_released_steps_have_one_size_whatever_the_gradient():
    calibration, _ = priced(CalibrationTable, n=128)
    rate = 1e-3
    start = parse_policy(f"leenet_released(learning_rate={rate}, batch_size=128, epochs=1)").fit(calibration)
    onward = parse_policy(f"leenet_released(learning_rate={rate}, batch_size=64, epochs=1)").fit(calibration)
    at_rest = parse_policy("leenet_released(learning_rate=0)").fit(calibration).weights[:-1]
    assert np.abs(start.weights[:-1] - at_rest) == pytest.approx(np.full((3, 4), rate), rel=1e-3)
    steps = np.abs(onward.weights[:-1] - at_rest) / rate  # two steps, with or against each other
    assert np.minimum(steps, np.abs(steps - 2)).max() < 1e-3
    assert np.abs(at_rest).max() <= 3**-0.5


def test_the_released_steps_go_downhill():
    calibration, _ = priced(CalibrationTable)
    losses = 0.8 * exit_losses(calibration) + 0.2 * scaled_cost("leenet", calibration, PARAMS)

    def loss(spec):
        return expected_loss(gate_logits(parse_policy(spec).fit(calibration), calibration), losses)[0]

    start = loss("leenet_released(alpha=0.2, learning_rate=0)")
    assert loss("leenet_released(alpha=0.2, learning_rate=0.01, epochs=10)") < start - 0.1


def test_the_released_variant_repeats_itself_and_asks_for_its_unit():
    calibration, _ = priced(CalibrationTable, n=200)
    one, other = (parse_policy("leenet_released(learning_rate=0.01)").fit(calibration).weights for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, parse_policy("leenet_released(learning_rate=0.01, seed=1)").fit(calibration).weights)
    with pytest.raises(PolicyError, match="no cost in 'params_leenet_repo'; it has layers"):
        parse_policy("leenet_released").fit(planted(CalibrationTable)[0])


def test_gates_in_logits_are_those_the_rule_compares():
    calibration, _ = planted(CalibrationTable, n=300)
    policy = parse_policy("leenet(alpha=0.2)").fit(calibration)
    table = TestTable(calibration.logits, calibration.labels, features=calibration.features)
    logits = gate_logits(policy, table)
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(trace(policy, EvidenceTable(table)).score[:-1], abs=1e-12)
    depth = expected(logits, np.arange(1.0, 5.0))
    assert depth.mean() == pytest.approx(decide(policy, EvidenceTable(table)).exit_index.mean() + 1, abs=0.2)
    with pytest.raises(PolicyError, match="the table has no features"):
        gate_logits(policy, TestTable(calibration.logits, calibration.labels))


def test_a_sweep_is_one_fit_after_the_other_with_one_ridge():
    calibration, _ = planted(CalibrationTable, n=300)
    gates = sweep(calibration, (0.1, 0.3, 0.9), "layers")
    assert [(policy.alpha, policy.unit) for policy in gates] == [(0.1, "layers"), (0.3, "layers"), (0.9, "layers")]
    middle = parse_policy("leenet(alpha=0.3)").fit(calibration)
    assert np.array_equal(gates[1].weights, middle.weights)
    test, _ = planted(TestTable, seed=1)
    exits = [decide(policy, EvidenceTable(test)).exit_index.mean() for policy in gates]
    assert exits[0] >= exits[1] > exits[2]
    with pytest.raises(PolicyError, match="no features"):
        sweep(CalibrationTable(calibration.logits, calibration.labels), (0.5,), "layers")
