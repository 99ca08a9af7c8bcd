import math
from dataclasses import replace

import numpy as np
import pytest

from policies.conformance import check_policy
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable


def of_confidences(confidence, labels=None):
    """A table of two classes whose exits answer 0 with these confidences (answer 1 where negative)."""
    c = np.array(confidence, float)
    p = np.stack([np.where(c > 0, c, 1 + c), np.where(c > 0, 1 - c, -c)], axis=2)
    labels = np.zeros(len(c), np.int64) if labels is None else labels
    return EvidenceTable(TestTable(np.log(p).astype(np.float32), labels))


def in_time(policy, evidence):
    """Arms and exits (1-based) in the order in which the samples arrive."""
    stream = policy.decide_stream(evidence)
    return stream, stream.arm[stream.order].tolist(), (stream.exit_index[stream.order] + 1).tolist()


# -- UEE-UCB -----------------------------------------------------------------------------------------------------


def ucb_exit_by_the_notebook(labels, cost, alpha):
    """The published algorithm, in plain Python: labels [N, L] in the order of time."""
    n_exits = len(cost)
    seen, differs, chosen = [0] * n_exits, [0] * n_exits, []
    for t, row in enumerate(labels):
        if t == 0:
            action = n_exits - 1
        else:
            values = [
                differs[j] / seen[j] + cost[0] - cost[j] + math.sqrt(alpha * math.log(t + 1) / seen[j])
                for j in range(n_exits)
            ]
            action = values.index(max(values))
        chosen.append(action)
        for j in range(action + 1):
            seen[j] += 1
            differs[j] += row[j] != row[0]
    return chosen


