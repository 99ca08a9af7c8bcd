"""The conformance suite passes for every rule in the catalogue and catches the faults it is made for."""

import dataclasses

import numpy as np
import pytest

from policies.base import ExitPolicy
from policies.confidence import MaxProb
from policies.conformance import check_policy
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.parameters import Threshold, knob, learned
from policies.registry import catalogue, reference
from policies.trials import synthetic
from policies.walk import trace


@pytest.mark.parametrize("name", catalogue())
def test_every_policy_conforms(name):
    results = check_policy(catalogue()[name]())
    assert [f"{r.name}: {r.detail}" for r in results if not r.passed] == []
    assert len(results) > 10


@pytest.fixture(scope="module")
def details():
    """Detail of every property of every rule of this package: {property: {rule: detail}}."""
    found = {}
    for name, cls in catalogue().items():
        for result in check_policy(cls()):
            found.setdefault(result.name, {})[name] = result.detail
    return found


def refusing(details):
    return {name for name, detail in details.items() if detail.startswith("refused: ")}


def test_the_properties_of_shape_are_not_vacuous(details):
    everybody = set(catalogue())
    assert set(details["two classes"]) == everybody
    assert refusing(details["two classes"]) == set()
    assert refusing(details["many classes"]) == {"monobert"}
    assert refusing(details["one exit"]) == {"cats", "optimal_stopping", "optimal_stopping_ensemble"}
    for_regression = {name for name, cls in catalogue().items() if "regression" in cls.tasks}
    assert everybody - refusing(details["regression"]) == for_regression
    assert {"cats", "lte", "pabee", "palbert", "ponder"} < for_regression
    for shape in ("one exit", "two classes", "many classes", "regression"):
        assert all(detail.startswith(("refused: ", "mean exit ")) for detail in details[shape].values())


def test_scores_are_really_used_on_the_other_shapes(details):
    # Neither end of the network: samples leave early and late, so the rule was fitted and placed on that very table.
    between = [n for n, d in details["many classes"].items() if "5.00 of" not in d and "mean exit 1.00" not in d]
    assert len(between) > 40


def test_every_rule_that_learns_is_tried_on_meagre_samples(details):
    learns = {name for name, cls in catalogue().items() if cls.learns()}
    tried = {name for name, detail in details["meagre calibration"].items() if detail.startswith("fitted on ")}
    assert tried == learns
    assert len(learns) > 15


@pytest.mark.parametrize("name", [name for name, cls in catalogue().items() if cls.learns()])
def test_a_fitted_rule_fits_another_network_as_if_it_had_seen_nothing(name):
    policy = catalogue()[name]()
    before, after = synthetic(100, 6, 3, policy), synthetic(100, 4, 3, policy, seed=1)
    again, fresh = (trace(start.fit(after), EvidenceTable(after)) for start in (policy.fit(before), policy))
    assert np.array_equal(again.score, fresh.score, equal_nan=True)
    assert np.array_equal(again.answer, fresh.answer)


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


@dataclasses.dataclass(frozen=True, slots=True)
class Learner(Base):
    """A faultless rule with learned fields; the faults below are made of it."""

    means: np.ndarray | None = learned()

    def learn(self, calibration):
        return dataclasses.replace(self, means=calibration.logits.mean(axis=(0, 2)))

    def observe(self, state, evidence):
        return state, evidence.confidence + self.known(self.means)[evidence.exit_index] * 1e-3, evidence.label


def learner(**members):
    return type("Made", (Learner,), {"__slots__": (), "name": "made", **members})


def test_a_rule_that_learns_conforms():
    assert failures(learner()) == set()


def test_a_fit_that_only_works_for_the_first_shape_is_caught():
    def learn(self, calibration):
        if calibration.n_exits != 6 or calibration.n_outputs != 3:
            raise PolicyError("made: give six exits and three classes")
        return Learner.learn(self, calibration)

    assert failures(learner(learn=learn)) == {"one exit", "two classes", "many classes"}


def test_a_fit_that_starts_from_an_earlier_one_is_caught():
    def fit(self, calibration):
        self.check(calibration)
        return self.learn(calibration) if self.means is None else self

    stale = learner(fit=fit)
    table = synthetic(30, 4, 3, stale())
    other = dataclasses.replace(table, logits=table.logits + 1)
    assert not np.array_equal(learner()().fit(table).fit(other).means, learner()().fit(table).means)
    assert "determinism" in failures(stale)


def test_a_refusal_that_helps_nobody_is_caught():
    def check_shape(self, n_exits, n_outputs):
        ExitPolicy.check_shape(self, n_exits, n_outputs)
        if n_outputs == 2:
            raise PolicyError("no")

    assert failures(learner(check_shape=check_shape)) == {"two classes"}


def test_learned_numbers_that_fit_another_network_are_caught():
    def learn(self, calibration):
        return dataclasses.replace(self, means=np.zeros(6))

    assert failures(learner(learn=learn)) >= {"one exit", "two classes", "many classes"}


def test_a_fit_that_turns_into_nan_on_meagre_samples_is_caught():
    def learn(self, calibration):
        spread = calibration.logits.std(axis=0).mean(axis=1)
        return dataclasses.replace(self, means=np.where(spread > 0, spread, np.nan)[: len(spread)])

    assert failures(learner(learn=learn)) == {"meagre calibration"}


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


def test_a_rule_that_takes_numbers_but_answers_with_arrays_is_caught():
    def observe(self, state, evidence):
        return state, np.where(evidence.confidence > 0.5, evidence.confidence, 0.0), evidence.label

    assert failures(rule(observe)) == set()
    assert failures(rule(observe, takes_numbers=True)) == {"numbers"}


def test_a_rule_that_says_something_else_of_numbers_is_caught():
    def observe(self, state, evidence):
        return state, evidence.confidence + (not isinstance(evidence.label, np.ndarray)), evidence.label

    assert failures(rule(observe, takes_numbers=True)) == {"numbers"}


def test_taking_numbers_is_not_inherited_by_a_rule_that_looks_otherwise():
    class Renamed(MaxProb):
        __slots__ = ()

    class Halved(MaxProb):
        __slots__ = ()

        def observe(self, state, evidence):
            return state, evidence.confidence / 2, evidence.label

    assert Renamed.takes_numbers
    assert not Halved.takes_numbers
