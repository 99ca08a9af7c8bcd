"""The hand-made fixture of the policy catalogue, row by row: it separates the rules that are easily confused."""

from dataclasses import replace

import numpy as np
import pytest

from policies.evidence import Evidence, EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.trials import walk
from policies.walk import decide, exits_of

EASY = [[1, 0.5, 0], [2, 0.5, 0], [3, 0, 0], [4, 0, 0], [5, 0, 0], [6, 0, 0]]
OSCILLATES = [[0.5, 1, 0], [1, 0.5, 0], [0.5, 1, 0], [0, 1.5, 0], [0, 2.5, 0], [0, 3, 0]]
WRONG_FIRST = [[3, 0, 0], [0, 2, 0], [0, 2, 0], [0, 2, 0], [0, 2, 0], [0, 2, 0]]
NEVER_CONFIDENT = [[0, 0, 0.2]] * 6
LOGITS = np.array([EASY, OSCILLATES, WRONG_FIRST, NEVER_CONFIDENT], np.float32)
LABELS = np.array([0, 1, 1, 2])

ROWS = [
    ("entropy(threshold=0.5)", "3 6 1 6", "0 1 0 2"),
    ("entropy(threshold=0.1)", "5 6 6 6", "0 1 1 2"),
    ("normalized_entropy(threshold=0.5)", "3 5 1 6", "0 1 0 2"),
    ("normalized_entropy(threshold=0.8)", "2 4 1 6", "0 1 0 2"),
    ("max_prob(threshold=0.9)", "3 6 1 6", "0 1 0 2"),
    ("max_prob(threshold=0.75)", "3 5 1 6", "0 1 0 2"),
    ("margin(threshold=0.6)", "3 5 1 6", "0 1 0 2"),
    ("energy(threshold=0.05)", "3 6 1 6", "0 1 0 2"),
    ("pabee(patience=1)", "2 4 3 2", "0 1 1 2"),
    ("pabee(patience=2)", "3 5 4 3", "0 1 1 2"),
    ("pabee(patience=3)", "4 6 5 4", "0 1 1 2"),
    ("pcee(patience=2, threshold=0.5)", "4 6 6 6", "0 1 1 2"),
    ("pcee(patience=1, threshold=0.5)", "3 5 1 6", "0 1 0 2"),
    ("f_pabee(patience=2, threshold=0.02)", "5 6 4 3", "0 1 1 2"),
    ("beem_c(cost=0.1, threshold=0.2)", "3 4 3 3", "0 1 1 2"),
    ("beem_c(cost=0.1, threshold=1.0)", "5 6 5 6", "0 1 1 2"),
    ("beem_c(cost=0.4, threshold=1.5)", "3 4 3 4", "0 1 1 2"),
    ("beem_released(cost=0.4, threshold=1.5)", "4 5 4 5", "0 1 1 2"),
    ("sdn(threshold=0.8)", "3 5 1 6", "0 1 0 2"),
    ("vote_share(share=0.8, min_exit=1)", "1 1 1 1", "0 1 0 2"),
    ("product_anytime(threshold=0.9)", "3 4 1 1", "0 1 0 2"),
    # Counted by hand:
    ("vote(votes=3)", "3 4 4 3", "0 1 1 2"),
    ("vote(votes=5)", "5 6 6 5", "0 1 1 2"),
    ("vote_share(share=0.8, min_exit=3)", "3 5 5 3", "0 1 1 2"),
    ("beem_per_class(cost=0.1, threshold=0.2)", "3 3 3 3", "0 1 1 2"),
    ("beem_unweighted(threshold=1.5)", "3 5 3 4", "0 1 1 2"),
    ("beem_restart(cost=0.1, threshold=0.2)", "3 4 3 4", "0 1 1 2"),
    ("caching_anytime(threshold=0.9)", "3 6 1 6", "0 1 0 2"),
    ("caching_anytime(threshold=0.96)", "4 6 6 6", "0 1 0 2"),
    ("mpee(threshold=0.5)", "3 6 1 6", "0 1 0 2"),
    ("agrees_with_final", "1 1 2 1", "0 1 1 2"),
    ("oracle", "1 1 2 1", "0 1 1 2"),
    ("final", "6 6 6 6", "0 1 1 2"),
    ("fixed(exit=2)", "2 2 2 2", "0 0 1 2"),
    # Entropies of means of neighbours, from exit 2 on: s1 .914 .587; s2 1.045 1.045 .947 .689 .439; s3 .905 .666 .666.
    ("f_pabee_released(patience=2, threshold=0.7)", "4 6 4 6", "0 1 1 2"),
    ("class_thresholds(thresholds=[0.7, 0.85, 0.37])", "2 5 1 1", "0 1 0 2"),
]  # fmt: skip


@pytest.fixture(scope="module")
def evidence():
    return EvidenceTable(TestTable(LOGITS, LABELS))