def noisy(n=3000, seed=0, accuracy=(0.6, 0.82, 0.84, 0.85)):
    """Exits of known accuracies: what an earlier exit gets right, later ones do too (strong dominance)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    right = rng.random(n)[:, None] < np.array(accuracy)
    answers = np.where(right, labels[:, None], 1 - labels[:, None])
    return EvidenceTable(TestTable((np.eye(2)[answers] * 3).astype(np.float32), labels)), right


@pytest.mark.parametrize("alpha", [1.0, 0.05])
def test_ucb_exit_is_the_published_algorithm(alpha):
    evidence, _ = noisy(400)
    policy = parse_policy(f"ucb_exit(alpha={alpha}, seed=3)")
    stream, arms, _ = in_time(policy, evidence)
    labels = evidence.quantity("label")[:, stream.order].T.tolist()
    assert arms == ucb_exit_by_the_notebook(labels, [0.25, 0.5, 0.75, 1.0], alpha)
    assert arms[0] == 3


def test_ucb_exit_finds_the_exit_with_the_smallest_error_and_cost():
    # error + cost: .65, .68, .91, 1.15 in layers; .40 + .1, .18 + .2, .16 + .9, .15 + 1 in these units.
    evidence, _ = noisy()
    cheap = replace(evidence.table, costs={"joules": np.array([1.0, 2, 9, 10])})
    stream = parse_policy("ucb_exit(unit=joules)").decide_stream(EvidenceTable(cheap))
    late = stream.arm[stream.order[1500:]]
    assert (late == 1).mean() > 0.9


def test_the_worth_of_an_exit_is_its_error_and_cost():
    evidence, right = noisy()
    policy = parse_policy("ucb_exit")
    worth = policy.worth(policy.arms(evidence), evidence, evidence.table.labels)
    assert worth == pytest.approx(-((~right).mean(axis=0) + np.array([0.25, 0.5, 0.75, 1])))
    # Under strong dominance the label-free reward differs from it by a constant.
    reward = policy.arms(evidence).reward.mean(axis=1)
    assert worth - worth[0] == pytest.approx(reward - reward[0])


def test_a_unit_in_which_nothing_costs_is_a_sentence():
    evidence, _ = noisy(5)
    free = replace(evidence.table, costs={"joules": np.zeros(4)})
    with pytest.raises(PolicyError, match="the last exit costs nothing"):
        parse_policy("ucb_exit(unit=joules)").decide_stream(EvidenceTable(free))


# -- SplitEE -----------------------------------------------------------------------------------------------------


def test_the_arms_of_splitee_by_hand():
    # Confident at exit 2 only; unsure samples go to exit 3, which is charged the offload unless it was the arm.
    evidence = of_confidences([[0.6, 0.8, 0.9], [0.6, 0.6, -0.55]])
    exits, reward = parse_policy("splitee(offload=0.2, threshold=0.7, price=0.1)").arms(evidence)
    assert exits.tolist() == [[2, 2], [1, 2], [2, 2]]
    assert reward[:, 0] == pytest.approx([0.9 - 0.2 - 0.1, 0.8 - 0.2, 0.9 - 0.3])
    assert reward[:, 1] == pytest.approx([0.55 - 0.2 - 0.1, 0.55 - 0.2 - 0.2, 0.55 - 0.3])


def splitee_in_plain_python(confidence, *, offload, threshold, price, explore, side):
    """Confidence [N, L] in the order of time; returns the arms."""
    n_exits = len(confidence[0])
    total, counts, chosen = [0.0] * n_exits, [0] * n_exits, []
    for t, c in enumerate(confidence):
        if t < n_exits:
            arm = t
        else:
            values = [total[j] / counts[j] + explore * math.sqrt(math.log(t + 1) / counts[j]) for j in range(n_exits)]
            arm = values.index(max(values))
        chosen.append(arm)
        offloaded = arm < n_exits - 1 and c[arm] < threshold
        seen = n_exits - 1 if offloaded else arm
        for j in range(arm + 1) if side else [arm]:
            if j == n_exits - 1 or c[j] >= threshold:
                reward = c[j] - price * (j + 1)
            else:
                reward = c[seen] - offload - price * (j + 1)  # of the last exit, or what was seen in its place
            total[j] += reward
            counts[j] += 1
    return chosen


@pytest.mark.parametrize("side", [False, True])
def test_splitee_one_sample_at_a_time(side):
    rng = np.random.default_rng(0)
    evidence = of_confidences(rng.uniform(0.51, 0.999, size=(500, 5)))
    policy = parse_policy(f"splitee(offload=0.3, side_information={str(side).lower()}, price=0.03, explore=0.3)")
    stream, arms, exits = in_time(policy, evidence)
    confidence = evidence.quantity("confidence")[:, stream.order].T.tolist()
    expected = splitee_in_plain_python(
        confidence, offload=0.3, threshold=0.7, price=0.03, explore=0.3, side=side
    )  # fmt: skip
    assert arms == expected
    assert exits == [a + 1 if c[a] >= 0.7 else 5 for a, c in zip(arms, confidence, strict=True)]


def test_side_information_does_not_peek():
    results = check_policy(parse_policy("splitee(side_information=true, explore=0.1, price=0.02)"))
    assert [f"{r.name}: {r.detail}" for r in results if not r.passed] == []


@pytest.mark.parametrize("side", ["true", "false"])
def test_splitee_finds_the_best_exit(side):
    # Everybody is unsure at exit 1 and sure from exit 2 on: .93 - .5 - .1, .9 - .2, .92 - .3, .93 - .4.
    rng = np.random.default_rng(1)
    confidence = np.array([0.55, 0.9, 0.92, 0.93]) + rng.uniform(-0.03, 0.03, size=(4000, 4))
    policy = parse_policy(f"splitee(offload=0.5, explore=0.3, side_information={side})")
    _, arms, _ = in_time(policy, of_confidences(confidence))
    assert np.mean(np.array(arms[2000:]) == 1) > 0.85


# -- threshold bandits -------------------------------------------------------------------------------------------


def test_the_arms_of_ucb_threshold_by_hand():
    evidence = of_confidences([[0.6, 0.8, 0.9], [0.75, 0.6, -0.95]])
    exits, reward = parse_policy("ucb_threshold(thresholds=[0.5, 0.7, 0.99], overhead=0.2)").arms(evidence)
    assert exits.tolist() == [[0, 0], [1, 0], [2, 2]]
    assert reward[:, 0] == pytest.approx([0, 0.8 - 0.6 - 0.1, 0.9 - 0.6 - 0.2])
    assert reward[:, 1] == pytest.approx([0, 0, 0.95 - 0.75 - 0.2], abs=1e-6)


def test_ucb_threshold_one_sample_at_a_time():
    rng = np.random.default_rng(0)
    evidence = of_confidences(np.sort(rng.uniform(0.51, 0.999, size=(400, 2)), axis=1))
    stream, arms, exits = in_time(parse_policy("ucb_threshold(explore=0.2)"), evidence)
    grid = [0.5 + 0.05 * a for a in range(10)]
    total, counts, chosen = [0.0] * 10, [0] * 10, []
    for t, row in enumerate(stream.order):
        first, last = evidence.quantity("confidence")[:, row]
        values = [total[a] / counts[a] + 0.2 * math.sqrt(math.log(t) / counts[a]) for a in range(10) if t >= 10]
        arm = values.index(max(values)) if values else t
        total[arm] += 0 if first >= grid[arm] else last - first - 0.1
        counts[arm] += 1
        chosen.append(arm)
    assert arms == chosen
    assert exits == [1 if evidence.quantity("confidence")[0, r] >= grid[a] else 2
                     for r, a in zip(stream.order, chosen, strict=True)]  # fmt: skip


def test_ucb_threshold_finds_the_best_threshold():
    # Going on pays for those below .75 at exit 1 (to .95), and not for the others.
    rng = np.random.default_rng(1)
    first = rng.uniform(0.51, 0.99, 6000)
    second = np.where(first < 0.75, 0.95, first)
    policy = parse_policy("ucb_threshold(explore=0.1)")
    evidence = of_confidences(np.stack([first, second], axis=1))
    _, arms, _ = in_time(policy, evidence)
    assert policy.arms(evidence).reward.mean(axis=1).argmax() == 5
    assert np.mean(np.isin(arms[4000:], [4, 5, 6])) > 0.9


def test_a_list_is_asked_for():
    with pytest.raises(PolicyError, match=r"thresholds is 0\.7, but must be a list of numbers like"):
        parse_policy("ucb_threshold(thresholds=0.7)")
    with pytest.raises(PolicyError, match="thresholds is empty"):
        parse_policy("ucb_threshold(thresholds=[])").decide_stream(of_confidences([[0.6, 0.7]]))
