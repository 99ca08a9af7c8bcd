import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.registry import catalogue
from policies.sums import over_columns
from policies.trials import stream, synthetic, walk
from policies.walk import trace


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 40, 300])
def test_a_row_adds_up_alike_in_every_batch_and_layout(columns):
    terms = np.random.default_rng(0).normal(size=(50, columns))
    expected = [np.cumsum(row)[-1] for row in terms]  # one after the other
    for layout in (np.ascontiguousarray, np.asfortranarray):
        assert np.array_equal(over_columns(layout(terms)), expected)
        for size in (1, 2, 3):
            assert np.array_equal(over_columns(layout(terms[:size])), expected[:size])
    if columns >= 8:
        assert not np.array_equal(terms.sum(axis=1), expected), "the sum of numpy would do"


@pytest.mark.parametrize("n_outputs", [3, 12, 40])
@pytest.mark.parametrize("name", [name for name, cls in catalogue().items() if cls.causal and not cls.online])
def test_a_score_has_the_same_bits_alone(name, n_outputs):
    policy = catalogue()[name]()
    table = synthetic(24, 5, n_outputs, policy)
    try:
        policy = policy.fit(table) if policy.learns() else policy
        evidence = EvidenceTable(table)
        together = trace(policy, evidence).score
    except PolicyError:
        pytest.skip("not for so many classes")
    for row in range(table.n):
        alone = walk(policy, stream(evidence, policy, np.array([row])), 1).score
        assert np.array_equal(alone[:, 0], together[:, row], equal_nan=True)
