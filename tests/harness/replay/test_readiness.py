from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from harness.replay.readiness import level_beyond, levels_of, readiness_of, require_knob, require_per_exit
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.parameters import Threshold, knob
from policies.spec import parse_policy


@dataclass(frozen=True, slots=True)
class _Rule(ExitPolicy):
    threshold: Threshold = knob(low=-1, high=2)
    name = "rule"
    needs = frozenset({"label"})

    def observe(self, state, evidence):
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _Whole(_Rule):
    threshold: int | None = knob(low=1, high=5)


def with_comparison(base: type, sign: str) -> ExitPolicy:
    return type("Rule", (base,), {"leaves_when": sign, "__slots__": (), "__module__": __name__})()


SCORES = np.array([-5.0, -1.0, 0.0, 0.5, 1.5, 2.0, 2.5, 7.0, np.nan, np.inf, -np.inf])


@pytest.mark.parametrize("base", [_Rule, _Whole])
@pytest.mark.parametrize("sign", [">=", ">", "<=", "<"])
def test_the_level_of_a_readiness_releases_exactly_those_that_are_as_ready(base: type, sign: str) -> None:
    policy = with_comparison(base, sign)
    ready = readiness_of(policy, SCORES)
    for readiness in np.unique(ready[np.isfinite(ready)]):
        level = float(levels_of(policy, np.array([readiness]))[0])
        at = policy.at(int(level) if base is _Whole else level)  # is inside the domain
        np.testing.assert_array_equal(at.leaves(SCORES, 0), ready >= readiness)


@pytest.mark.parametrize("base", [_Rule, _Whole])
@pytest.mark.parametrize("sign", [">=", ">", "<=", "<"])
def test_beyond_the_highest_readiness_everybody_stays(base: type, sign: str) -> None:
    policy = with_comparison(base, sign)
    scores = np.array([1.2, 1.7, 1.9])
    level = level_beyond(policy, float(readiness_of(policy, scores).max()))
    assert not policy.at(level).leaves(scores, 0).any()
    always = readiness_of(policy, SCORES).max()  # beyond the end of the domain: somebody always leaves
    assert level_beyond(policy, float(always)) is None


def test_a_knob_is_needed_and_for_some_rules_one_number_an_exit() -> None:
    require_per_exit(parse_policy("max_prob"), "beem_error_rate")
    with pytest.raises(PolicyError, match=r"pabee: .* patience is one number for all"):
        require_per_exit(parse_policy("pabee"), "beem_error_rate")
    with pytest.raises(PolicyError, match="nothing that budget could choose"):
        require_knob(parse_policy("final"), "budget")
