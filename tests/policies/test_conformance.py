"""The conformance suite passes for every rule in the catalogue and catches the faults it is made for."""

import dataclasses

import numpy as np
import pytest

from policies.base import ExitPolicy
from policies.confidence import MaxProb
from policies.conformance import check_policy
from policies.parameters import Threshold, knob
from policies.registry import catalogue, reference


@pytest.mark.parametrize("name", catalogue())
def test_every_policy_conforms(name):
    results = check_policy(catalogue()[name]())
    assert [f"{r.name}: {r.detail}" for r in results if not r.passed] == []
    assert len(results) > 10


@pytest.mark.parametrize("name", catalogue())
def test_every_policy_has_a_reference_and_one_line_that_says_what_it_does(name):
    cls = catalogue()[name]
    assert len(reference(cls)) > 20
    assert cls.__doc__.splitlines()[0].endswith(".")


def failures(cls):
    return {r.name for r in check_policy(cls()) if not r.passed}


@dataclasses.dataclass(frozen=True, slots=True)
class Base(ExitPolicy):
    threshold: Threshold = knob()
    needs = frozenset({"label", "confidence"})


def rule(observe, **class_variables):
    return type("Made", (Base,), {"__slots__": (), "name": "made", "observe": observe, **class_variables})


def test_the_base_of_these_faults_conforms():
    assert failures(rule(lambda self, s, e: (s, e.confidence, e.label))) == set()
    assert failures(MaxProb) == set()


def test_a_state_changed_in_place_is_caught():
    def observe(self, state, evidence):
        state["sum"] += evidence.confidence
        return state, state["sum"], evidence.label

    faulty = rule(observe, begin=lambda self, rows: {"sum": np.zeros(rows)})
    assert {"needs", "batch split"} <= failures(faulty)


def test_reading_undeclared_evidence_is_caught():
    assert "needs" in failures(rule(lambda self, s, e: (s, e.margin, e.label)))


def test_changing_the_evidence_is_caught():
    def observe(self, state, evidence):
        score = evidence.confidence
        score *= 0.5
        return state, score, evidence.label

    assert failures(rule(observe)) == {"runs"}


def test_a_score_that_depends_on_the_batch_is_caught():
    def observe(self, state, evidence):
        return state, evidence.confidence - evidence.confidence.mean(), evidence.label

    assert {"batch split", "one sample", "live compaction"} <= failures(rule(observe))


def test_a_score_that_depends_on_the_position_is_caught():
    def observe(self, state, evidence):
        return state, evidence.confidence * np.linspace(0.5, 1, len(evidence)), evidence.label

    assert "permutation" in failures(rule(observe))


def test_a_policy_that_remembers_beyond_its_state_is_caught():
    memory = []

    def observe(self, state, evidence):
        memory.append(evidence.confidence.sum())
        return state, evidence.confidence + len(memory), evidence.label

    assert {"causality", "determinism", "permutation"} <= failures(rule(observe))


def test_labels_are_not_handed_to_causal_policies():
    faulty = rule(lambda self, s, e: (s, (e.truth == e.label) * 1.0, e.label), needs=frozenset({"label", "truth"}))
    assert failures(faulty) == {"runs"}


def test_nan_entropy_is_caught():
    def observe(self, state, evidence):
        with np.errstate(divide="ignore", invalid="ignore"):
            score = -(evidence.probs * np.log(evidence.probs)).sum(axis=1)
        return state, score, evidence.label

    faulty = rule(observe, needs=frozenset({"label", "probs"}), leaves_when="<")
    assert failures(faulty) == {"saturated logits"}


def test_a_spec_that_does_not_read_back_is_caught():
    class Rounded(Base):
        __slots__ = ()
        name = "rounded"

        def __post_init__(self):
            object.__setattr__(self, "threshold", None if self.threshold is None else self.threshold * 0.9)

        def observe(self, state, evidence):
            return state, evidence.confidence, evidence.label

    assert failures(Rounded) == {"round trip"}


def test_a_policy_that_raises_is_a_failed_property_and_not_a_traceback():
    def observe(self, state, evidence):
        raise KeyError("oops")

    (only,) = check_policy(rule(observe)())
    assert (only.name, only.passed) == ("runs", False)
    assert "oops" in only.detail
