"""``check-policy``: the conformance suite on one rule, e.g. on a plug-in before it is used."""

from __future__ import annotations

from harness.console import Console
from policies.conformance import check_policy
from policies.spec import parse_policy


def run_conformance(spec: str, console: Console) -> bool:
    """Show every property of a policy; True if all hold.

    Raises:
        PolicyError: the spec is wrong, or nobody knows that name.
    """
    results = check_policy(parse_policy(spec))
    rows = [(result.name, "holds" if result.passed else "FAILS", result.detail) for result in results]
    data = {"policy": spec, "passed": all(result.passed for result in results), "properties": results}
    console.show(data, f"conformance of {spec}", ("property", "verdict", "detail"), rows)
    return all(result.passed for result in results)
