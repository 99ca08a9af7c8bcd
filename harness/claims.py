"""The claims ledger: what papers say, tested on every cell and pooled; the verdict may be that it cannot be told.

The claims are in ``claims.toml``. A claim holds where its test rejects the opposite, does not hold where the test
rejects the claim, and is not decidable otherwise; ties and tiny cells are not decidable.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from harness.cells.specs import Spec, parse_spec
from harness.claim_tests import (
    NOTHING,
    Found,
    against_final,
    at_speed,
    equal_speed,
    margin_is_max_prob,
    operating,
)
from harness.errors import UserError
from harness.statistics.effects import FEWEST, Effect, tails
from harness.statistics.paired import holm
from harness.subjects import ALL, Row, Subject, pooled, pooled_means, rounded
from policies.base import ExitPolicy
from policies.errors import PolicyError

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decidable"
_ALPHA = 0.05
_NAN = math.nan


class ClaimTest(Spec):
    """How a claim is tested, see ``claims.toml``."""

    kind: Literal["at_speed", "operating", "equal_speed", "margin_is_max_prob"]
    policy: str
    baseline: str = "final"
    operating: str = ""
    speedup: tuple[float, float] | None = None
    relation: Literal["better", "at_least"] = "better"
    margin: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.speedup is not None) != (self.kind in ("at_speed", "equal_speed")):
            raise ValueError(f"a test of kind {self.kind} needs a range of speed-ups exactly if it is one at a speed")
        if self.speedup is not None and not 1 <= self.speedup[0] < self.speedup[1]:
            raise ValueError("speedup is a range [low, high] with 1 <= low < high")
        if bool(self.operating) != (self.kind == "operating"):
            raise ValueError("operating is the rule of a test of kind operating, and of no other")
        if (self.margin > 0) != (self.relation == "at_least"):
            raise ValueError("a margin belongs to relation at_least, and to no other")
        return self

    def sentence(self) -> str:
        """Say in a line what is tested."""
        if self.kind == "margin_is_max_prob":
            return "no sample of a table of two classes is decided otherwise at any threshold"
        bound = f"> -{self.margin:g}" if self.relation == "at_least" else "> 0"
        where = self.operating
        if self.speedup is not None:
            speeds = f"speed-up {self.speedup[0]:g} to {self.speedup[1]:g}"
            where = f"best calibration point at {speeds}" if self.kind == "at_speed" else f"mean over {speeds}"
        return f"{self.policy} - {self.baseline} {bound}, {where}"


class Claim(Spec):
    """One entry of the ledger."""

    id: str
    paper: str
    statement: str
    source: str
    cells: str = "*"
    test: ClaimTest


class Ledger(Spec):
    """The whole ledger."""

    claims: tuple[Claim, ...] = Field(min_length=1)


class Decision(NamedTuple):
    """Where a test came down before correction for several tests: a two-sided p-value and the side it speaks for."""

    p_value: float
    side: str


def load_claims() -> tuple[Claim, ...]:
    """Return the ledger.

    Raises:
        UserError: the file is wrong.
    """
    text = resources.files("harness").joinpath("claims.toml").read_text(encoding="utf-8")
    return parse_spec(Ledger, text, where="harness/claims.toml").claims


def examine(claims: Sequence[Claim], subject: Subject) -> dict[str, Found]:
    """Return what each claim's test finds on a cell, by the claim's id; claims about other cells are left out."""
    found: dict[str, Found] = {}
    points: dict[str, ExitPolicy] = {}
    for claim in claims:
        if not fnmatch.fnmatchcase(subject.id, claim.cells):
            continue
        try:
            result = _examine(claim.test, subject)
        except (PolicyError, UserError) as error:
            result = NOTHING._replace(metric=subject.metric.name, reason=str(error))
        if isinstance(result, Found):
            found[claim.id] = result
        else:
            points[claim.id] = result
    results = against_final(subject, list(points.values()))  # together: drawing the resamples is what costs
    return found | dict(zip(points, results, strict=True))


def claim_rows(claims: Sequence[Claim], found: Mapping[str, Mapping[str, Found]]) -> list[Row]:
    """Return one row a claim and cell, and one for all cells of a claim together.

    The p-values of a claim's cells are corrected by Holm over the cells, those of the pooled rows over the claims.

    Args:
        claims: The ledger.
        found: By cell, what ``examine`` returned.
    """
    rows: list[Row] = []
    together: list[Row] = []
    for place, claim in enumerate(claims):
        mine = {cell: results[claim.id] for cell, results in found.items() if claim.id in results}
        cells = [_row(place, claim, cell, result) for cell, result in mine.items()]
        _settle(cells)
        rows += cells
        together.append(_row(place, claim, ALL, _pool(mine)) | {"n_cells": _used(mine)})
    _settle(together)
    return rows + together


def decide(effect: Effect | None, test: ClaimTest, n: int) -> Decision:
    """Return on which side an effect comes down; NaN where nothing can be said."""
    if effect is None or n < FEWEST:
        return Decision(_NAN, OPEN)
    above, below = tails(effect, margin=test.margin)
    if math.isnan(above):
        return Decision(_NAN, OPEN)
    # Being worse for certain goes before being worse by less than the margin.
    if 2.0 * below < _ALPHA or below < above:
        return Decision(min(1.0, 2.0 * below), FAILS)
    return Decision(min(1.0, 2.0 * above), HOLDS)


def _examine(test: ClaimTest, subject: Subject) -> Found | ExitPolicy:
    """Return what a test finds, or the policy that it compares with the final exit."""
    if test.kind == "margin_is_max_prob":
        return margin_is_max_prob(subject)
    if test.kind == "operating":
        return operating(subject, test.policy, test.operating)
    speeds = test.speedup or (1.0, math.inf)
    if test.kind == "at_speed":
        return at_speed(subject, test.policy, speeds)
    return equal_speed(subject, test.policy, test.baseline, speeds)


def _row(place: int, claim: Claim, cell: str, found: Found) -> Row:
    decision = decide(found.effect, claim.test, found.n)
    value, low, high = (_NAN,) * 3 if found.effect is None else found.effect.interval()
    verdict, reason = OPEN, found.reason
    if found.exact is not None:
        value, low, high = found.exact
        verdict = HOLDS if value == 0 else FAILS
    elif found.effect is not None and found.n < FEWEST:
        reason = f"fewer than {FEWEST} samples"
    return {
        "place": place,
        "claim": claim.id,
        "paper": claim.paper,
        "statement": claim.statement,
        "source": claim.source,
        "test": claim.test.sentence(),
        "cell": cell,
        "n_cells": 1,
        "metric": found.metric,
        "n": found.n or None,
        "value_a": rounded(found.value_a),
        "value_b": rounded(found.value_b),
        "speedup_a": rounded(found.speedup_a),
        "speedup_b": rounded(found.speedup_b),
        "difference": rounded(value),
        "low": rounded(low),
        "high": rounded(high),
        "p_value": rounded(decision.p_value),
        "p_holm": _NAN,
        "detectable": _NAN if found.effect is None else rounded(found.effect.detectable()),
        "verdict": verdict,
        "reason": reason,
        "side": decision.side,
    }


def _settle(rows: list[Row]) -> None:
    """Correct the p-values of a family and turn them into verdicts."""
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = rounded(float(adjusted))
        side = row.pop("side")
        if adjusted < _ALPHA:
            row["verdict"] = side
        elif not math.isnan(adjusted) and not row["reason"]:
            alone = row["p_value"] < _ALPHA
            row["reason"] = "not after correction for several tests" if alone else "the interval allows both"


def _used(found: dict[str, Found]) -> int:
    return sum(result.effect is not None or result.exact is not None for result in found.values())


def _pool(found: dict[str, Found]) -> Found:
    """Join the cells of one claim: seeds and samples drawn, data sets counted alike; rarer metrics stay out."""
    exact = {cell: result for cell, result in found.items() if result.exact is not None}
    if exact:
        value, low, high = (max(r.exact[i] for r in exact.values() if r.exact is not None) for i in range(3))
        n = sum(result.n for result in exact.values())
        return NOTHING._replace(exact=(value, low, high), n=n, metric=next(iter(exact.values())).metric)
    usable = {cell: r for cell, r in found.items() if r.effect is not None and r.n >= FEWEST}
    if not usable:
        reasons = sorted({result.reason for result in found.values() if result.reason})
        return NOTHING._replace(reason=reasons[0] if len(reasons) == 1 else "no cell can answer it")
    metric = max({r.metric for r in usable.values()}, key=lambda m: sum(r.metric == m for r in usable.values()))
    usable = {cell: result for cell, result in usable.items() if result.metric == metric}
    effects = {cell: result.effect for cell, result in usable.items() if result.effect is not None}
    whole = list(pooled(effects).values())[-1]  # everything, or the one group or cell that there is
    a, b, speed_a, speed_b = (
        list(pooled_means({cell: getattr(r, name) for cell, r in usable.items()}).values())[-1]
        for name in ("value_a", "value_b", "speedup_a", "speedup_b")
    )
    return Found(whole, a, b, speed_a, speed_b, sum(r.n for r in usable.values()), metric, "", None)
