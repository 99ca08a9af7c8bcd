import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.spec import canonical, parse_policy


def test_canonical_form_has_every_parameter_sorted():
    assert canonical(parse_policy("pcee( threshold = .5,patience=2 )")) == (
        "pcee(agreement=false, ensemble=current, patience=2, threshold=0.5)"
    )
    assert canonical(parse_policy("final")) == canonical(parse_policy("final()")) == "final"
    assert canonical(parse_policy("max_prob(threshold=[1, 0.5])")) == "max_prob(threshold=[1, 0.5])"


@given(st.floats(0, 1))
def test_thresholds_survive_the_round_trip(value):
    policy = parse_policy(f"max_prob(threshold={value!r})")
    assert policy.threshold == value
    assert parse_policy(canonical(policy)) == policy


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.booleans(), st.integers(1, 20))
def test_every_kind_of_value_survives_the_round_trip(levels, agreement, patience):
    policy = parse_policy(f"pcee(threshold={levels}, agreement={agreement}, patience={patience}, ensemble=run)")
    assert parse_policy(canonical(policy)) == policy


def test_never_and_always_survive_the_round_trip():
    policy = parse_policy("max_prob(threshold=1)").at(math.nextafter(1, 2))
    assert parse_policy(canonical(policy)) == policy


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("max_prop(threshold=1)", "Did you mean 'max_prob'"),
        ("max_prob(treshold=1)", "Did you mean 'threshold'"),
        ("max_prob(threshold=1.5)", r"threshold is 1\.5, but must be 0\.\.1"),
        ("max_prob(threshold=nan)", "must be a number"),
        ("max_prob(threshold=high)", "must be a number"),
        ("max_prob(threshold=true)", "must be a number"),
        ("pabee(patience=0)", "patience is 0, but must be 1 or more"),
        ("pabee(patience=1.5)", "must be a whole number"),
        ("pabee(patience=[1, 2])", "is a list, but must be one number"),
        ("pcee(agreement=1)", "must be true or false"),
        ("pcee(ensemble=al)", "Did you mean 'all'"),
        ("max_prob(threshold=1, threshold=2)", "given twice"),
        ("max_prob(threshold=1", "malformed"),
        ("max_prob threshold=1", "malformed"),
        ("max_prob(threshold)", "malformed"),
        ("max_prob(threshold=[1, x])", "'x' is not a number"),
        ("", "malformed"),
    ],
)
def test_a_bad_spec_is_a_sentence(spec, sentence):
    with pytest.raises(PolicyError, match=sentence):
        parse_policy(spec)
