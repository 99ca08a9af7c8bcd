import pytest

from policies.base import ExitPolicy
from policies.confidence import MaxProb
from policies.errors import PolicyError
from policies.registry import catalogue, family, policy_class, reference


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
