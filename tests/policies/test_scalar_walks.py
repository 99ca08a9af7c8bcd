"""Every rule once more, one sample at a time in plain Python, against the vectorised decisions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide


def probabilities(z):
    exps = [math.exp(v - max(z)) for v in z]
    return [e / sum(exps) for e in exps]


def best(values):
    return max(range(len(values)), key=lambda c: (values[c], -c))


def entropy(p):
    return -sum(v * math.log(v) for v in p if v > 0)


def divergence(p, q):
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return sum(
        0.5 * v * math.log(v / m) for side in (p, q) for v, m in zip(side, mean, strict=True) if v > 0
    )  # fmt: skip


def first(exits, leaves):
    """A rule on the current exit alone."""
    for i, z in enumerate(exits):
        if leaves(z):
            return i, best(z)
    return len(exits) - 1, best(exits[-1])


def max_prob(exits, threshold):
    return first(exits, lambda z: max(probabilities(z)) >= threshold)


def entropy_rule(exits, threshold):
    return first(exits, lambda z: entropy(probabilities(z)) < threshold)


def normalized_entropy(exits, threshold):
    return first(exits, lambda z: entropy(probabilities(z)) / math.log(len(z)) <= threshold)


def margin(exits, threshold):
    def lead(z):
        p = sorted(probabilities(z))
        return p[-1] - p[-2]

    return first(exits, lambda z: lead(z) >= threshold)


def energy(exits, threshold):
    def squashed(z):
        return 1 / (1 + sum(math.exp(v) for v in z))

    return first(exits, lambda z: squashed(z) < threshold)


def fixed(exits, exit):
    return exit - 1, best(exits[exit - 1])


def final(exits):
    return len(exits) - 1, best(exits[-1])


def pabee(exits, patience):
    count = 0
    for i in range(1, len(exits)):
        count = count + 1 if best(exits[i]) == best(exits[i - 1]) else 0
        if count == patience:
            return i, best(exits[i])
    return final(exits)


def pcee(exits, patience, threshold, agreement=False, ensemble="current"):
    """The literal counter of the released code, with the two extras."""
    count, label_of_run = 0, None
    p = [probabilities(z) for z in exits]

    def mean(of):
        return best([sum(q[c] for q in of) / len(of) for c in range(len(of[0]))])

    for i, z in enumerate(exits):
        if entropy(p[i]) / math.log(len(z)) < threshold:
            if agreement and count > 0 and best(z) != label_of_run:
                count = 0
            count, label_of_run = count + 1, best(z)
        else:
            count = 0
        if count == patience:
            run = p[i - patience + 1 : i + 1]
            return i, {"current": best(z), "run": mean(run), "all": mean(p[: i + 1])}[ensemble]
    return len(exits) - 1, mean(p) if ensemble == "all" else best(exits[-1])


def f_pabee(exits, patience, threshold, distance=divergence):
    count = 0
    for i in range(1, len(exits)):
        close = distance(probabilities(exits[i]), probabilities(exits[i - 1])) < threshold
        count = count + 1 if close else 0
        if count == patience:
            return i, best(exits[i])
    return final(exits)


def f_pabee_released(exits, patience, threshold):
    return f_pabee(exits, patience, threshold, lambda p, q: entropy([(a + b) / 2 for a, b in zip(p, q, strict=True)]))


def beem(exits, threshold, weights, restart_counts=True):
    score = 0.0
    for i, z in enumerate(exits):
        term = weights[i] * max(probabilities(z))
        if i > 0 and best(z) == best(exits[i - 1]):
            score += term
        else:
            score = term if restart_counts else 0.0
        if score >= threshold:
            return i, best(z)
    return final(exits)


def beem_c(exits, threshold, cost):
    return beem(exits, threshold, [cost * (i + 1) for i in range(len(exits))])


def beem_released(exits, threshold, cost):
    return beem(exits, threshold, [cost * i for i in range(len(exits))], restart_counts=False)


def sdn(exits, threshold):
    confidence = [max(probabilities(z)) for z in exits]
    for i in range(len(exits) - 1):
        if confidence[i] >= threshold:
            return i, best(exits[i])
    return len(exits) - 1, best(exits[best(confidence)])


def monobert(exits, positive, negative):
    return first(exits, lambda z: probabilities(z)[1] > positive or probabilities(z)[0] > negative)


def class_thresholds(exits, thresholds):
    return first(exits, lambda z: max(probabilities(z)) >= thresholds[best(z)])


def counted(exits, enough):
    votes = [0] * len(exits[0])
    for i, z in enumerate(exits):
        votes[best(z)] += 1
        if enough(max(votes), i + 1):
            return i, best(votes)
    return len(exits) - 1, best(votes)


def vote(exits, votes):
    return counted(exits, lambda most, _: most >= votes)


def vote_share(exits, share, min_exit):
    return counted(exits, lambda most, i: i >= min_exit and most / i >= share)


def product_anytime(exits, threshold):
    for i in range(len(exits)):
        product = [math.prod(max(z[c], 0) for z in exits[: i + 1]) for c in range(len(exits[0]))]
        p = [v / sum(product) for v in product] if sum(product) > 0 else probabilities(exits[i])
        if max(p) >= threshold:
            break
    return i, best([round(v, 12) for v in p])  # equal products may differ in the last bit


def caching_anytime(exits, threshold):
    top, answer = -1.0, None
    for i, z in enumerate(exits):
        if max(probabilities(z)) >= top:
            top, answer = max(probabilities(z)), best(z)
        if top >= threshold:
            return i, answer
    return len(exits) - 1, answer


def mpee(exits, threshold):
    mean = exits[0]
    for i, z in enumerate(exits):
        if i > 0:
            mean = [0.1 * a + 0.9 * b for a, b in zip(mean, z, strict=True)]
        if entropy(probabilities(mean)) < threshold:
            break
    return i, best([round(v, 12) for v in mean])


def beem_per_class(exits, threshold, cost):
    account = [0.0] * len(exits[0])
    for i, z in enumerate(exits):
        account[best(z)] += cost * (i + 1) * max(probabilities(z))
        if account[best(z)] >= threshold:
            return i, best(z)
    return final(exits)


def beem_unweighted(exits, threshold):
    return beem(exits, threshold, [1.0] * len(exits))


def beem_restart(exits, threshold, cost):
    return beem(exits, threshold, [cost * (i + 1) if i else 0.0 for i in range(len(exits))], restart_counts=False)


def agrees_with_final(exits):
    return first(exits, lambda z: best(z) == best(exits[-1]))


RULES = {
    "final": (final, lambda r, n: {}),
    "fixed": (fixed, lambda r, n: {"exit": int(r.integers(1, n + 1))}),
    "max_prob": (max_prob, lambda r, n: {"threshold": r.uniform(0.3, 1)}),
    "entropy": (entropy_rule, lambda r, n: {"threshold": r.uniform(0, 1)}),
    "normalized_entropy": (normalized_entropy, lambda r, n: {"threshold": r.uniform(0, 1)}),
    "margin": (margin, lambda r, n: {"threshold": r.uniform(0, 1)}),
    "energy": (energy, lambda r, n: {"threshold": r.uniform(0, 0.5)}),
    "pabee": (pabee, lambda r, n: {"patience": int(r.integers(1, 5))}),
    "pcee": (pcee, lambda r, n: {
        "patience": int(r.integers(1, 5)), "threshold": r.uniform(0, 1), "agreement": bool(r.integers(2)),
        "ensemble": str(r.choice(["current", "run", "all"])),
    }),
    "f_pabee": (f_pabee, lambda r, n: {"patience": int(r.integers(1, 4)), "threshold": r.uniform(0, 0.3)}),
    "f_pabee_released": (f_pabee_released, lambda r, n: {
        "patience": int(r.integers(1, 4)), "threshold": r.uniform(0, 1)
    }),
    "beem_c": (beem_c, lambda r, n: {"threshold": r.uniform(0, 2), "cost": r.uniform(0.05, 0.5)}),
    "beem_released": (beem_released, lambda r, n: {"threshold": r.uniform(0, 2), "cost": r.uniform(0.05, 0.5)}),
    "sdn": (sdn, lambda r, n: {"threshold": r.uniform(0.3, 1)}),
    "vote": (vote, lambda r, n: {"votes": int(r.integers(1, 6))}),
    "vote_share": (vote_share, lambda r, n: {"share": r.uniform(0.3, 1), "min_exit": int(r.integers(1, 5))}),
    "product_anytime": (product_anytime, lambda r, n: {"threshold": r.uniform(0.3, 0.999)}),
    "caching_anytime": (caching_anytime, lambda r, n: {"threshold": r.uniform(0.3, 1)}),
    "mpee": (mpee, lambda r, n: {"threshold": r.uniform(0, 1)}),
    "beem_per_class": (beem_per_class, lambda r, n: {"threshold": r.uniform(0, 2), "cost": r.uniform(0.05, 0.5)}),
    "beem_unweighted": (beem_unweighted, lambda r, n: {"threshold": r.uniform(0, 4)}),
    "beem_restart": (beem_restart, lambda r, n: {"threshold": r.uniform(0, 2), "cost": r.uniform(0.05, 0.5)}),
    "agrees_with_final": (agrees_with_final, lambda r, n: {}),
}  # fmt: skip


def random_logits(rng, n, n_exits, n_classes):
    """Halves make ties between classes and between exits common."""
    drift = rng.normal(size=(n, 1, n_classes)) * np.arange(n_exits)[:, None] / 2
    return (np.round(2 * (rng.normal(size=(n, n_exits, n_classes)) + drift)) / 2).astype(np.float32)


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 2**32), n_exits=st.integers(1, 8), n_classes=st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_vectorised_decisions_equal_a_walk_over_one_sample(name, seed, n_exits, n_classes):
    rng = np.random.default_rng(seed)
    rule, draw = RULES[name]
    parameters = draw(rng, n_exits)
    logits = random_logits(rng, 8, n_exits, n_classes)
    spec = f"{name}({', '.join(f'{k}={str(v).lower()}' for k, v in parameters.items())})"
    decisions = decide(parse_policy(spec), EvidenceTable(TestTable(logits, np.zeros(8, np.int64))))
    for row, exits in enumerate(logits.tolist()):
        assert (decisions.exit_index[row], decisions.prediction[row]) == rule(exits, **parameters), (spec, exits)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_thresholds_of_classes_equal_a_walk_over_one_sample(seed):
    rng = np.random.default_rng(seed)
    three, two = random_logits(rng, 8, 5, 3), random_logits(rng, 8, 5, 2)
    a, b, c = rng.uniform(0.3, 1, 3).tolist()
    thresholds = decide(
        parse_policy(f"class_thresholds(thresholds=[{a}, {b}, {c}])"),
        EvidenceTable(TestTable(three, np.zeros(8, np.int64))),
    )
    mono = decide(
        parse_policy(f"monobert(positive={a}, negative={b})"), EvidenceTable(TestTable(two, np.zeros(8, np.int64)))
    )
    for row in range(8):
        expected = class_thresholds(three[row].tolist(), [a, b, c])
        assert (thresholds.exit_index[row], thresholds.prediction[row]) == expected
        assert (mono.exit_index[row], mono.prediction[row]) == monobert(two[row].tolist(), a, b)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_beem_a_equals_a_walk_with_the_calibration_accuracies(seed):
    rng = np.random.default_rng(seed)
    calibration, logits = random_logits(rng, 30, 5, 3), random_logits(rng, 8, 5, 3)
    labels, threshold = rng.integers(0, 3, 30), rng.uniform(0, 2)
    weights = [np.mean([best(s[i]) == y for s, y in zip(calibration.tolist(), labels, strict=True)]) for i in range(5)]
    policy = parse_policy(f"beem_a(threshold={threshold})").fit(CalibrationTable(calibration, labels))
    decisions = decide(policy, EvidenceTable(TestTable(logits, np.zeros(8, np.int64))))
    for row, exits in enumerate(logits.tolist()):
        assert (decisions.exit_index[row], decisions.prediction[row]) == beem(exits, threshold, weights)


@given(seed=st.integers(0, 2**32), tolerance=st.floats(0.01, 2), patience=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_pabee_on_regressions_equals_a_walk_over_one_sample(seed, tolerance, patience):
    outputs = np.random.default_rng(seed).normal(size=(8, 6, 1)).astype(np.float32)
    evidence = EvidenceTable(TestTable(outputs, np.zeros(8)))
    decisions = decide(parse_policy(f"pabee(patience={patience}, tolerance={tolerance})"), evidence)
    for row, values in enumerate(outputs[:, :, 0].tolist()):
        count, leaves_at = 0, 5
        for i in range(1, 6):
            count = count + 1 if abs(values[i] - values[i - 1]) < tolerance else 0
            if count == patience:
                leaves_at = i
                break
        assert decisions.exit_index[row] == leaves_at
        assert decisions.prediction[row] == values[leaves_at]


def test_oracle_takes_the_first_exit_that_is_right():
    rng = np.random.default_rng(3)
    logits, labels = random_logits(rng, 50, 6, 3), rng.integers(0, 3, 50)
    decisions = decide(parse_policy("oracle"), EvidenceTable(TestTable(logits, labels)))
    for row, exits in enumerate(logits.tolist()):
        right = [i for i, z in enumerate(exits) if best(z) == labels[row]]
        assert decisions.exit_index[row] == (right[0] if right else 5)
        assert decisions.prediction[row] == best(exits[decisions.exit_index[row]])