@pytest.mark.parametrize(("spec", "exits", "predictions"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_fixture(evidence, spec, exits, predictions):
    decisions = decide(parse_policy(spec), evidence)
    assert (decisions.exit_index + 1).tolist() == [int(e) for e in exits.split()]
    assert decisions.prediction.tolist() == [int(p) for p in predictions.split()]


def test_right_tool_with_the_temperatures_of_the_fixture(evidence):
    policy = replace(
        parse_policy("right_tool(threshold=0.75)"), temperatures=np.array([0.593, 1.159, 1.162, 1.299, 1, 1])
    )
    decisions = decide(policy, evidence)
    assert (decisions.exit_index + 1).tolist() == [3, 5, 1, 6]
    assert decisions.prediction.tolist() == [0, 1, 0, 2]


def test_sdn_charges_the_last_exit_but_answers_with_the_most_confident_one():
    # The fourth sample is equally unsure everywhere, so the first exit wins the tie; give that one another label.
    logits = LOGITS.copy()
    logits[3, 0] = [0.2, 0, 0]
    decisions = decide(parse_policy("sdn(threshold=0.8)"), EvidenceTable(TestTable(logits, LABELS)))
    assert decisions.exit_index[3] == 5
    assert decisions.fell_through[3]
    assert decisions.prediction[3] == 0


def test_entropies_of_the_fixture(evidence):
    entropy = evidence.quantity("entropy")
    assert entropy[:, 0].round(4).tolist() == [1.0202, 0.7520, 0.3666, 0.1773, 0.0799, 0.0345]
    assert entropy[:2, 2].round(4).tolist() == [0.3666, 0.6656]
    assert (entropy[:, 3].round(4) == 1.0940).all()


@pytest.mark.parametrize(("tolerance", "first", "second"), [(0.1, 4, 6), (0.94, 3, 6), (0.0, 6, 6)])
def test_pabee_on_a_regression(tolerance, first, second):
    outputs = np.array([[2.0, 2.3, 2.35, 2.36, 2.36, 2.36], [1, 2, 3, 4, 5, 5.05]], np.float32)
    evidence = EvidenceTable(TestTable(outputs[:, :, None], np.array([2.4, 5.0])))
    decisions = decide(parse_policy(f"pabee(patience=2, tolerance={tolerance})"), evidence)
    assert (decisions.exit_index + 1).tolist() == [first, second]
    assert decisions.prediction.tolist() == outputs[[0, 1], decisions.exit_index].tolist()


@pytest.mark.parametrize(("tolerance", "leaves_at"), [(0.0, 4), (0.25, 4), (0.26, 2)])
def test_a_change_of_exactly_the_tolerance_is_no_agreement(tolerance, leaves_at):
    evidence = EvidenceTable(TestTable(np.array([[[1.0], [1.25], [1.5], [1.75]]], np.float32), np.array([1.0])))
    assert decide(parse_policy(f"pabee(patience=1, tolerance={tolerance})"), evidence).exit_index[0] + 1 == leaves_at


def test_equal_outputs_do_not_agree_under_the_default_tolerance():
    evidence = EvidenceTable(TestTable(np.ones((1, 4, 1), np.float32), np.array([1.0])))
    assert decide(parse_policy("pabee(patience=1)"), evidence).exit_index[0] + 1 == 4


SENTENCES = [
    [.6252, .6200, .6339, .4669, .4287, .1127, .0373, .0043, .0004, .0011, .0020, .0023],
    [.6930, .6813, .6720, .6517, .6806, .2823, .0712, .0721, .0082, .0113, .0076, .0032],
    [.6876, .6885, .6905, .6722, .6250, .4451, .1349, .1357, .0786, .0318, .0412, .0363],
]  # fmt: skip


@pytest.mark.parametrize(("threshold", "exits"), [(0.1, [7, 7, 9]), (0.3, [6, 6, 7])])
def test_published_entropies_of_three_sentences(threshold, exits):
    policy = parse_policy(f"entropy(threshold={threshold})")
    labels, entropies = np.zeros(3, np.int64), np.array(SENTENCES)
    stream = (
        Evidence(
            i, n_exits=12, n_outputs=2, sample_ids=np.arange(3), known={"entropy": entropies[:, i], "label": labels}
        )
        for i in range(12)
    )
    assert (exits_of(policy, walk(policy, stream, 3)).exit_index + 1).tolist() == exits


def test_the_accuracies_that_weigh_beem_a():
    calibration = CalibrationTable(LOGITS, LABELS)
    policy = parse_policy("beem_a(threshold=2.0)").fit(calibration)
    # Right at exit 1: samples 1, 2 and 4; at exit 2: 1, 3 and 4; from exit 3 on: all.
    assert policy.weights.tolist() == [0.75, 0.75, 1, 1, 1, 1]
    decisions = decide(policy, EvidenceTable(TestTable(LOGITS, LABELS)))
    # s1: .506 * .75 + .736 * .75 + .909 = 1.84, + .965 passes 2 at exit 4; s2 restarts at exit 3: .506 + .691 + .859;
    # s3 restarts at exit 2: .787 * (.75 + 1 + 1); s4: .379 * (.75 + .75 + 4) = 2.08, but .379 * 4.5 = 1.71 at exit 5.
    assert (decisions.exit_index + 1).tolist() == [4, 5, 4, 6]
