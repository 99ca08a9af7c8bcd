import numpy as np
import pytest

from policies.coins import uniform
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide


def table(n=20_000, n_exits=12, n_outputs=2):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n) if n_outputs > 1 else rng.normal(size=n)
    return EvidenceTable(TestTable(rng.normal(size=(n, n_exits, n_outputs)).astype(np.float32), labels))


@pytest.mark.parametrize("mean_exit", [1, 1.5, 3, 6.5, 9, 11.5, 12])
def test_random_meets_its_mean_exit(mean_exit):
    exits = decide(parse_policy(f"random(mean_exit={mean_exit}, seed=4)"), table()).exit_index + 1
    assert abs(exits.mean() - mean_exit) < 4 * max(exits.std(), 1e-9) / np.sqrt(len(exits)) + 1e-12


def test_random_follows_a_geometric_law_cut_off_at_the_last_exit():
    exits = decide(parse_policy("random(mean_exit=1.75)"), table(n_exits=3)).exit_index
    p = 0.5  # 1/2 * 1 + 1/4 * 2 + 1/4 * 3 = 1.75
    assert np.allclose(np.bincount(exits) / len(exits), [p, p / 2, p / 2], atol=0.015)


def test_random_depends_on_the_sample_id_and_the_seed_only():
    evidence = table(n=500)
    exits = decide(parse_policy("random(mean_exit=4)"), evidence).exit_index
    order = np.random.default_rng(1).permutation(500)
    shuffled = EvidenceTable(evidence.table.rows(order))
    assert (decide(parse_policy("random(mean_exit=4)"), shuffled).exit_index == exits[order]).all()
    assert (decide(parse_policy("random(mean_exit=4, seed=1)"), evidence).exit_index != exits).mean() > 0.5


def test_coins_are_uniform_and_pinned():
    coins = uniform(np.arange(100_000), 3, 1)
    assert np.abs(np.bincount((coins * 10).astype(int)) / 10_000 - 1).max() < 0.05
    assert abs(np.corrcoef(coins, uniform(np.arange(100_000), 3, 2))[0, 1]) < 0.02
    assert coins.min() > 0
    assert coins.max() < 1
    # Results are committed: the same id must draw the same coin on every machine and in every version.
    assert uniform(np.array([0, 1, -1]), 0, 1).round(6).tolist() == [0.184367, 0.423211, 0.620837]


@pytest.mark.parametrize("spec", ["fixed(exit=13)", "random(mean_exit=12.5)"])
def test_an_exit_beyond_the_network_is_a_sentence(spec):
    with pytest.raises(PolicyError, match=r"exits 1\.\.12"):
        decide(parse_policy(spec), table(n=2))


@pytest.mark.parametrize("spec", ["fixed(exit=0)", "random(mean_exit=0)", "fixed(exit=1.5)"])
def test_an_impossible_exit_is_a_sentence(spec):
    with pytest.raises(PolicyError, match="1 or more"):
        parse_policy(spec)


@pytest.mark.parametrize("spec", ["final", "fixed(exit=2)", "random(mean_exit=3)"])
def test_references_answer_regressions(spec):
    evidence = table(n=30, n_outputs=1)
    decisions = decide(parse_policy(spec), evidence)
    assert (decisions.prediction == evidence.table.logits[np.arange(30), decisions.exit_index, 0]).all()


@pytest.mark.parametrize("buckets", [1, 2, 5, 12])
def test_a_hash_fills_its_buckets_evenly(buckets):
    exits = decide(parse_policy(f"hash_exit(buckets={buckets})"), table()).exit_index
    shares = np.bincount(exits, minlength=buckets) / len(exits)
    assert len(shares) == buckets
    assert np.allclose(shares, 1 / buckets, atol=0.01)


def test_a_hash_by_hand():
    # u = .423211 for id 1 and salt 0 alone is checked through the rule: floor(buckets * u) for every number of buckets.
    evidence = table(n=50)
    u = uniform(np.arange(50), 0)
    for buckets in range(1, 13):
        exits = decide(parse_policy(f"hash_exit(buckets={buckets})"), evidence).exit_index
        assert (exits == np.floor(buckets * u)).all()


def test_more_buckets_than_exits_never_leave_early():
    assert (decide(parse_policy("hash_exit(buckets=13)"), table(n=500)).exit_index == 11).all()
