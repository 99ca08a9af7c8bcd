import pytest

from policies.base import ExitPolicy
from policies.confidence import MaxProb
from policies.errors import PolicyError
from policies.registry import catalogue, family, policy_class, reference
from policies.spec import canonical, parse_policy, split_spec


class Point:
    def __init__(self, name, value):
        self.name, self.value, self._loaded = name, "other_package:Rule", value

    def load(self):
        return self._loaded


@pytest.fixture
def entry_points(monkeypatch):
    points = []
    monkeypatch.setattr("policies.registry.entry_points", lambda group: points)
    catalogue.cache_clear()
    yield points
    catalogue.cache_clear()


def test_an_installed_package_adds_a_policy(entry_points):
    class Other(MaxProb):
        name = "other"

    entry_points.append(Point("other", Other))
    assert policy_class("other") is Other


def test_two_policies_of_one_name_are_a_sentence(entry_points):
    class Other(MaxProb):
        name = "max_prob"

    entry_points.append(Point("max_prob", Other))
    with pytest.raises(PolicyError, match="two policies are called 'max_prob'"):
        catalogue()


@pytest.mark.parametrize("value", [int, ExitPolicy, 3])
def test_an_entry_point_that_is_no_policy_is_a_sentence(entry_points, value):
    entry_points.append(Point("broken", value))
    with pytest.raises(PolicyError, match=r"entry point 'broken' \(other_package:Rule\) is not an ExitPolicy"):
        catalogue()


def test_family_and_reference_come_from_the_source():
    assert family(MaxProb) == "confidence"
    assert reference(MaxProb).startswith("the confidence rule of many multi-exit networks")


PUBLISHED = {
    1: ["right_tool(threshold=0.9)", "max_prob(threshold=[0.9, 0.8])", "sdn(threshold=0.8)",
        "monobert(positive=0.9, negative=0.8)", "class_thresholds(thresholds=[0.7, 0.9])"],
    2: ["vote(votes=3)", "vote_share(share=0.8, min_exit=2)", "ztw(threshold=0.9)", "product_anytime(threshold=0.9)",
        "caching_anytime(threshold=0.9)", "mpee(threshold=0.5)", "beem_per_class(threshold=1, cost=0.1)",
        "beem_unweighted(threshold=2)", "beem_restart(threshold=1, cost=0.1)", "beem_log_odds(threshold=1)"],
    3: ["eenet(budget=3)", "jei_dnn(trade_off=0.7)", "jei_dnn(trade_off=0.7, rule=hazard)",
        "confidence_gate(threshold=0.9)"],
    4: ["leenet(alpha=0.5)", "lte(threshold=0.1)", "calm_state(threshold=0.9)", "calm_classifier(threshold=0.9)",
        "class_means(threshold=0.9)", "palbert(q=0.5)", "ponder(threshold=0)", "dact(threshold=0)"],
    5: ["cats(epsilon=0.1, method=shared)", "cats(epsilon=0.1, method=independent)", "cats(epsilon=0.1, method=naive)"],
    6: ["ucb_exit(alpha=1)", "splitee(offload=0.1, side_information=true)", "ucb_threshold(seed=1)"],
    7: ["hash_exit(buckets=3)", "random(mean_exit=2, seed=1)", "fixed(exit=1)", "oracle", "agrees_with_final"],
    8: ["speed(defer=0.5, exit=0.9)"],
    9: ["optimal_stopping(price=0.1)"],
    10: ["pabee(patience=2, tolerance=0.5)", "lte(threshold=0.1)", "cats(epsilon=0.1)", "palbert(q=0.5)"],
}  # fmt: skip
"""What the catalogue promises, by kind: calibrated, ensembles, learned on logits, on features, conformal, online,
references, selective, ours, for regressions. Names and parameters are read by other programs."""


@pytest.mark.parametrize("spec", [spec for specs in PUBLISHED.values() for spec in specs])
def test_every_published_rule_is_there_under_its_name_and_parameters(spec):
    policy = parse_policy(spec)
    assert policy.name in catalogue()
    assert parse_policy(canonical(policy)) == policy


def test_rules_for_regressions_say_so():
    assert all("regression" in policy_class(split_spec(spec)[0]).tasks for spec in PUBLISHED[10])
